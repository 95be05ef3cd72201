//! Connections to PostgreSQL, with the words of libpq.

/// How to reach one database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {}
