//! What becomes of one key in a merge: a pure function of what the delta tables say (`replication.md` section 6 of
//! the design).
//!
//! A source's state of a key has a version. Three rules make it one that every merge derives alike, although the
//! changes at a server commit while merges run:
//!
//! - A change of its own that the last merge committed there did not see is *fresh*. It was made on top of everything
//!   recorded there, so its version is newer than all of that, whatever its clock says.
//! - Until a merge commits at a source, its fresh changes can only become more: the version can only grow.
//! - What a merge commits at a source settles its fresh changes. Where the version that others learn cannot be derived
//!   from settled changes, it is recorded there too.

use serde::{Deserialize, Serialize};

use super::strategy::Strategy;
use super::version::{BEFORE, DECIDED_MAX, NOBODY, SKIPPED, Version};

/// Sources that a sync may have: outcomes are bits of a word.
pub const SOURCES_MAX: usize = 64;

/// Mostly not more sources have changes of one key.
const FEW: usize = 4;

/// Changes of a key at a source that no merge committed there has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fresh {
    /// How many delta rows; more than 0.
    pub count: i64,
    /// The newest of their times, in microseconds since 1970.
    pub newest: i64,
}

/// What the delta table of a source says of one key.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Entry {
    /// A bit for each source that has not read some of these rows.
    pub unread_by: u64,
    /// The newest time of its own changes that the last merge there has seen.
    pub settled: Option<i64>,
    /// Its own changes since.
    pub fresh: Option<Fresh>,
    /// The versions that merges have recorded.
    pub recorded: Vec<Version>,
    /// Some of the fresh changes are of this transaction, the merge's own there: custom code made them, and nobody has
    /// them if it does not commit.
    pub made_in: Option<u64>,
    /// What the row was before its changes were captured: the serials of such versions, and who has not read them.
    pub before: Vec<i64>,
    /// A bit for each source that has not read some of these.
    pub before_unread_by: u64,
    /// The newest change that was made at the source itself.
    pub own: Option<i64>,
    /// Changes that other syncs brought there: whose they are ([`Author`]), and the newest time of each one's.
    pub brought: Vec<(Author, i64)>,
    /// Another sync brought something that nobody's change alone made.
    pub is_mixed: bool,
}

/// Whose change another sync brought: the place of a source of this one, else a hash of the database's name.
pub type Author = u64;

impl Entry {
    /// The version of the state of the key at this source, `place`. `None` when the entry says nothing at all.
    #[must_use]
    pub fn version(&self, place: u16) -> Option<Version> {
        let settled = self.settled.map(|time| Version { time, db: place, serial: 0 });
        let base = self.recorded.iter().copied().chain(settled).max();
        let Some(fresh) = self.fresh else {
            return base;
        };
        debug_assert!(fresh.count > 0, "fresh changes are some");
        // Only ever grows while changes are added: compared by time alone.
        let time = base.map_or(fresh.newest, |base| fresh.newest.max(base.time + 1));
        Some(Version { time, db: place, serial: fresh.count - 1 })
    }

    /// Whether some source has not read all that it says.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        (self.unread_by | self.before_unread_by) != 0
    }

    /// Takes it for nothing but what the row was before its changes were captured.
    fn only_before(&mut self) {
        let before = std::mem::take(&mut self.before);
        let recorded = before.into_iter().map(|serial| Version { time: 0, db: BEFORE, serial }).collect();
        let unread_by = std::mem::take(&mut self.before_unread_by);
        *self = Self { unread_by, recorded, ..Self::default() };
    }

    /// The version once a merge that records nothing has committed there.
    fn version_when_settled(&self, place: u16) -> Option<Version> {
        let native = self.settled.max(self.fresh.map(|fresh| fresh.newest));
        let native = native.map(|time| Version { time, db: place, serial: 0 });
        self.recorded.iter().copied().chain(native).max()
    }
}

