//! PostgreSQL as a service to the rest: connections, quoting, SQL templates, error classes.
//! Knows the meaning of no table.

mod access;
mod census;
mod classify;
mod connect;
mod connect_error;
mod connection;
mod conninfo;
mod passfile;
mod pieces;
mod qualified;
mod resolve;
mod service;
mod socket;
mod sql;
mod tls;

pub use access::Access;
pub use census::open_sessions;
pub use classify::{cause, causes, classify, is_lost};
pub use connect::connect;
pub use connect_error::ConnectError;
pub use connection::Connection;
pub use pieces::{PIECE_BYTES, is_row_end};
pub use qualified::{RelationName, quoted_pieces};
pub use sql::{Sql, SqlFile};
