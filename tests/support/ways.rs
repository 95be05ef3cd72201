//! The ways by which rows get from `a` to `b`, for tests that hold for all of them.

use bucardo::catalog::Role;
use bucardo_actors::model::{Fault, RoundReport};

use super::SyncLab;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// From a source to its target.
    Pair,
    /// Among two sources.
    Merge,
    /// Whole, each time.
    Copy,
}

impl Way {
    pub(crate) async fn lab(self, ddl: &str, goats: &[&str]) -> SyncLab {
        if self == Self::Merge {
            return SyncLab::masters(&["a", "b"], &[], ddl, goats).await;
        }
        let mut lab = SyncLab::start(&["b"], ddl, goats).await;
        if self == Self::Copy {
            lab.renew_as(Role::Fullcopy).await;
        }
        lab
    }

    /// A round of the KID.
    pub(crate) async fn run(self, lab: &mut SyncLab) -> Result<RoundReport, Fault> {
        if self == Self::Merge { lab.merge().await } else { lab.round("b").await }
    }

    /// Rounds until all is brought.
    pub(crate) async fn settle(self, lab: &mut SyncLab) {
        match self {
            Self::Pair => drop(lab.drain("b").await),
            Self::Merge => drop(lab.settle().await),
            Self::Copy => drop(lab.round("b").await.unwrap()),
        }
    }
}