/// What is the same for all keys of a table in one merge.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// A bit for each source that takes part.
    pub up: u64,
    /// How conflicts are decided.
    pub strategy: &'a Strategy,
    /// The time for new versions, in microseconds since 1970.
    pub now: i64,
    /// The source with the newest change over all tables, for [`Strategy::LatestAllTables`].
    pub leader: Option<u16>,
}

/// What becomes of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Ruling {
    /// Sources take the winner's row.
    Take(Take),
    /// A conflict that stops the merge.
    Abort {
        /// A bit for each source in conflict.
        rivals: u64,
    },
}

/// Who gets what. A source in neither set has what it needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Take {
    /// The source whose row counts. For a skipped key: the one with the newest change; [`NOBODY`]: what [`replace`] says.
    pub winner: u16,
    /// The version to record; [`Version::is_skip`] when everyone keeps its row.
    pub version: Version,
    /// A bit for each source in conflict; 0 without one.
    pub rivals: u64,
    /// A bit for each source that gets the winner's row, or its deletion, and the version.
    pub write: u64,
    /// A bit for each source that gets the version only. Never shares a bit with `write`.
    pub record: u64,
}

impl Ruling {
    /// A bit for each source in conflict; 0 without one.
    #[must_use]
    pub const fn rivals(&self) -> u64 {
        match self {
            Self::Take(take) => take.rivals,
            Self::Abort { rivals } => *rivals,
        }
    }
}

/// A source with unread changes of the key.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    place: u16,
    version: Version,
    entry: &'a Entry,
}

impl Candidate<'_> {
    /// Whether the state of `version` is, or was before the one of now, that of this source.
    ///
    /// A decision for it left its row as it was: even if it never heard of that, what it wrote since came after.
    fn has(&self, version: Version) -> bool {
        version.db == self.place || version == self.version || self.entry.recorded.contains(&version)
    }

    /// Whether anything says that this one's state came after that of `other`.
    fn follows(&self, other: &Self) -> bool {
        let (own, others) = (self.version, other.version);
        let has_read = other.entry.unread_by & bit(self.place) == 0;
        // The changes of one database came one after the other.
        let same_author = own.db == others.db && !own.is_decision() && !others.is_decision() && !own.is_before();
        self.has(others) || own > others && (has_read || same_author) || self.has_all_of(other)
    }

    /// Whether this one has all the changes that made the state of `other`, whichever syncs brought them: then it is as
    /// new, or newer. The changes of one database come one after the other everywhere.
    fn has_all_of(&self, other: &Self) -> bool {
        let (own, others) = (self.entry, other.entry);
        if own.brought.is_empty() && others.brought.is_empty() {
            return false;
        }
        if others.is_mixed || others.recorded.contains(&other.version) {
            return false;
        }
        let has = |author: Author, time: i64| {
            author == Author::from(self.place) && own.own >= Some(time)
                || own.brought.iter().any(|(known, newest)| *known == author && *newest >= time)
        };
        others.own.is_none_or(|time| has(other.place.into(), time))
            && others.brought.iter().all(|(author, time)| has(*author, *time))
    }

    /// Whether this one's state came after that of `other`, so that they are no rivals.
    fn supersedes(&self, other: &Self) -> bool {
        self.version != other.version && self.follows(other) && (self.version > other.version || !other.follows(self))
    }
}

fn bit(place: u16) -> u64 {
    // The place of a source that has left the sync has none.
    1u64.checked_shl(u32::from(place)).unwrap_or(0)
}

/// Sets aside what rows were before their changes were captured wherever a change that was captured is unread: it wins,
/// and no strategy is asked. Where none is, all have those that there were, and differ only by changes that nobody
/// captured; these are then all that counts.
pub fn prefer_captured(present: &mut Vec<(u16, Entry)>) {
    if present.iter().all(|(_, entry)| entry.before_unread_by == 0) {
        return;
    }
    if present.iter().any(|(_, entry)| entry.unread_by != 0) {
        present.retain(|(_, entry)| entry.unread_by != 0);
    } else {
        present.iter_mut().for_each(|(_, entry)| entry.only_before());
    }
}

