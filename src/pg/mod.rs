//! PostgreSQL as a service to the rest: connections, quoting, SQL templates, error classes.
//! Knows the meaning of no table.

mod classify;
mod sql;

pub use classify::{causes, classify};
pub use sql::{Sql, SqlFile};

mod connect;

pub use connect::Access;
