//! The actors of Bucardo: who supervises whom, when a round runs, what happens after a failure.
//!
//! ```text
//! Mcp                 one; holds the lease on the control database
//! ├── Ctl             one per active sync; decides when a round runs
//! │   └── Kid         one per source-target pair; runs one round at a time
//! └── Vac             one; has delivered changes purged
//! ```
//!
//! Actors hold small state and exchange small messages. No actor touches a socket: database work goes through the
//! [`ports`] to the worker runtime ([`work`]) and comes back as one message. A failure ends its actor; the parent
//! learns why through the child's [`lifeline`] and applies one declared [`policy`]. Nothing retries inside itself.
//!
//! What every actor does is on the [`board`], for readers that must not disturb one.

mod agenda;
pub mod board;
mod ctl;
mod dbs;
pub mod health;
mod kid;
pub mod lifeline;
pub mod mcp;
pub mod messages;
pub mod model;
pub mod nursery;
mod outbox;
pub mod plan;
pub mod policy;
pub mod ports;
mod runs;
mod vac;
pub mod work;

pub use mcp::{Mcp, McpConfig, Phase};

#[cfg(test)]
mod tests;