/// Decides what becomes of a key.
///
/// `present` are the candidates, in the order of their places: the sources in the merge with changes of the key that
/// another source in the merge has not read. Whoever else is in the merge is taken to lack the winning version. `key`
/// is any text of the key, the same in every merge.
///
/// `None` without candidates. The same input gives the same ruling.
#[must_use]
pub fn decide(present: &[(u16, Entry)], terms: &Terms<'_>, key: &[u8]) -> Option<Ruling> {
    debug_assert!(present.len() <= SOURCES_MAX, "a bit for each source");
    // Room for all would be made anew for each of millions of keys.
    if present.len() <= FEW { among::<FEW>(present, terms, key) } else { among::<SOURCES_MAX>(present, terms, key) }
}

/// Decides among at most `N` candidates.
fn among<const N: usize>(present: &[(u16, Entry)], terms: &Terms<'_>, key: &[u8]) -> Option<Ruling> {
    let mut places = [const { None }; N];
    let mut count = 0;
    for (place, entry) in present {
        if let (Some(version), Some(slot)) = (entry.version(*place), places.get_mut(count)) {
            *slot = Some(Candidate { place: *place, version, entry });
            count += 1;
        }
    }
    let candidates = || places[..count].iter().flatten();
    let newest = candidates().max_by_key(|it| it.version)?;
    let is_free = |it: &&Candidate<'_>| !candidates().any(|other| other.supersedes(it));
    let mut free = candidates().filter(is_free).fold(0, |bits, it| bits | bit(it.place));
    if free == 0 {
        free = bit(newest.place); // They know of each other's: what one of them forgot since is in the newest.
    }
    let rivals = || candidates().filter(move |it| free & bit(it.place) != 0);
    let first = rivals().next()?;
    let is_conflict = rivals().any(|it| it.version != first.version);
    let winner = if is_conflict {
        if matches!(terms.strategy, Strategy::Abort | Strategy::Custom) {
            return Some(Ruling::Abort { rivals: free });
        }
        if let Some(place) = sovereign(terms).filter(|place| free & bit(*place) == 0) {
            return Some(Ruling::Take(overrule(place, newest.version, free, terms)));
        }
        choose(rivals, terms, key)?
    } else {
        first
    };
    let keeps_version = !is_conflict || *terms.strategy == Strategy::Latest;
    // Where others get what the merge's own transaction there changed, it may be lost while they keep it: the version
    // does not name that source.
    let skips = is_conflict && *terms.strategy == Strategy::Skip;
    let made_in = winner.entry.made_in.filter(|_| !skips);
    let version = if let Some(txid) = made_in {
        let serial = serial(mixed(mixed_version(FNV_OFFSET, winner.version), txid));
        Version { time: terms.now.max(newest.version.time + 1), db: NOBODY, serial }
    } else if keeps_version && winner.version == newest.version {
        winner.version
    } else {
        // Newer than all that anyone knows of the key, so that the decision supersedes what it decided.
        let serial =
            if skips || (keeps_version && winner.version.is_skip()) { SKIPPED } else { decided(winner.version) };
        Version { time: terms.now.max(newest.version.time + 1), db: winner.place, serial }
    };
    let mut take =
        Take { winner: winner.place, version, rivals: if is_conflict { free } else { 0 }, write: 0, record: 0 };
    let mut lacking = terms.up;
    for it in candidates().filter(|it| it.version == version) {
        lacking &= !bit(it.place);
        if it.entry.version_when_settled(it.place) != Some(version) {
            take.record |= bit(it.place);
        }
    }
    // Who changed the row, but has nothing unread, has that row; a merge that it took no part in may have told others
    // the version.
    let is_candidate = candidates().any(|it| it.place == version.db);
    let author = if version.is_decision() || is_candidate { 0 } else { bit(version.db) };
    let keeps_row = if version.is_skip() { u64::MAX } else { bit(winner.place) | author };
    take.record |= lacking & keeps_row;
    take.write = lacking & !keeps_row;
    Some(Ruling::Take(take))
}

