//! What the sources' logs hold of each key, read in one order and put together.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::arm::Look;
use super::decide::{Author, Entry, FNV_OFFSET, Fresh, SOURCES_MAX, mixed};
use super::goat::Order;
use super::version::{BEFORE, BEFORES_NAME, NOBODY, NOBODYS_NAME, Origin, SKIPPED, Version};
use crate::engine::error::RoundError;
use crate::engine::position::Position;

/// How the other sources of a merge have read one source.
pub(super) struct Readers {
    /// Place of the source.
    pub(super) place: u16,
    /// Bit and position of each reader.
    pub(super) positions: Vec<(u64, Position)>,
    /// What is visible in it was read by all of them.
    pub(super) common: Position,
    /// The source's own snapshot in the last merge that committed there.
    pub(super) settled: Position,
    /// The merge's own transaction there.
    own: u64,
    all: u64,
    is_uniform: bool,
}

impl Readers {
    /// A merge's own transaction at the source stands in the readers' positions before it has committed there. If it never
    /// did, and the server crashed, its number may come again: it counts only when the source itself has it.
    pub(super) fn new(place: u16, mut positions: Vec<(u64, Position)>, settled: Position, own: u64) -> Option<Self> {
        for (_, position) in &mut positions {
            let last = position.xmax().saturating_sub(1);
            if position.sees(last) && !settled.sees(last) {
                *position = position.without(last);
            }
        }
        let first = positions.first()?.1.clone();
        let common = positions.iter().skip(1).fold(first.clone(), |common, (_, position)| common.common(position));
        let is_uniform = positions.iter().all(|(_, position)| *position == first);
        let all = positions.iter().fold(0, |bits, (bit, _)| bits | bit);
        Some(Self { place, positions, common, settled, own, all, is_uniform })
    }

    /// Who has not read what this transaction did.
    fn unread_by(&self, txid: u64) -> u64 {
        if self.is_uniform {
            return if self.common.sees(txid) { 0 } else { self.all };
        }
        self.positions.iter().filter(|(_, position)| !position.sees(txid)).fold(0, |bits, (bit, _)| bits | bit)
    }
}

/// Whether transactions that held back a position have all ended: then the purge may go on.
pub(super) fn settles(readers: &[Readers], looks: &[Look]) -> bool {
    readers.iter().zip(looks).any(|(readers, look)| {
        let was_open = readers.positions.iter().any(|(_, position)| !position.is_settled());
        was_open && look.snapshot.is_settled() && look.snapshot.xmin() >= readers.common.xmax()
    })
}

/// Who takes part, for reading origins.
pub(super) struct Names<'a> {
    pub(super) sync: &'a str,
    /// The sources of the sync, in order.
    pub(super) sources: &'a [String],
}

impl Names<'_> {
    /// Name of the source at a place.
    pub(super) fn name(&self, place: u16) -> &str {
        if place == BEFORE {
            return BEFORES_NAME;
        }
        self.sources.get(usize::from(place)).map_or(NOBODYS_NAME, String::as_str)
    }

    fn author(&self, db: &str) -> Author {
        match self.place(db) {
            // Above all places.
            NOBODY => db.bytes().fold(FNV_OFFSET, |hash, byte| mixed(hash, byte.into())) | 1 << 63,
            place => place.into(),
        }
    }

    /// Place of a source; one that has left the sync is none.
    fn place(&self, db: &str) -> u16 {
        if db == BEFORES_NAME {
            return BEFORE;
        }
        let place = self.sources.iter().position(|source| source == db);
        place.and_then(|place| u16::try_from(place).ok()).unwrap_or(NOBODY)
    }
}

/// One row of a log: a change, or (without transaction) a key that is in the table.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) txid: u64,
    pub(super) micros: i64,
    pub(super) origin: Option<Bytes>,
}

