//! What is measured of each system.

pub(crate) mod backlog;
pub(crate) mod copy;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod load;

/// One part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// One-row inserts, from commit to visible.
    Latency,
    /// Many updated rows, until the target is equal.
    Backlog,
    /// The first copy.
    Copy,
    /// What capture costs the source.
    Load,
    /// What the daemon takes with nothing to do.
    Idle,
}

impl Part {
    pub(crate) const ALL: [Self; 5] = [Self::Latency, Self::Backlog, Self::Copy, Self::Load, Self::Idle];

    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "latency" => Some(Self::Latency),
            "backlog" => Some(Self::Backlog),
            "copy" => Some(Self::Copy),
            "load" => Some(Self::Load),
            "idle" => Some(Self::Idle),
            _ => None,
        }
    }
}
