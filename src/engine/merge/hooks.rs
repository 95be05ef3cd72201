//! Custom codes in merges. The first source that takes part is the source of versions 3 and 4, all others are the target.

use futures_util::future::try_join_all;

use super::arm::{Arm, News, Rows, readable};
use super::round::Merge;
use crate::catalog::Goat;
use crate::custom::Hook;
use crate::custom::input::{ROWS_MAX, Side};
use crate::engine::error::RoundError;
use crate::engine::hooks::Scene;
use crate::engine::site::Site;
use crate::pg::{Sql, SqlFile};
use crate::source::delta_column;

const CHANGED_KEYS: SqlFile = SqlFile::new(include_str!("../../../sql/merge/changed_keys.sql"));
const OWN_CHANGES: SqlFile = SqlFile::new(include_str!("../../../sql/merge/own_changes.sql"));

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
        self.hooks.as_ref().is_some_and(|hooks| hooks.has(Hook::BeforeCheckRows, None))
    }

    /// There are changes of the tables in these places; nothing is written yet.
    pub(super) async fn at_first_change(&mut self, places: &[usize], news: &[&News]) -> Result<(), RoundError> {
        self.tell_changes(places, news).await?;
        self.at(Hook::BeforeTriggerDisable, None).await?;
        self.at(Hook::AfterTriggerDisable, None).await
    }

    /// All rows are written, and nothing is committed.
    pub(super) async fn at_last_change(&mut self) -> Result<(), RoundError> {
        self.at(Hook::BeforeTriggerEnable, None).await?;
        self.at(Hook::AfterTriggerEnable, None).await
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

    async fn tell_changes(&mut self, places: &[usize], news: &[&News]) -> Result<(), RoundError> {
        let hooks = self.hooks.as_deref_mut().filter(|hooks| hooks.hear_of_changes());
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

    /// For each source, whether codes changed something there that was captured in the merge's own transaction: then it
    /// is not read with the merge.
    pub(super) async fn own_changes(&self) -> Result<Vec<bool>, RoundError> {
        if !self.hooks.as_ref().is_some_and(|hooks| hooks.had_triggers) {
            return Ok(vec![false; self.arms.len()]);
        }
        try_join_all(self.arms.iter().map(|arm| has_own_changes(arm))).await
    }
}

async fn has_own_changes(arm: &Arm) -> Result<bool, RoundError> {
    let mut changes = 0;
    for table in &arm.tables {
        let sql = OWN_CHANGES.fill(&[("delta", &table.delta)]);
        let found = arm.site.conn.execute(&sql, &[]).await;
        changes += found.map_err(arm.site.failed("looking for what custom codes changed"))?;
    }
    Ok(changes > 0)
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
