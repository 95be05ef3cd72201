//! Bucardo: asynchronous replication between PostgreSQL databases.

pub mod adapters;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod custom;
pub mod daemon;
pub mod demo;
pub mod engine;
pub mod lab;
pub mod pg;
pub mod progress;
pub mod report;
pub mod source;
