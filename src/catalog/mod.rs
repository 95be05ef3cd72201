//! The control database: what shall be replicated, and what happened.

mod detail;

pub use detail::{Db, DeleteMethod, Goat, GoatKind, Member, Role, SyncDetail};
