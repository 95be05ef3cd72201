//! What the tests stand on: servers, databases, waits, the program as a process, a network that can fail.
#![allow(dead_code, unused_imports, reason = "each test uses the part that it needs")]

pub(crate) mod codes;
pub(crate) mod compare;
pub(crate) mod daemon;
pub(crate) mod database;
pub(crate) mod languages;
pub(crate) mod leftovers;
pub(crate) mod log;
pub(crate) mod perl;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod smtp;
pub(crate) mod sync_lab;
pub(crate) mod sync_town;
pub(crate) mod wait;
pub(crate) mod ways;
pub(crate) mod web;
pub(crate) mod witness;
pub(crate) mod writer;

pub(crate) use compare::{assert_same, difference};
pub(crate) use daemon::Daemon;
pub(crate) use database::{Database, fresh_database};
pub(crate) use leftovers::assert_nothing_left;
pub(crate) use perl::Perl;
pub(crate) use program::{Bucardo, Output};
pub(crate) use proxy::Proxy;
pub(crate) use server::{all_know, oldest_version, other_server, server};
pub(crate) use sync_lab::{Accident, SyncLab};
pub(crate) use sync_town::Town;
pub(crate) use web::Web;
pub(crate) use writer::Writer;
