//! The integration tests: one binary, a fresh database a test, one throwaway server a run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod support;

mod connect;
mod demo;
mod lab;
mod round_names;
mod round_order;
mod round_steps;
