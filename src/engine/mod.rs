//! One round: what is waiting, how it is brought to the target, and how that is recorded.
//!
//! The order of a round is its safety: fence, then snapshot, then rows, then position, one commit, then the track.

mod again;
mod apply;
mod batch;
mod begin;
mod check;
mod copy;
mod desk;
mod drift;
mod error;
mod follow;
mod fullcopy;
mod guard;
mod hearsay;
pub mod hooks;
mod intake;
mod join;
mod late;
mod lent;
pub mod merge;
mod onward;
mod pair;
mod pleas;
mod position;
mod quarantine;
mod refused;
mod returning;
mod round;
mod scout;
mod sequences;
mod session;
mod sift;
mod site;
mod step;
mod table;

pub use desk::{Host, Seat, hosted};
pub use error::RoundError;
pub use follow::FollowSession;
pub use fullcopy::CopySession;
pub use pair::PairSession;
pub use position::{BadPosition, Position};
pub use step::Step;
