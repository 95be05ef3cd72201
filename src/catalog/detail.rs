//! A sync with everything that the engine needs to know of it: databases, goats, settings.

use std::sync::Arc;
use std::time::Duration;

use bucardo_actors::model::{DbName, SyncName};

use super::options::{LockMode, MakeDelta};
use crate::custom::Code;
use crate::pg::{Access, RelationName};

/// What a database does in a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Read from, and written to when there are several.
    Source,
    /// Written to.
    Target,
    /// Written to by whole copies only.
    Fullcopy,
}

/// One database of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Db {
    /// Its name in the catalog.
    pub name: DbName,
    /// How to reach it.
    pub access: Access,
    /// Kind of server: `postgres` and others.
    pub kind: String,
    /// False: `status` is `inactive`; it is left alone.
    pub active: bool,
    /// So many KIDs read there at a time; `None`: all.
    pub sourcelimit: Option<usize>,
    /// So many KIDs write there at a time; `None`: all.
    pub targetlimit: Option<usize>,
    /// What it may keep for targets that do not read it.
    pub budget: Budget,
}

/// What is done about a target for which a source keeps more than its budget allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QueuePolicy {
    /// It is said, again and again.
    #[default]
    Warn,
    /// Nothing more is kept for it, and it waits for a person to have it copied.
    Stall,
    /// Nothing more is kept for it, and it is copied when it is back.
    Copy,
}

impl QueuePolicy {
    /// From its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "warn" => Some(Self::Warn),
            "stall" => Some(Self::Stall),
            "copy" => Some(Self::Copy),
            _ => None,
        }
    }
}

/// What a source may keep for one target; `None`: anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// So many changes.
    pub rows_max: Option<i64>,
    /// So much room.
    pub bytes_max: Option<i64>,
    /// The age of the oldest change.
    pub age_max: Option<std::time::Duration>,
    /// What is done about more.
    pub policy: QueuePolicy,
}

/// A database in its role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The database.
    pub db: Arc<Db>,
    /// What it does here.
    pub role: Role,
    /// Higher comes first.
    pub priority: i32,
    /// What comes there is news for other syncs.
    pub makedelta: bool,
}

/// Table or sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GoatKind {
    /// A table.
    Table,
    /// A sequence.
    Sequence,
}

/// A table or sequence of a sync.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Goat {
    /// Its id in the catalog.
    pub id: i32,
    /// Schema, case-exact and unquoted.
    pub schema: String,
    /// Name, case-exact and unquoted.
    pub name: String,
    /// Table or sequence.
    pub kind: GoatKind,
    /// Key columns in the order of the key's index; empty: no key.
    pub key: Vec<String>,
    /// Overrides the sync's `autokick`.
    pub autokick: Option<bool>,
    /// And-ed with the sync's.
    pub strict_checking: bool,
    /// And-ed with the sync's.
    pub analyze_after_copy: bool,
    /// And-ed with the sync's.
    pub vacuum_after_copy: bool,
    /// Overrides the sync's `rebuild_index`.
    pub rebuild_index: Option<bool>,
    /// Not copied by whole copies.
    pub ghost: bool,
    /// Overrides the sync's `conflict_strategy`; as an operator wrote it.
    pub conflict_strategy: Option<String>,
    /// Whether what a sync brings to the table is news for other syncs; `None`: as sync and database say.
    pub makedelta: Option<MakeDelta>,
}

impl Goat {
    /// `schema.name`, for people and to tell it from all others: with quotes where two could read alike.
    pub(crate) fn label(&self) -> String {
        RelationName::of(&self.schema, &self.name).to_string()
    }
}

/// How one target has one table or sequence, where it differs from the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// The goat's id.
    pub goat: i32,
    /// The target.
    pub db: DbName,
    /// Its name there (`customname`).
    pub name: Option<RelationName>,
    /// The `SELECT` list that makes its columns there, without `FROM` (`customcols`).
    pub columns: Option<String>,
    /// The condition that a row of the source meets to be there (`customselect`).
    pub filter: Option<String>,
}

/// How a table is emptied before a whole copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeleteMethod {
    /// `DELETE`.
    Delete,
    /// `TRUNCATE`, and `DELETE` where that is refused.
    Truncate,
    /// `TRUNCATE … CASCADE`.
    TruncateCascade,
}

/// How initial copies are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CopyLimits {
    /// Pairs of connections that one copy uses at most (`copy_workers`).
    pub workers: usize,
    /// Tables from about twice this size on are copied in pieces of about this size (`copy_chunk_mb`).
    pub chunk_bytes: i64,
    /// Copies of less than this are made in one transaction (`copy_atomic_mb`).
    pub atomic_bytes: i64,
}

impl Default for CopyLimits {
    fn default() -> Self {
        Self { workers: 4, chunk_bytes: 128 << 20, atomic_bytes: 64 << 20 }
    }
}

