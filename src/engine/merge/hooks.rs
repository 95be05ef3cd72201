//! Custom codes in merges. The first source that takes part is the source of versions 3 and 4, all others are the target.
//!
//! **What codes write while triggers are on** is captured in the merge's own transaction. Before the rulings it is a change
//! of that source like any other: this merge rules on it, as the newest there, and has done so for good. If the source does
//! not commit, it has lost what others may have got; so what they get has a version that names nobody ([`super::decide`]).
//! After the rulings (`after_trigger_enable`) it is news for the next merge: the positions do not count the transaction as
//! read, and what was ruled on in it says so by itself.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;

use super::arm::{Arm, Look, News, Rows, readable};
use super::log::Readers;
use super::round::Merge;
use super::version::Origin;
use crate::catalog::Goat;
use crate::custom::Hook;
use crate::custom::input::{ROWS_MAX, Side};
use crate::engine::error::RoundError;
use crate::engine::hooks::Scene;
use crate::engine::site::Site;
use crate::pg::{Sql, SqlFile};
use crate::source::delta_column;

const CHANGED_KEYS: SqlFile = SqlFile::new(include_str!("../../../sql/merge/changed_keys.sql"));
const OWN_TABLES: SqlFile = SqlFile::new(include_str!("../../../sql/merge/own_tables.sql"));
const OWN_RULED: SqlFile = SqlFile::new(include_str!("../../../sql/merge/own_ruled.sql"));
const OWN_LATER: SqlFile = SqlFile::new(include_str!("../../../sql/merge/own_later.sql"));

const fn side(arm: usize) -> Side {
    if arm == 0 { Side::Source } else { Side::Target }
}

impl Merge<'_> {
    /// Runs the codes of a hook in the transactions of all sources that are written.
    pub(super) async fn at(&mut self, hook: Hook, goat: Option<&Goat>) -> Result<(), RoundError> {
        let Some(hooks) = self.hooks.as_deref_mut() else { return Ok(()) };
        let muted = self.muted;
        let sites: Vec<&Site> = self.arms.iter().filter(|arm| muted & arm.bit() == 0).map(|arm| &arm.site).collect();
        hooks.inside(hook, goat, Scene { sites: &sites, written: &sites, watch: self.watch }).await
    }

    /// Whether codes run before changes are looked for.
    pub(super) fn looks_with_codes(&self) -> bool {
        self.runs_codes(Hook::BeforeCheckRows)
    }

    fn runs_codes(&self, hook: Hook) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| hooks.has(hook, None))
    }

    /// There are changes of the tables in these places; nothing is written yet. Returns the places of tables that codes
    /// have changed.
    pub(super) async fn at_first_change(
        &mut self,
        places: &BTreeSet<usize>,
        readers: &[Readers],
        news: &mut [News],
    ) -> Result<Vec<usize>, RoundError> {
        self.tell_changes(places, news).await?;
        self.at(Hook::BeforeTriggerDisable, None).await?;
        let changed = self.hear_own(Hook::BeforeTriggerDisable, readers, news).await?;
        self.at(Hook::AfterTriggerDisable, None).await?;
        Ok(changed)
    }

    /// All rows are written, and nothing is committed.
    pub(super) async fn at_last_change(&mut self, looks: &[Look]) -> Result<(), RoundError> {
        self.at(Hook::BeforeTriggerEnable, None).await?;
        if self.runs_codes(Hook::AfterTriggerEnable) {
            self.end_rulings(looks).await?;
            self.at(Hook::AfterTriggerEnable, None).await?;
        }
        Ok(())
    }

    /// The table in this place was merged; `before`: what had been written to all by then.
    pub(super) async fn at_table(&mut self, place: usize, before: &[Rows], now: &[Rows]) -> Result<(), RoundError> {
        let Some(hooks) = self.hooks.as_deref_mut() else { return Ok(()) };
        let Some(goat) = self.sync.tables().nth(place) else { return Ok(()) };
        for (arm, (before, now)) in before.iter().zip(now).enumerate() {
            let (deletes, inserts) = (now.deletes - before.deletes, now.inserts - before.inserts);
            hooks.counts.written(goat, side(arm), deletes, inserts);
        }
        self.at(Hook::AfterTableSync, Some(goat)).await
    }

    async fn tell_changes(&mut self, places: &BTreeSet<usize>, news: &[News]) -> Result<(), RoundError> {
        let hooks = self.hooks.as_deref_mut().filter(|hooks| hooks.hear_of_changes_merged());
        let Some(hooks) = hooks else { return Ok(()) };
        for place in places {
            let Some(goat) = self.sync.tables().nth(*place) else { continue };
            let changes = |at: usize| news[at].tables.get(place).map_or(0, |unread| unread.changes.unsigned_abs());
            hooks.counts.changed(goat, Side::Source, changes(0));
            hooks.counts.changed(goat, Side::Target, (1..news.len()).map(changes).sum());
            if !hooks.want_rows() {
                continue;
            }
            let asked = self.arms.iter().map(|arm| keys(arm, self.sync, *place));
            let mut keys: Vec<Vec<String>> = try_join_all(asked).await?.into_iter().flatten().collect();
            keys.sort_unstable();
            keys.dedup();
            let total = keys.len() as u64;
            hooks.counts.keys(goat, keys, total);
        }
        Ok(())
    }

    /// What codes of this hook changed is news for this merge. Returns the places of the tables.
    pub(super) async fn hear_own(
        &mut self,
        hook: Hook,
        readers: &[Readers],
        news: &mut [News],
    ) -> Result<Vec<usize>, RoundError> {
        let mut places = Vec::new();
        if !self.runs_codes(hook) {
            return Ok(places);
        }
        for ((arm, readers), news) in self.arms.iter().zip(readers).zip(news) {
            for place in own_tables(arm).await? {
                self.coded |= arm.bit();
                let own = arm.news_of(&self.sync.name, place, &readers.common).await?;
                news.tables.extend(own.tables);
                let captured = arm.tables[place].captured;
                news.truncated.retain(|it| it.captured != captured);
                news.truncated.extend(own.truncated);
                places.push(place);
            }
        }
        Ok(places)
    }

    /// Marks what codes have changed so far and what was ruled on, so that the next merge, which reads this transaction if
    /// codes go on to write, takes it for what is settled.
    async fn end_rulings(&self, looks: &[Look]) -> Result<(), RoundError> {
        for (place, (arm, look)) in self.arms.iter().zip(looks).enumerate() {
            let db = arm.site.db.as_str();
            let origin = Origin { sync: self.sync.name.as_str(), db, passed: "", serial: 0, is_shared: true };
            let args: [&(dyn postgres_types::ToSql + Sync); 2] = [&look.txid.cast_signed(), &origin.to_string()];
            for table in own_tables(arm).await? {
                if !self.takers(table).contains(&place) {
                    continue;
                }
                let of = &arm.tables[table];
                let captured = Sql::trusted(of.captured.to_string());
                let sql = OWN_RULED.fill(&[("delta", &of.delta), ("captured", &captured)]);
                let ruled = arm.site.conn.execute(&sql, &args).await;
                ruled.map_err(arm.site.failed("marking what custom codes changed"))?;
            }
        }
        Ok(())
    }

    /// For each source, whether codes changed something there after the rulings.
    pub(super) async fn later_changes(&self) -> Result<Vec<bool>, RoundError> {
        if !self.runs_codes(Hook::AfterTriggerEnable) {
            return Ok(vec![false; self.arms.len()]);
        }
        try_join_all(self.arms.iter().map(|arm| has_later_changes(arm))).await
    }
}

