//! The actors of Bucardo: who supervises whom, when a round runs, what happens after a failure.

pub mod model;
pub mod ports;
