//! The integration tests: one binary, a fresh database a test, one throwaway server a run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod support;

mod cascade_rounds;
mod cascade_truncates;
mod catalog_conflicts;
mod catalog_runs;
mod cli_bad_input;
mod cli_conflicts;
mod cli_db;
mod cli_install;
mod cli_lab;
mod cli_mappings;
mod cli_settings;
mod cli_sources;
mod cli_sync;
mod cli_tables;
mod conflict_history;
mod connect;
mod daemon;
mod daemon_conflicts;
mod daemon_fullcopy;
mod daemon_hush;
mod daemon_masters;
mod daemon_settings;
mod demo;
mod failures_changes;
mod failures_load;
mod failures_network;
mod failures_servers;
mod lab;
mod merge_rounds;
mod merge_traps;
mod migrations;
mod quarantine;
mod round_fullcopy;
mod round_mappings;
mod round_names;
mod round_order;
mod round_rights;
mod round_steps;
mod round_traps;
mod sources_follow;
mod sources_validate;
mod sql_files;
mod types;