/// The only source that a strategy names, if it takes part: it wins every conflict, also those of others.
fn sovereign(terms: &Terms<'_>) -> Option<u16> {
    let Strategy::Listed(places) = terms.strategy else { return None };
    let [place] = places.as_slice() else { return None };
    Some(*place).filter(|place| terms.up & bit(*place) != 0)
}

/// The row of a source that is no rival, in place of those of the rivals.
fn overrule(winner: u16, newest: Version, rivals: u64, terms: &Terms<'_>) -> Take {
    let version = Version { time: terms.now.max(newest.time + 1), db: winner, serial: decided(newest) };
    Take { winner, version, rivals, write: terms.up & !bit(winner), record: bit(winner) }
}

/// What becomes of a key whose conflict among `rivals` custom code settled with a row of its own making, or by deleting
/// the key: every source gets it, as a change that is newer than all.
///
/// Nobody had that row before, so the version names no source: one that did not get it has nothing of it. `content`: any
/// text of what was decided. Two merges that decide at the same time, unknown to each other, of the same changes get the
/// same version only for the same decision.
#[must_use]
pub fn replace(present: &[(u16, Entry)], rivals: u64, terms: &Terms<'_>, content: &[u8]) -> Option<Take> {
    let versions = || present.iter().filter_map(|(place, entry)| entry.version(*place));
    let newest = versions().max()?;
    let hash = content.iter().fold(FNV_OFFSET, |hash, byte| mixed(hash, u64::from(*byte)));
    let serial = serial(versions().fold(hash, mixed_version));
    let version = Version { time: terms.now.max(newest.time + 1), db: NOBODY, serial };
    Some(Take { winner: NOBODY, version, rivals, write: terms.up, record: 0 })
}

/// The winner of a conflict, by the strategy.
fn choose<'a, 'b: 'a, I>(rivals: impl Fn() -> I, terms: &Terms<'_>, key: &[u8]) -> Option<&'a Candidate<'b>>
where
    I: Iterator<Item = &'a Candidate<'b>>,
{
    let at = |place: u16| rivals().find(|it| it.place == place);
    let latest = || rivals().max_by_key(|it| it.version);
    match terms.strategy {
        Strategy::First => rivals().next(),
        Strategy::Last => rivals().last(),
        Strategy::Listed(places) => places.iter().find_map(|place| at(*place)).or_else(|| rivals().next()),
        Strategy::LatestAllTables => terms.leader.and_then(at).or_else(latest),
        Strategy::Random => {
            let hash = key.iter().fold(FNV_OFFSET, |hash, byte| mixed(hash, u64::from(*byte)));
            let hash = rivals().fold(hash, |hash, it| mixed_version(hash, it.version));
            let count = u64::try_from(rivals().count()).ok()?;
            rivals().nth(usize::try_from((hash ^ (hash >> 32)) % count.max(1)).ok()?)
        }
        Strategy::Latest | Strategy::Skip | Strategy::Abort | Strategy::Custom => latest(),
    }
}

/// The serial of a decision for the state of `version`. Two merges may decide at the same time for the same source,
/// unknown to each other, when the clock has been set back or is behind the changes; not for the same state.
fn decided(version: Version) -> i64 {
    serial(mixed_version(FNV_OFFSET, version))
}

fn serial(hash: u64) -> i64 {
    DECIDED_MAX - i64::from(u32::MAX) + i64::try_from((hash ^ (hash >> 32)) & u64::from(u32::MAX)).unwrap_or_default()
}

// FNV-1a, of whole numbers instead of bytes: see http://www.isthe.com/chongo/tech/comp/fnv/.
pub(super) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

pub(super) fn mixed(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(FNV_PRIME)
}

fn mixed_version(hash: u64, version: Version) -> u64 {
    let hash = mixed(mixed(hash, version.time.cast_unsigned()), u64::from(version.db));
    mixed(hash, version.serial.cast_unsigned())
}

#[cfg(test)]
mod tests;
