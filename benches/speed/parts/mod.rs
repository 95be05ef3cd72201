//! What is measured of each system.

pub(crate) mod backlog;
pub(crate) mod codes;
pub(crate) mod copy;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod load;
pub(crate) mod merge;
pub(crate) mod syncs;
pub(crate) mod tables;
pub(crate) mod targets;
pub(crate) mod wide;

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
    /// Two masters that changed many rows each.
    Merge,
    /// Eight targets.
    Targets,
    /// Fifty idle syncs.
    Syncs,
    /// A thousand idle tables.
    Wide,
    /// The first copy of many tables.
    Tables,
    /// Many conflicts that custom codes decide.
    Codes,
}

impl Part {
    pub(crate) const ALL: [Self; 11] = [
        Self::Latency,
        Self::Backlog,
        Self::Copy,
        Self::Load,
        Self::Idle,
        Self::Merge,
        Self::Targets,
        Self::Syncs,
        Self::Wide,
        Self::Tables,
        Self::Codes,
    ];

    /// Takes place between the same two clusters as the others of its kind.
    pub(crate) fn is_delivery(self) -> bool {
        matches!(self, Self::Latency | Self::Backlog | Self::Copy | Self::Idle)
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "latency" => Some(Self::Latency),
            "backlog" => Some(Self::Backlog),
            "copy" => Some(Self::Copy),
            "load" => Some(Self::Load),
            "idle" => Some(Self::Idle),
            "merge" => Some(Self::Merge),
            "targets" => Some(Self::Targets),
            "syncs" => Some(Self::Syncs),
            "wide" => Some(Self::Wide),
            "tables" => Some(Self::Tables),
            "codes" => Some(Self::Codes),
            _ => None,
        }
    }
}