/// Adds a change to what a source knows of a key.
pub(super) fn note(entry: &mut Entry, change: &Change, readers: &Readers, names: &Names<'_>) {
    let mut unread = readers.unread_by(change.txid);
    if let Some(origin) = change.parsed() {
        if origin.sync == names.sync {
            let db = names.place(origin.db);
            if let Some(addressee) = origin.addressee() {
                // A source that had refused it, and nobody else, is sent what this one has. A database that is none of
                // the sources concerns a pair only.
                let Some(bit) = 1u64.checked_shl(u32::from(names.place(addressee))) else { return };
                unread &= bit;
            }
            if db == BEFORE {
                note_before(entry, origin.serial, unread);
                return;
            }
            entry.unread_by |= unread;
            entry.recorded.push(Version { time: change.micros, db, serial: origin.serial });
            return;
        }
        if !origin.is_shared {
            return;
        }
        // Another sync's row does not go back to where it has been.
        for place in origin.dbs().map(|db| usize::from(names.place(db))).filter(|place| *place < SOURCES_MAX) {
            unread &= !(1 << place);
        }
        if origin.db == BEFORES_NAME {
            note_before(entry, origin.serial_before(), unread);
            return;
        }
        note_brought(entry, &origin, change.micros, names);
    } else {
        entry.own = entry.own.max(Some(change.micros));
    }
    entry.unread_by |= unread;
    if readers.settled.sees(change.txid) {
        entry.settled = entry.settled.max(Some(change.micros));
    } else {
        let fresh = entry.fresh.get_or_insert(Fresh { count: 0, newest: i64::MIN });
        fresh.count += 1;
        fresh.newest = fresh.newest.max(change.micros);
        if change.txid == readers.own {
            entry.made_in = Some(change.txid);
        }
    }
}

fn note_brought(entry: &mut Entry, origin: &Origin<'_>, micros: i64, names: &Names<'_>) {
    // A row that custom code made is nobody's, and where all kept theirs it is not the one that is named.
    if origin.db == NOBODYS_NAME || origin.serial == SKIPPED {
        entry.is_mixed = true;
        return;
    }
    let author = names.author(origin.db);
    match entry.brought.iter_mut().find(|(known, _)| *known == author) {
        Some((_, newest)) => *newest = micros.max(*newest),
        None => entry.brought.push((author, micros)),
    }
}

fn note_before(entry: &mut Entry, serial: i64, unread: u64) {
    entry.before_unread_by |= unread;
    if !entry.before.contains(&serial) {
        entry.before.push(serial);
    }
}

/// What is kept of the changes of one key, however many they are: enough for [`passed`].
#[derive(Default)]
pub(super) struct Roads {
    /// What merges of the sync recorded.
    recorded: Vec<(u16, Change)>,
    /// Of all others that came the same road, and were settled alike, the newest.
    changes: Vec<(u16, Change)>,
}

impl Roads {
    pub(super) fn clear(&mut self) {
        self.recorded.clear();
        self.changes.clear();
    }

    /// Adds a change at the source that `readers` tell of.
    pub(super) fn add(&mut self, change: Change, readers: &Readers, names: &Names<'_>) {
        let place = readers.place;
        // A piece of what was read keeps all of it in memory.
        let kept = |change: Change| {
            let origin = change.origin.as_deref().map(Bytes::copy_from_slice);
            (place, Change { origin, ..change })
        };
        if change.parsed().is_some_and(|origin| origin.sync == names.sync) {
            self.recorded.push(kept(change));
            return;
        }
        let is_settled = readers.settled.sees(change.txid);
        let is_alike = |(other, known): &&mut (u16, Change)| {
            *other == place && readers.settled.sees(known.txid) == is_settled && known.came_like(&change)
        };
        match self.changes.iter_mut().find(is_alike) {
            Some((_, known)) => known.micros = known.micros.max(change.micros),
            None => self.changes.push(kept(change)),
        }
    }
}

impl Change {
    fn parsed(&self) -> Option<Origin<'_>> {
        let text = self.origin.as_deref().and_then(|text| std::str::from_utf8(text).ok())?;
        Origin::parse(text).ok()
    }

    /// Whether this one was to the same databases as another.
    fn came_like(&self, other: &Self) -> bool {
        let road = |change| Self::parsed(change).map(|origin| (origin.db, origin.passed, origin.is_shared));
        self.origin == other.origin || road(self) == road(other)
    }
}

