//! Merging several sources of a sync: one KID for all of them, because conflicts belong to the sync.

mod arm;
mod aside;
mod commit;
mod conflict;
pub mod decide;
mod dispute;
mod extent;
mod goat;
mod hooks;
mod horizon;
mod judge;
mod late;
pub mod lead;
mod leader;
mod letters;
mod lines;
mod log;
mod pour;
mod refuse;
mod round;
mod seat;
mod second;
mod sequences;
mod session;
mod settle;
mod spool;
mod spread;
pub mod strategy;
pub mod version;
mod writers;

pub use session::MergeSession;
pub(super) use spool::fields;
