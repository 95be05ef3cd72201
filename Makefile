# The commands of the project. Each installs what it needs and is missing; see .ci/prepare.
#
#   make demo     three throwaway clusters, replication under load, a comparison; ARGS="--keep --seconds 60"
#   make test     every check and test
#   make bench    measures speed; ARGS="latency backlog --only bucardo" for parts of it
#   make chaos    ten minutes in which everything that can break does, and two of four masters; SECONDS=60 SEED=7
#   make deb      the Debian package, in target/debian
#   make build    the optimised program, target/release/bucardo
#   make static   the same without any library of the system, target/x86_64-unknown-linux-musl/release/bucardo

SHELL := /bin/sh
export PATH := $(PATH):$(HOME)/.cargo/bin
export CARGO_TERM_PROGRESS_WHEN ?= auto
CARGO ?= cargo
ARGS ?=

.PHONY: test demo bench build static chaos deb prepare fmt lint doc boundary unit

test: prepare fmt boundary lint doc unit

fmt: prepare
	$(CARGO) fmt --all --check

# Actors decide, and never touch a socket or a row: the compiler proves it as long as they cannot reach a client.
boundary: prepare
	@if $(CARGO) tree --locked -p bucardo-actors -e normal --prefix none | grep postgres; then \
		echo 'bucardo-actors must not depend on PostgreSQL' >&2; exit 1; \
	else \
		echo 'bucardo-actors depends on no PostgreSQL client'; \
	fi

lint: prepare
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

doc: prepare
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --locked --workspace --no-deps

# After the checks, so that the summary of the tests comes last.
unit: prepare | fmt boundary lint doc
	$(CARGO) test --locked --workspace

demo: prepare
	$(CARGO) build --locked --release
	target/release/bucardo demo $(ARGS)

bench: prepare
	$(CARGO) bench --locked --bench speed -- $(ARGS)

SECONDS ?= 600
chaos: prepare
	BUCARDO_CHAOS_SECONDS=$(SECONDS) $(if $(SEED),BUCARDO_SEED=$(SEED)) \
		$(CARGO) test --locked --test main chaos_run:: -- --nocapture
	BUCARDO_CHAOS_SECONDS=60 BUCARDO_AWAY_SECONDS=60 $(if $(SEED),BUCARDO_SEED=$(SEED)) \
		$(CARGO) test --locked --test main daemon_four_masters:: -- --nocapture

deb: build
	sh deploy/deb/build target/release/bucardo target/debian

build: prepare
	$(CARGO) build --locked --release

# The C library of musl is linked into it; the few lines of C that the TLS library has are compiled with what cc is there.
STATIC_TARGET := $(shell uname -m)-unknown-linux-musl
static: prepare
	rustup target add $(STATIC_TARGET)
	CC_$(subst -,_,$(STATIC_TARGET))=$${CC:-cc} $(CARGO) build --locked --release --target $(STATIC_TARGET)

prepare:
	@sh .ci/prepare