/// Places of the tables of which the merge's own transaction at a source captured or recorded changes.
async fn own_tables(arm: &Arm) -> Result<Vec<usize>, RoundError> {
    let deltas: Vec<&str> = arm.tables.iter().map(|table| table.delta.as_str()).collect();
    let captured: Vec<i32> = arm.tables.iter().map(|table| table.captured).collect();
    let found = arm.site.conn.query(OWN_TABLES.text(), &[&deltas, &captured]).await;
    let found = found.map_err(arm.site.failed("looking for what custom codes changed"))?;
    Ok(found.iter().filter_map(|row| usize::try_from(row.get::<_, i64>("place")).ok()).collect())
}

async fn has_later_changes(arm: &Arm) -> Result<bool, RoundError> {
    let mut has_some = false;
    for place in own_tables(arm).await? {
        let table = &arm.tables[place];
        let captured = Sql::trusted(table.captured.to_string());
        let sql = OWN_LATER.fill(&[("delta", &table.delta), ("captured", &captured)]);
        let row = arm.site.conn.query_one(&sql, &[]).await;
        has_some |= row.map_err(arm.site.failed("looking for what custom codes changed"))?.get::<_, bool>("any");
    }
    Ok(has_some)
}

async fn keys(arm: &Arm, sync: &crate::catalog::SyncDetail, place: usize) -> Result<Vec<Vec<String>>, RoundError> {
    let table = &arm.tables[place];
    let columns = table.goat.key.iter().map(|key| Sql::trusted(format!("d.{}::text", Sql::ident(&delta_column(key)))));
    let columns = Sql::join(columns, ", ");
    let readable = readable(&sync.name);
    let sql = CHANGED_KEYS.fill(&[("keys", &columns), ("delta", &table.delta), ("readable", &readable)]);
    let rows = arm.site.conn.query(&sql, &[&ROWS_MAX]).await;
    let rows = rows.map_err(arm.site.failed(format!("reading changed keys of table \"{}\"", table.goat.label())))?;
    let key = |row: &tokio_postgres::Row| {
        (0..row.len()).map(|at| row.get::<_, Option<String>>(at).unwrap_or_default()).collect()
    };
    Ok(rows.iter().map(key).collect())
}
