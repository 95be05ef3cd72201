//! Rows that a target refuses: which keys they have, what custom codes do about it (hook `exception`), and where those keys
//! wait that nobody could help (`deadletter`), so that the rest of the table goes on.
//!
//! Only tables with such codes, or of a sync that allows dead letters, have a savepoint; and those of which rows were
//! refused before, in this round or when they were put aside: then at the least the keys have names. A key that waits keeps the
//! row that the target has. It is written in the target's transaction that takes the position past it, and goes again in
//! the one that delivers it: only the key is needed, as what is sent is always the present row.

use std::collections::BTreeSet;

use postgres_types::ToSql;
use tokio_postgres::Row as Found;
use tokio_postgres::error::DbError;

use super::apply::{self, Moved};
use super::error::RoundError;
use super::hooks::Scene;
use super::refused::{Key, Letters, Patience, Refusals, Refused, as_json, named, names, refusal, rows, undo};
use super::round::Round;
use super::sift::{Most, Sifted};
use super::site::Site;
use super::table::{Ready, Table};
use crate::catalog::Goat;
use crate::custom::Hook;
use crate::pg::SqlFile;

pub(super) const LETTERS_ADD: SqlFile = SqlFile::new(include_str!("../../sql/engine/letters_add.sql"));
pub(super) const LETTERS_ANY: SqlFile = SqlFile::new(include_str!("../../sql/engine/letters_any.sql"));
pub(super) const LETTERS_LIFT: SqlFile = SqlFile::new(include_str!("../../sql/engine/letters_lift.sql"));

/// A table and its statements.
#[derive(Clone, Copy)]
pub(super) struct Bench<'a> {
    pub(super) source: &'a Site,
    pub(super) target: &'a Site,
    pub(super) table: &'a Table,
    pub(super) ready: &'a Ready,
    pub(super) round: &'a Round<'a>,
    /// Rows of it were refused at the commit.
    pub(super) is_late: bool,
}

/// Whether what is refused of this table is looked into.
pub(super) fn is_guarded(round: &Round<'_>, goat: &Goat) -> bool {
    round.doubted.contains(&goat.label()) || is_helped(round, goat)
}

/// Whether refused rows of this table may be mended, or wait alone.
fn is_helped(round: &Round<'_>, goat: &Goat) -> bool {
    round.sync.deadletter || round.hooks.as_ref().is_some_and(|hooks| hooks.has(Hook::Exception, Some(goat)))
}

/// Brings the changes of a table of which rows may be refused.
pub(super) async fn bring(round: &mut Round<'_>, place: usize, changes: &Found) -> Result<Moved, RoundError> {
    let nothing = || Moved { keys: 0, deletes: 0, inserts: 0 };
    let Some(bench) = bench(round, place) else { return Ok(nothing()) };
    let label = bench.table.label.clone();
    let brought = bench.bring(changes).await?;
    round.has_savepoint = true;
    let Some(bench) = self::bench(round, place) else { return Ok(nothing()) };
    let error = match brought {
        Ok(moved) => {
            if bench.has_letters().await? {
                let all = bench.all_keys().await?;
                bench.lift(&distinct(&all, bench.table)).await?;
            }
            return Ok(moved);
        }
        Err(error) => error,
    };
    let is_clash = matches!(error.sqlstate(), Some("23505" | "23P01"));
    if bench.refusal(&error).is_none() || (round.is_cut && is_clash) || !undo(bench.target).await {
        return Err(error);
    }
    round.has_savepoint = false;
    let Some(bench) = self::bench(round, place) else { return Ok(nothing()) };
    let all = bench.all_keys().await?;
    let keys = distinct(&all, bench.table);
    let (mut patience, mut doubted) = (Patience::default(), Vec::new());
    // Where nobody can help, some names are all that is wanted.
    let most = if is_helped(round, &bench.table.goat) { Most::Waiting } else { Most::Named };
    loop {
        let Some(bench) = self::bench(round, place) else { return Err(error) };
        let Sifted { refused, gone, is_all } = bench.sift(&keys, &doubted, most).await?;
        if !is_all {
            return Err(named(error, &bench.table.goat, &refused));
        }
        if let Some(tries) = patience.next(refused.len())
            && ask(round, place, &refused, tries).await?
        {
            doubted = refused.into_iter().filter(|it| !it.is_unsure).map(|it| it.key).collect();
            continue;
        }
        let Some(bench) = self::bench(round, place) else { return Err(error) };
        if !refused.is_empty() && !round.sync.deadletter {
            return Err(named(error, &bench.table.goat, &refused));
        }
        let bad: BTreeSet<&Key> = refused.iter().map(|it| &it.key).chain(&gone).collect();
        let good: Vec<Key> = keys.iter().filter(|key| !bad.contains(key)).cloned().collect();
        let mut moved = bench.deliver(&all, &good).await?;
        bench.check_late().await?;
        let refused = bench.save(&all, refused, &mut moved).await?;
        if round.sync.deadletter {
            let bad: BTreeSet<&Key> = refused.iter().map(|it| &it.key).collect();
            let good: Vec<Key> = keys.iter().filter(|key| !bad.contains(key)).cloned().collect();
            bench.lift(&good).await?;
        }
        if !refused.is_empty() {
            bench.park(&refused).await?;
            let (keys, why) = (names(&bench.table.goat, &refused), &refused[0].message);
            round.has_letters = true;
            tracing::warn!(kid = %round.id, table = label, keys, why, "rows were refused and wait as dead letters, the others go on");
        }
        return Ok(moved);
    }
}

