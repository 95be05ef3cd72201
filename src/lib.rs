//! Bucardo: asynchronous replication between PostgreSQL databases.

pub mod catalog;
pub mod lab;
pub mod pg;
