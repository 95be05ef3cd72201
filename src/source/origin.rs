//! Whose change a delta row is.
//!
//! The column `origin` of a delta table is NULL for a change made in that database. A round or a merge that writes delta
//! rows says there what it brought: `<sync> <dbs> <serial>`, with ` +` at the end when other syncs shall take it further
//! (`makedelta`). `<dbs>` is the database where the change was made and, after commas, every other one that it has been
//! to on its way: `two A,B 0 +` was made in A and brought from B by sync "two". (A merge writes the first one and a
//! serial of its own; rounds write the serial 0.)
//!
//! A change is not taken to a database that it has been to. With every hop a database joins the list, so a change ends
//! after as many hops as there are databases, whatever rings and two-way roads the syncs form together; naming only the
//! first database would let a change that enters a ring from outside run around it for ever.
//!
//! Where several changes of a key wait together, each keeps its own list: the row is brought to every database that
//! lacks one of them.

use bucardo_actors::model::{DbName, SyncName};

use crate::pg::{Sql, SqlFile};

const READABLE: SqlFile = SqlFile::new(include_str!("../../sql/source/readable.sql"));
const HANDED_ON: SqlFile = SqlFile::new(include_str!("../../sql/source/handed_on.sql"));

/// The condition that a delta row with this `origin` column is news for a database of a sync; all three are expressions.
pub(crate) fn readable(origin: &Sql, sync: &Sql, db: &Sql) -> Sql {
    Sql::trusted(READABLE.fill(&[("origin", origin), ("sync", sync), ("db", db)]))
}

/// The condition that a delta row with the column `origin` is news for `db` in `sync`.
pub(crate) fn news_for(sync: &SyncName, db: &DbName) -> Sql {
    readable(&Sql::trusted("origin"), &Sql::literal(sync.as_str()), &Sql::literal(db.as_str()))
}

/// The origin that a delta row with the column `origin` gets where `sync` writes it: made of its own and of `via`, the
/// sources of the sync, beginning with the one that it is read from.
pub(crate) fn handed_on<'a>(sync: &SyncName, via: impl IntoIterator<Item = &'a DbName>) -> Sql {
    let via = via_word(via);
    let holes = [Sql::trusted("origin"), Sql::literal(&format!("{sync} ")), Sql::literal(&format!("{via} 0 +"))];
    Sql::trusted(HANDED_ON.fill(&[("origin", &holes[0]), ("sync", &holes[1]), ("via", &holes[2])]))
}

/// The origin of rows that a round of `sync` copies without asking who changed them.
pub(crate) fn copied<'a>(sync: &SyncName, via: impl IntoIterator<Item = &'a DbName>) -> String {
    format!("{sync} {} 0 +", via_word(via))
}

fn via_word<'a>(via: impl IntoIterator<Item = &'a DbName>) -> String {
    via.into_iter().map(DbName::as_str).collect::<Vec<_>>().join(",")
}