/// The databases that the state of a key under `version` has been to besides, as far as other syncs brought it: what is
/// recorded of it, or what all the changes have in common that made it at the source `readers` tell of.
pub(super) fn passed(roads: &Roads, version: Version, readers: &Readers, names: &Names<'_>) -> String {
    let mut common: Option<Vec<&str>> = None;
    let changes = || roads.recorded.iter().chain(&roads.changes);
    let is_unsettled = |change: &Change| !readers.settled.sees(change.txid);
    let is_fresh = changes().any(|(place, change)| *place == readers.place && is_unsettled(change));
    for (place, change) in changes() {
        let origin = change.parsed();
        if let Some(origin) = origin.filter(|origin| origin.sync == names.sync) {
            let db = names.place(origin.db);
            let time = if db == BEFORE { 0 } else { change.micros };
            let recorded = Version { time, db, serial: origin.serial };
            if recorded == version && origin.addressee().is_none() {
                return origin.passed.to_owned();
            }
            continue;
        }
        let is_before = origin.is_some_and(|origin| origin.db == BEFORES_NAME);
        let counts = if version.is_before() {
            is_before
        } else if is_fresh {
            is_unsettled(change)
        } else {
            change.micros == version.time
        };
        if *place != readers.place || !counts || origin.is_some_and(|origin| !origin.is_shared) {
            continue;
        }
        let been: Vec<&str> = origin.iter().flat_map(Origin::dbs).collect();
        match &mut common {
            None => common = Some(been),
            Some(common) => common.retain(|db| been.contains(db)),
        }
    }
    let own = names.sources.get(usize::from(readers.place)).map(String::as_str);
    let mut passed = common.unwrap_or_default();
    passed.retain(|db| Some(*db) != own && *db != BEFORES_NAME);
    // The version does not name it.
    passed.extend(own.filter(|_| version.is_before()));
    passed.join(",")
}

/// Integers that a key has at most to be compared as such.
pub(super) const INTEGERS_MAX: usize = 4;

/// Where a key belongs in the order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Integer(i64),
    Integers([i64; INTEGERS_MAX]),
    /// What the server orders by, then the key itself.
    Texts(Bytes, Bytes),
    /// The server's rank alone.
    Server(Bytes),
}

/// A row as it came: where it belongs in the order, the key's columns, the change.
struct Row {
    rank: Rank,
    place: u16,
    keys: Bytes,
    change: Option<Change>,
}

/// Rows of one `COPY`, one after the other.
pub(super) struct Stream<'a> {
    rows: BoxStream<'a, Result<Bytes, RoundError>>,
    /// The source that they come from; `None`: a column tells.
    place: Option<u16>,
    head: Option<Row>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(rows: BoxStream<'a, Result<Bytes, RoundError>>, place: Option<u16>) -> Self {
        Self { rows, place, head: None }
    }

    async fn advance(&mut self, order: Order) -> Result<(), RoundError> {
        self.head = match self.rows.next().await {
            Some(row) => Some(parse(row?, self.place, order)?),
            None => None,
        };
        Ok(())
    }
}

/// The keys of all streams, in order.
pub(super) struct Keys<'a> {
    streams: Vec<Stream<'a>>,
    order: Order,
    is_begun: bool,
    /// The present key, as it came.
    pub(super) keys: Bytes,
}

impl<'a> Keys<'a> {
    pub(super) fn new(streams: Vec<Stream<'a>>, order: Order) -> Self {
        Self { streams, order, is_begun: false, keys: Bytes::new() }
    }

    /// Goes to the next key, and shows what each source's log holds of it, one after the other: a key may have more
    /// changes than there is memory. `false`: there is none.
    pub(super) async fn next(&mut self, mut see: impl FnMut(u16, Change)) -> Result<bool, RoundError> {
        if !self.is_begun {
            self.is_begun = true;
            for stream in &mut self.streams {
                stream.advance(self.order).await?;
            }
        }
        let heads = self.streams.iter().filter_map(|stream| stream.head.as_ref());
        let Some(least) = heads.min_by(|a, b| a.rank.cmp(&b.rank)) else { return Ok(false) };
        let rank = least.rank.clone();
        self.keys = least.keys.clone();
        for stream in &mut self.streams {
            while stream.head.as_ref().is_some_and(|row| row.rank == rank) {
                if let Some(Row { place, change: Some(change), .. }) = stream.head.take() {
                    see(place, change);
                }
                stream.advance(self.order).await?;
            }
        }
        Ok(true)
    }
}

