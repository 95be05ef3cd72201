//! What lives on the databases of a sync: capture on sources, positions on targets, and the checks before both.

pub mod clause;
mod clock;
mod codes;
mod compare;
pub mod counts;
pub mod deltas;
pub mod examine;
pub mod floor;
mod forget;
mod functions;
mod gate;
pub mod given_up;
pub mod inspect;
mod install;
mod key_index;
mod lacking_indexes;
pub mod leftovers;
pub mod letters;
mod mapped;
mod names;
mod origin;
pub mod perl;
pub mod purge;
pub mod purging;
mod registry;
mod relation;
mod running;
mod site;
pub mod strategies;
mod triggers;
pub mod validate;
mod views;

pub use clock::{ClockOffset, clock_offset};
pub(crate) use compare::{faults, rounds_rows};
pub use gate::{Gate, horizon, set_gate};
pub(crate) use install::{adopt, exists};
pub use lacking_indexes::LackingIndexes;
pub(crate) use names::{delta_column, delta_columns, gate};
pub(crate) use origin::{copied, handed_on, news_for};
pub use relation::{Column, Relation, relations};
pub use validate::{
    Checked, ValidateError, Validated, check_present, check_sync, forget_sync, join, validate_present, validate_sync,
};
