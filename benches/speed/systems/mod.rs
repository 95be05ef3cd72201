//! What is measured: three ways to replicate the same tables.

mod bucardo;
mod command;
mod logical;
mod perl;

use ::bucardo::lab::Settings;

use crate::field::{DBNAME, Field};

pub(crate) use command::Layout;

/// One way to replicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This program.
    Bucardo,
    /// `CREATE PUBLICATION` and `CREATE SUBSCRIPTION`.
    Logical,
    /// The Perl Bucardo of the distribution.
    Perl,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Bucardo, Self::Logical, Self::Perl];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bucardo => "bucardo",
            Self::Logical => "logical",
            Self::Perl => "perl",
        }
    }

    /// Why it cannot be measured here.
    pub(crate) fn available(self) -> Result<(), String> {
        match self {
            Self::Bucardo | Self::Logical => Ok(()),
            Self::Perl => perl::available(),
        }
    }

    /// What its clusters need.
    pub(crate) fn settings(self) -> Settings {
        match self {
            Self::Bucardo | Self::Perl => Settings::default(),
            Self::Logical => Settings::default()
                .set("wal_level", "logical")
                // The launcher would wait out five seconds since the last subscription, which no copy is to blame for.
                .set("wal_retrieve_retry_interval", "100ms"),
        }
    }

    /// Captures changes of the source from now on; nothing is delivered yet.
    pub(crate) fn set_up(self, field: &Field) -> Box<dyn System> {
        let layout = Layout {
            folder: field.folder.path(),
            databases: vec![("A".to_owned(), &field.source, DBNAME), ("B".to_owned(), &field.target, DBNAME)],
            sync: vec!["dbs=A:source,B:target".to_owned()],
            others: Vec::new(),
            code: None,
        };
        match self {
            Self::Bucardo => Box::new(bucardo::Ours::set_up(&layout)),
            Self::Logical => Box::new(logical::Logical::set_up(field)),
            Self::Perl => Box::new(perl::Perl::set_up(&layout)),
        }
    }

    /// The daemon of a Bucardo that replicates otherwise than from one database to another.
    pub(crate) fn daemon(self, layout: &Layout<'_>) -> Option<Box<dyn Daemon>> {
        match self {
            Self::Bucardo => Some(Box::new(bucardo::Ours::set_up(layout))),
            Self::Perl => Some(Box::new(perl::Perl::set_up(layout))),
            Self::Logical => None,
        }
    }
}

/// The daemon of one of the Bucardos.
pub(crate) trait Daemon {
    /// Starts it and returns without waiting.
    fn launch(&mut self);

    /// Starts it, and waits until it delivers.
    fn start(&mut self);

    /// Stops it, and waits for the end.
    fn end(&mut self);

    /// Its processes.
    fn processes(&self) -> Vec<u32>;
}

/// A way to replicate that is set up.
pub(crate) trait System {
    fn name(&self) -> &'static str;

    /// Delivers changes from now on, to a target that holds the source's rows.
    fn start(&mut self, field: &Field);

    /// Starts the copy of all tables to an empty target and returns without waiting; the first call also starts the
    /// delivery of changes. What the daemon needs to be there is done by [`System::prepare_copy`].
    fn copy(&mut self, field: &Field);

    /// Does what comes before a copy and is no part of it.
    fn prepare_copy(&mut self, field: &Field);

    /// Ends the delivery.
    fn stop(&mut self, field: &Field);

    /// Processes beside the servers' own; none for what runs inside them.
    fn processes(&self) -> Vec<u32>;
}
