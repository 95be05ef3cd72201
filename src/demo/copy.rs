//! Watching the initial copy.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::pg::{Connection, Sql, SqlFile};

use super::DemoError;
use super::screen::Screen;
use super::stage::{Relation, SOURCE, Stage, TARGETS};

const COPYING: SqlFile = SqlFile::new(include_str!("../../sql/demo/copying.sql"));
const HAS_ROWS: SqlFile = SqlFile::new(include_str!("../../sql/demo/has_rows.sql"));
const ROWS: SqlFile = SqlFile::new(include_str!("../../sql/demo/count.sql"));
const WITHIN: Duration = Duration::from_secs(300);
/// The first version that shows the progress of COPY.
const SHOWS_PROGRESS_SINCE: u32 = 140_000;

/// One target on its way to being full.
struct Filling {
    name: &'static str,
    connection: Connection,
    seen: HashMap<String, u64>,
}

/// Shows a bar per target until all of A's rows have been copied to both.
pub(super) async fn watch(stage: &Stage, screen: &Screen, relations: &[Relation]) -> Result<(), DemoError> {
    let source = stage.connect(SOURCE).await?;
    let mut wanted = HashMap::new();
    for table in relations.iter().filter(|relation| !relation.is_sequence) {
        let rows = count(&source, SOURCE, &table.name).await?;
        if rows > 0 {
            wanted.insert(table.name.clone(), rows);
        }
    }
    let mut targets = Vec::new();
    for name in TARGETS {
        targets.push(Filling { name, connection: stage.connect(name).await?, seen: HashMap::new() });
    }
    let total: u64 = wanted.values().sum();
    let mut bars = screen.bars(&TARGETS, total);
    let deadline = Instant::now() + WITHIN;
    loop {
        let mut full = true;
        for (index, target) in targets.iter_mut().enumerate() {
            target.look(&wanted).await?;
            bars.set(index, target.rows(&wanted));
            if target.rows(&wanted) == total {
                bars.finish(index);
            } else {
                full = false;
            }
        }
        bars.print_if_due();
        if full {
            return Ok(());
        }
        if Instant::now() > deadline {
            let what = "the initial copy".to_owned();
            return Err(DemoError::TooSlow { what, within: WITHIN, log: stage.log() });
        }
        screen.pause().await?;
    }
}

impl Filling {
    /// A table that shows rows has been copied and committed; of the others the running COPY tells how far it is.
    async fn look(&mut self, wanted: &HashMap<String, u64>) -> Result<(), DemoError> {
        let failed = |source| DemoError::Sql { what: "watch the copy", cluster: self.name, source };
        if self.connection.server_version() >= SHOWS_PROGRESS_SINCE {
            for row in self.connection.query(COPYING.text(), &[]).await.map_err(failed)? {
                let rows = u64::try_from(row.get::<_, i64>("rows")).unwrap_or_default();
                let seen = self.seen.entry(row.get("name")).or_default();
                *seen = rows.max(*seen);
            }
        }
        for (name, rows) in wanted {
            let sql = HAS_ROWS.fill(&[("table", &Sql::trusted(name.as_str()))]);
            if self.connection.query_one(&sql, &[]).await.map_err(failed)?.get("has_rows") {
                self.seen.insert(name.clone(), *rows);
            } else if let Some(seen) = self.seen.get_mut(name) {
                // All rows sent is not yet all rows committed.
                *seen = (*seen).min(rows.saturating_sub(1));
            }
        }
        Ok(())
    }

    fn rows(&self, wanted: &HashMap<String, u64>) -> u64 {
        wanted.keys().filter_map(|name| self.seen.get(name)).sum()
    }
}

async fn count(connection: &Connection, cluster: &'static str, table: &str) -> Result<u64, DemoError> {
    let sql = ROWS.fill(&[("table", &Sql::trusted(table))]);
    let row = connection.query_one(&sql, &[]).await;
    let row = row.map_err(|source| DemoError::Sql { what: "count rows", cluster, source })?;
    Ok(u64::try_from(row.get::<_, i64>("rows")).unwrap_or_default())
}