/// A sync as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SyncDetail {
    /// Its name.
    pub name: SyncName,
    /// `sync.status`.
    pub status: String,
    /// Its group of databases.
    pub dbgroup: String,
    /// Databases: sources first, then by priority (higher first) and name.
    pub members: Vec<Member>,
    /// Tables and sequences, in the order in which they are processed.
    pub goats: Vec<Goat>,
    /// Where targets differ from the source; at most one for a goat and a target.
    pub mappings: Vec<Mapping>,
    /// Custom codes that run in it, of its tables included, in their order.
    pub codes: Vec<Code>,
    /// Whether changes kick it.
    pub autokick: bool,
    /// Whether a kick on a source is heard although changes do not kick.
    pub do_listen: bool,
    /// So many KIDs are in a round at a time; `None`: all.
    pub limitdbs: Option<usize>,
    /// Syncs with a higher one come first.
    pub priority: i32,
    /// `checktime`.
    pub checktime: Option<Duration>,
    /// The CTL lives on when idle.
    pub stayalive: bool,
    /// KIDs live on between rounds.
    pub kidsalive: bool,
    /// A CTL that is older is replaced at the next kick.
    pub lifetime: Option<Duration>,
    /// A CTL that has had so many kicks is replaced at the next one.
    pub maxkicks: Option<u32>,
    /// 0 none, 1 copy, 2 copy where the target is empty.
    pub onetimecopy: i16,
    /// Which request `onetimecopy` is; a target that has recorded this number has copied.
    pub copy_request: i64,
    /// How tables are emptied before a whole copy.
    pub deletemethod: DeleteMethod,
    /// `ANALYZE` the target after a whole copy.
    pub analyze_after_copy: bool,
    /// `VACUUM` the target after a whole copy.
    pub vacuum_after_copy: bool,
    /// A whole copy makes indexes anew after the rows are written, instead of row by row.
    pub rebuild_index: bool,
    /// Options of `COPY` in whole copies, for both sides: `(FORMAT binary)`.
    pub copyextra: String,
    /// Differences in nullability, default, position and extra columns are faults.
    pub strict_checking: bool,
    /// How conflicts between sources are decided, as an operator wrote it: the sync's own, or else the setting
    /// `default_conflict_strategy`. Never empty.
    pub conflict_strategy: String,
    /// What it brings is news for other syncs, where goats and databases do not say otherwise.
    pub makedelta: bool,
    /// Its transactions are serializable: a round fails, and is tried again, rather than read or make a state that no
    /// order of the transactions one by one leads to.
    pub serializable: bool,
    /// The lock that a round takes on its tables, on both sides, before it reads (`lock_table_force`).
    pub lock: Option<LockMode>,
    /// Rows that one round takes at most, whole transactions (`batch_rows_max`).
    pub batch_rows_max: i64,
    /// Keys whose rows a target refuses wait there, and the rest of their table goes on.
    pub deadletter: bool,
    /// The pause after a round that a custom code left (`endsync_sleep`).
    pub endsync_sleep: Duration,
    /// How initial copies are made.
    pub copy: CopyLimits,
    /// Something in its rows that keeps it from running, in words; the rest of the value is then incomplete.
    pub problem: Option<String>,
}

impl SyncDetail {
    /// The databases with this role, in order.
    pub fn dbs(&self, role: Role) -> impl Iterator<Item = &Arc<Db>> {
        self.members.iter().filter(move |member| member.role == role).map(|member| &member.db)
    }

    /// The database of this name.
    #[must_use]
    pub fn db(&self, name: &DbName) -> Option<&Arc<Db>> {
        self.members.iter().map(|member| &member.db).find(|db| db.name == *name)
    }

    /// The member of this name.
    #[must_use]
    pub fn role(&self, name: &DbName) -> Option<Role> {
        self.members.iter().find(|member| member.db.name == *name).map(|member| member.role)
    }

    /// The active sources, in order.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<Db>> {
        self.dbs(Role::Source).filter(|db| db.active)
    }

    /// Several sources are active: they are read and written.
    #[must_use]
    pub fn is_merging(&self) -> bool {
        self.sources().nth(1).is_some()
    }

    /// Only whole copies are made: nothing is captured, and tables need no key.
    #[must_use]
    pub fn is_fullcopy(&self) -> bool {
        let any = |role| self.dbs(role).any(|db| db.active);
        any(Role::Fullcopy) && !any(Role::Target) && !self.is_merging()
    }

    /// The tables, in order.
    pub fn tables(&self) -> impl Iterator<Item = &Goat> {
        self.goats.iter().filter(|goat| goat.kind == GoatKind::Table)
    }

    /// The sequences, in order.
    pub fn sequences(&self) -> impl Iterator<Item = &Goat> {
        self.goats.iter().filter(|goat| goat.kind == GoatKind::Sequence)
    }

    /// Whether what this sync brings to the goat on `db` is news for other syncs: as the goat says, else as the database
    /// does in its group, else if the database or the sync says so.
    #[must_use]
    pub fn makes_delta(&self, goat: &Goat, db: &DbName) -> bool {
        match &goat.makedelta {
            Some(MakeDelta::Everywhere(flag)) => *flag,
            Some(MakeDelta::In(names)) if names.iter().any(|name| name == db.as_str()) => true,
            Some(MakeDelta::In(_)) | None => {
                let member = self.members.iter().find(|member| member.db.name == *db);
                member.map_or(self.makedelta, |member| member.makedelta)
            }
        }
    }

    /// How `db` has this goat, where it differs.
    #[must_use]
    pub fn mapping(&self, goat: &Goat, db: &DbName) -> Option<&Mapping> {
        self.mappings.iter().find(|mapping| mapping.goat == goat.id && mapping.db == *db)
    }

    /// The goat with the name that it has on `db`.
    #[must_use]
    pub fn goat_on(&self, goat: &Goat, db: &DbName) -> Goat {
        let mut there = goat.clone();
        if let Some(name) = self.mapping(goat, db).and_then(|mapping| mapping.name.as_ref()) {
            there.schema = name.schema.clone().unwrap_or(there.schema);
            there.name.clone_from(&name.name);
        }
        there
    }
}
