//! Merging several sources of a sync.

pub mod decide;
pub mod strategy;
pub mod version;