/// `order [place] key… txid micros origin`, as `COPY` writes it.
fn parse(row: Bytes, place: Option<u16>, order: Order) -> Result<Row, RoundError> {
    let bad = || RoundError::Log { row: String::from_utf8_lossy(&row).into_owned() };
    let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    let mut start = row.iter().position(|byte| *byte == b'\t').ok_or_else(bad)?;
    let first_column = row.slice(..start);
    let place = match place {
        Some(place) => place,
        None => {
            let end = row[start + 1..].iter().position(|byte| *byte == b'\t').ok_or_else(bad)? + start + 1;
            let place = number(&row[start + 1..end]).and_then(|place| u16::try_from(place).ok()).ok_or_else(bad)?;
            start = end;
            place
        }
    };
    let end = row.len() - usize::from(row.last() == Some(&b'\n'));
    let mut cuts = row[..end].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\t').map(|(at, _)| at);
    let (Some(third), Some(second), Some(first)) = (cuts.next(), cuts.next(), cuts.next()) else { return Err(bad()) };
    if first <= start {
        return Err(bad());
    }
    let keys = row.slice(start + 1..first);
    let origin = Some(row.slice(third + 1..end)).filter(|text| text.as_ref() != b"\\N");
    let change = match (&row[first + 1..second], &row[second + 1..third]) {
        (b"\\N", _) => None,
        (txid, micros) => Some(Change {
            txid: number(txid).ok_or_else(bad)?.cast_unsigned(),
            micros: number(micros).ok_or_else(bad)?,
            origin,
        }),
    };
    let rank = match order {
        Order::Ranks => Rank::Server(first_column),
        Order::Texts => Rank::Texts(first_column, keys.clone()),
        Order::Integers if !keys.contains(&b'\t') => Rank::Integer(number(&keys).ok_or_else(bad)?),
        Order::Integers => {
            let mut integers = [0; INTEGERS_MAX];
            for (integer, column) in integers.iter_mut().zip(keys.split(|byte| *byte == b'\t')) {
                *integer = number(column).ok_or_else(bad)?;
            }
            Rank::Integers(integers)
        }
    };
    Ok(Row { rank, place, keys, change })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_key_does_not_grow_with_its_changes() {
        let at = |text: &str| text.parse::<Position>().unwrap();
        let readers = Readers::new(0, vec![(2, at("100:100:"))], at("5000:5000:"), 20_000).unwrap();
        let sources = ["a".to_owned(), "b".to_owned()];
        let names = Names { sync: "s", sources: &sources };
        let mut roads = Roads::default();
        let add = |roads: &mut Roads, txid: u64, origin: Option<String>| {
            let micros = i64::try_from(txid).unwrap();
            roads.add(Change { txid, micros, origin: origin.map(Bytes::from) }, &readers, &names);
        };
        for txid in 0..10_000 {
            add(&mut roads, txid, Some(format!("other d,e {txid} +")));
            add(&mut roads, txid, Some(format!("other d {txid} +")));
        }
        assert_eq!((roads.changes.len(), roads.recorded.len()), (4, 0));
        let version = Version { time: 9_999, db: 0, serial: 9_999 };
        assert_eq!(passed(&roads, version, &readers, &names), "d", "what all of them have in common");
        add(&mut roads, 10_000, None);
        assert_eq!(passed(&roads, version, &readers, &names), "", "one was made here");
        add(&mut roads, 10_001, Some("s b,f 7 +".to_owned()));
        let recorded = Version { time: 10_001, db: 1, serial: 7 };
        assert_eq!(passed(&roads, recorded, &readers, &names), "f");
        // Of settled ones, the newest counts.
        let mut settled = Roads::default();
        add(&mut settled, 10, None);
        add(&mut settled, 20, Some("other d 1 +".to_owned()));
        assert_eq!(passed(&settled, Version { time: 20, db: 0, serial: 0 }, &readers, &names), "d");
    }
}