fn bench<'a>(round: &'a Round<'a>, place: usize) -> Option<Bench<'a>> {
    let session = &*round.session;
    let table = &session.tables[place];
    let (source, target, ready) = (&session.source, &session.target, table.ready.as_ref()?);
    Some(Bench { source, target, table, ready, round, is_late: round.is_late_with(&table.label) })
}

/// The keys that changed, each once.
fn distinct(all: &Found, table: &Table) -> Vec<Key> {
    let columns = columns(all, table);
    let count = columns.first().map_or(0, Vec::len);
    let keys: BTreeSet<Key> = (0..count).map(|at| columns.iter().map(|column| column[at].clone()).collect()).collect();
    keys.into_iter().collect()
}

fn columns(all: &Found, table: &Table) -> Vec<Vec<String>> {
    let column = |place: usize| all.get::<_, Option<Vec<String>>>(format!("a{place}").as_str()).unwrap_or_default();
    (0..table.goat.key.len()).map(column).collect()
}

impl Bench<'_> {
    pub(super) async fn savepoint(&self, sql: &str) -> Result<(), RoundError> {
        self.target.run(&format!("a savepoint of table \"{}\"", self.table.label), sql).await
    }

    /// Brings the changes as if nothing was refused, after a savepoint that goes in one breath with them. The savepoint of the
    /// table before goes with the transaction, or here: many in each other are slow.
    async fn bring(&self, changes: &Found) -> Result<Result<Moved, RoundError>, RoundError> {
        let release = if self.round.has_savepoint { "RELEASE SAVEPOINT bucardo_table; " } else { "" };
        let savepoint = format!("{release}SAVEPOINT bucardo_table");
        let bringing = apply::bring(self.round, self.table, self.ready, changes);
        let (saved, brought) = tokio::join!(self.savepoint(&savepoint), bringing);
        saved?;
        Ok(match brought {
            Ok(moved) => self.check_late().await.map(|()| moved),
            Err(error) => Err(error),
        })
    }

    /// What a server says that refuses rows.
    pub(super) fn refusal<'e>(&self, error: &'e RoundError) -> Option<&'e DbError> {
        refusal(error).filter(|_| error.db() == Some(&self.target.db))
    }

    async fn all_keys(&self) -> Result<Found, RoundError> {
        let failed = self.source.failed(format!("reading changed keys of table \"{}\"", self.table.label));
        self.source.conn.query_one(&self.ready.keys, &[&i64::MAX]).await.map_err(failed)
    }

    /// Tries each refused key once more, by itself: what it clashed with may keep an older row now. Returns those that are
    /// still refused.
    async fn save(&self, all: &Found, refused: Vec<Refused>, moved: &mut Moved) -> Result<Vec<Refused>, RoundError> {
        let mut still = Vec::new();
        for it in refused {
            if it.is_unsure {
                still.push(it);
                continue;
            }
            self.savepoint("SAVEPOINT bucardo_piece").await?;
            let saved = match self.deliver(all, std::slice::from_ref(&it.key)).await {
                Ok(saved) => self.check_late().await.map(|()| saved),
                Err(error) => Err(error),
            };
            match saved {
                Ok(saved) => {
                    self.savepoint("RELEASE SAVEPOINT bucardo_piece").await?;
                    moved.keys += saved.keys;
                    moved.deletes += saved.deletes;
                    moved.inserts += saved.inserts;
                }
                Err(error) if self.refusal(&error).is_some() => {
                    self.savepoint("ROLLBACK TO SAVEPOINT bucardo_piece; RELEASE SAVEPOINT bucardo_piece").await?;
                    still.push(it);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(still)
    }

    /// Brings these keys, and hands them on, in place of what the whole batch would have done.
    async fn deliver(&self, all: &Found, good: &[Key]) -> Result<Moved, RoundError> {
        let wanted: BTreeSet<&Key> = good.iter().collect();
        let columns = columns(all, self.table);
        let count = columns.first().map_or(0, Vec::len);
        let key = |at: usize| -> Key { columns.iter().map(|column| column[at].clone()).collect() };
        let places: Vec<usize> = (0..count).filter(|at| wanted.contains(&key(*at))).collect();
        let arrays: Vec<Vec<&str>> =
            columns.iter().map(|column| places.iter().map(|at| column[*at].as_str()).collect()).collect();
        let origins: Vec<Option<String>> = apply::listed(all, self.table, "origins");
        let times: Vec<chrono::DateTime<chrono::Utc>> = apply::listed(all, self.table, "times");
        let origins: Vec<Option<String>> = places.iter().filter_map(|at| origins.get(*at).cloned()).collect();
        let times: Vec<_> = places.iter().filter_map(|at| times.get(*at).copied()).collect();
        let mut args: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| array as &(dyn ToSql + Sync)).collect();
        args.extend([&origins as &(dyn ToSql + Sync), &times]);
        let handing_on = || self.target.failed(format!("handing on changes of table \"{}\"", self.table.label));
        self.ready.onward.few(self.target, &args, false).await.map_err(handing_on())?;
        let deletes = self.delete(good).await?;
        let inserts = self.insert(good).await?;
        self.ready.onward.few(self.target, &args, true).await.map_err(handing_on())?;
        Ok(Moved { keys: u64::try_from(places.len()).unwrap_or_default(), deletes, inserts })
    }

    async fn has_letters(&self) -> Result<bool, RoundError> {
        if !self.round.has_letters {
            return Ok(false);
        }
        let (sync, goat) = (self.table.sync.as_str(), &self.table.goat);
        let found = self.target.conn.query_one(LETTERS_ANY.text(), &[&sync, &goat.schema, &goat.name]).await;
        Ok(found.map_err(self.target.failed("looking for dead letters"))?.get("any"))
    }

    /// These keys were delivered, and wait no longer.
    async fn lift(&self, keys: &[Key]) -> Result<(), RoundError> {
        let keys: Vec<String> = keys.iter().map(|key| as_json(&self.table.goat, key).to_string()).collect();
        let (sync, goat) = (self.table.sync.as_str(), &self.table.goat);
        let args: [&(dyn ToSql + Sync); 4] = [&sync, &goat.schema, &goat.name, &keys];
        let lifted = self.target.conn.execute(LETTERS_LIFT.text(), &args).await;
        lifted.map(drop).map_err(self.target.failed("taking out dead letters"))
    }

    async fn park(&self, refused: &[Refused]) -> Result<(), RoundError> {
        let Letters { keys, states, errors, tries } = Letters::of(&self.table.goat, refused.iter());
        let (sync, source, goat) = (self.table.sync.as_str(), self.round.id.source.as_str(), &self.table.goat);
        let args: [&(dyn ToSql + Sync); 8] =
            [&sync, &goat.schema, &goat.name, &source, &keys, &states, &errors, &tries];
        let parked = self.target.conn.execute(LETTERS_ADD.text(), &args).await;
        parked.map(drop).map_err(self.target.failed("writing dead letters"))
    }
}

/// Asks the codes; returns whether the table shall be tried again.
async fn ask(round: &mut Round<'_>, place: usize, refused: &[Refused], tries: u32) -> Result<bool, RoundError> {
    let goat = round.session.tables[place].goat.clone();
    if !round.hooks.as_ref().is_some_and(|hooks| hooks.has(Hook::Exception, Some(&goat))) {
        return Ok(false);
    }
    let Some(bench) = bench(round, place) else { return Ok(false) };
    let refused: Vec<Refused> = refused.iter().filter(|it| !it.is_unsure).cloned().collect();
    let keys: Vec<Key> = refused.iter().map(|it| it.key.clone()).collect();
    let (label, columns) = (&bench.table.label, bench.ready.columns.as_slice());
    let rows = rows(bench.source, label, (&bench.ready.rows_some, columns), &keys).await?;
    let known: Vec<Key> = refused.iter().filter(|it| !it.is_foreign).map(|it| it.key.clone()).collect();
    let present = self::rows(bench.target, label, (&bench.ready.rows_there, columns), &known).await?;
    let source = bench.source.db.as_str();
    let told = Refusals {
        goat: &goat,
        key_types: &bench.ready.key_types,
        forms: &bench.ready.forms,
        target: bench.target.db.as_str(),
        first: source,
        refused: &refused,
        sources: &vec![source; refused.len()],
        rows: &rows,
        present: &present,
        tries,
    }
    .told();
    let (source, target) = (&round.session.source, &round.session.target);
    let Some(hooks) = round.hooks.as_mut() else { return Ok(false) };
    let sites = [source, target];
    hooks.exception(&goat, told, Scene { sites: &sites, written: &[target], watch: round.watch }).await
}
