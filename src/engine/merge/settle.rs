//! Conflicts that custom code decides: their rows are read from all sides, the codes are asked, and what they say becomes
//! a ruling like any other, before anything is written.

use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use futures_util::future::{try_join, try_join_all, try_join3};

use super::conflict::By;
use super::decide::{Ruling, Take, Terms, decide, replace};
use super::dispute::{Disputes, Waiting};
use super::judge::{Bench, Ruled};
use super::pour::receivers;
use super::spool::{Escaped, Spool, cells, fields};
use super::strategy::{Strategy, places};
use crate::custom::conflict::{Dispute, Field, Side, Verdict};
use crate::custom::{Cells, CodeError, Decision, Hook};
use crate::engine::error::RoundError;
use crate::engine::hooks::Hooks;
use crate::engine::round::step;
use crate::engine::site::Site;
use crate::engine::step::Step;
use crate::pg::SqlFile;

const PLAN_DISPUTES: SqlFile = SqlFile::new(include_str!("../../../sql/merge/plan_disputes.sql"));

/// So many conflicts at a time, at first: nobody knows how wide the rows are.
const BATCH_MIN: usize = 16;
const BATCH_MAX: usize = 1000;
/// A batch shall have about so many bytes of rows.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// More is never kept, but for the rows of a single conflict.
const BATCH_BYTES_MAX: usize = 4 * BATCH_BYTES;

const fn is_too_much(conflicts: usize, bytes: usize) -> bool {
    conflicts > 1 && bytes > BATCH_BYTES_MAX
}

/// The conflicts of a table that codes have not been asked about.
struct Queue {
    disputes: Disputes,
    /// Those that were taken and come again, the last one first.
    again: Vec<Waiting>,
    /// So many are taken next.
    most: usize,
}

/// A conflict that codes have been asked about.
struct Settled {
    waiting: Waiting,
    verdict: Verdict,
    /// The strategy decides nothing, and all sides have the same row.
    is_equal: bool,
}

/// Without the rows, which are not needed any more.
fn settled(batch: Vec<Waiting>, told: &[Dispute], verdicts: Vec<Verdict>) -> Vec<Settled> {
    let all = batch.into_iter().zip(told).zip(verdicts);
    let one = |((waiting, dispute), verdict): ((Waiting, &Dispute), Verdict)| {
        let mut pairs = dispute.sides.windows(2);
        let is_equal = matches!(waiting.ruling, Ruling::Abort { .. }) && pairs.all(|pair| pair[0].row == pair[1].row);
        Settled { waiting, verdict, is_equal }
    };
    all.map(one).collect()
}

impl Queue {
    fn batch(&mut self) -> Result<Vec<Waiting>, RoundError> {
        let mut batch: Vec<Waiting> = Vec::new();
        while batch.len() < self.most
            && let Some(waiting) = self.again.pop()
        {
            batch.push(waiting);
        }
        batch.extend(self.disputes.next(self.most - batch.len())?);
        Ok(batch)
    }

    /// Rows of so many conflicts had so many bytes.
    fn learn(&mut self, conflicts: usize, bytes: usize) {
        let fitting = BATCH_BYTES / (bytes / conflicts).max(1);
        self.most = fitting.clamp(1, BATCH_MAX).min(self.most.saturating_mul(8));
    }

    fn back(&mut self, batch: Vec<Waiting>) {
        self.again.extend(batch.into_iter().rev());
    }
}

impl Bench<'_> {
    /// Settles all conflicts of the table. No log is being read any more.
    pub(super) async fn settle(
        &self,
        ruled: &mut Ruled,
        disputes: Disputes,
        hooks: &mut Hooks,
    ) -> Result<(), RoundError> {
        let merge = self.merge;
        let (Some(goat), false) = (merge.sync.tables().nth(self.place), disputes.count == 0) else { return Ok(()) };
        step(merge.watch, Step::Code("conflict")).await?;
        let sites: Vec<&Site> =
            merge.arms.iter().filter(|arm| merge.muted & arm.bit() == 0).map(|arm| &arm.site).collect();
        let field = Field {
            sync: merge.sync,
            goat,
            columns: &self.goat.columns,
            key_types: &self.goat.key_types,
            forms: &self.goat.forms,
        };
        let asks = hooks.asks(Hook::Conflict, Some(goat));
        let mut queue = self.begin(ruled, disputes).await?;
        let mut next = Box::pin(self.next(&mut queue)).await?;
        let mut before = Vec::new();
        while let Some((batch, told)) = next {
            let settling = Box::pin(hooks.settle(&field, &told, &sites));
            // While the codes are at these, what they said of those before is noted.
            let noting = async { self.note_all(ruled, std::mem::take(&mut before)) };
            let verdicts = if asks {
                let (verdicts, ()) = try_join(settling, noting).await?;
                next = Box::pin(self.next(&mut queue)).await?;
                verdicts
            } else {
                // The codes leave the sources alone, so the next rows come meanwhile, too.
                let (verdicts, (), read) = try_join3(settling, noting, Box::pin(self.next(&mut queue))).await?;
                next = read;
                verdicts
            };
            before = settled(batch, &told, verdicts);
        }
        self.note_all(ruled, before)
    }

    fn note_all(&self, ruled: &mut Ruled, settled: Vec<Settled>) -> Result<(), RoundError> {
        self.merge.watch.moved(u64::try_from(settled.len()).unwrap_or_default());
        settled.into_iter().try_for_each(|one| self.carry_out(ruled, one))
    }

    /// Settles conflicts that nobody decides: one whose rivals all have the same row is none, any other stops the merge.
    pub(super) async fn compare(&self, ruled: &mut Ruled, disputes: Disputes) -> Result<(), RoundError> {
        if disputes.count == 0 {
            return Ok(());
        }
        let mut queue = self.begin(ruled, disputes).await?;
        while let Some((batch, told)) = Box::pin(self.next(&mut queue)).await? {
            let verdicts = vec![Verdict { code: None, decision: Decision::Open }; batch.len()];
            self.note_all(ruled, settled(batch, &told, verdicts))?;
        }
        Ok(())
    }

    /// Plans to read rows of conflicts, from the first one on.
    async fn begin(&self, ruled: &mut Ruled, mut disputes: Disputes) -> Result<Queue, RoundError> {
        let what = format!("planning to read conflicts of table \"{}\"", self.goat.label);
        try_join_all(self.merge.arms.iter().map(|arm| arm.site.run(&what, PLAN_DISPUTES.text()))).await?;
        disputes.rewind()?;
        ruled.take.iter_mut().chain(&mut ruled.give).for_each(Spool::begin_anew);
        Ok(Queue { disputes, again: Vec::new(), most: BATCH_MIN })
    }

    /// The next conflicts, and what codes are told of them. Rows that turn out to be too many for the memory are dropped
    /// as they come, and read again, fewer at a time.
    async fn next(&self, queue: &mut Queue) -> Result<Option<(Vec<Waiting>, Vec<Dispute>)>, RoundError> {
        loop {
            let batch = queue.batch()?;
            if batch.is_empty() {
                return Ok(None);
            }
            let (told, bytes) = self.told(&batch).await?;
            queue.learn(batch.len(), bytes);
            match told {
                Some(told) => return Ok(Some((batch, told))),
                None => queue.back(batch),
            }
        }
    }

    /// What codes are told of a batch, and how many bytes of rows that is. `None`: too many, and there are several
    /// conflicts.
    async fn told(&self, batch: &[Waiting]) -> Result<(Option<Vec<Dispute>>, usize), RoundError> {
        let read = AtomicUsize::new(0);
        let arms = 0..self.merge.arms.len();
        let mut rows = try_join_all(arms.map(|arm| self.rows(arm, batch, &read))).await?;
        let bytes = read.into_inner();
        if is_too_much(batch.len(), bytes) {
            return Ok((None, bytes));
        }
        let dispute = |(number, waiting): (usize, &Waiting)| {
            let sides = self.merge.arms.iter().enumerate().filter(|(_, arm)| waiting.speaks(arm.place));
            let side = |(place, arm): (usize, &&mut super::arm::Arm)| {
                let entry = waiting.present.iter().find(|(place, _)| *place == arm.place);
                let time = entry.and_then(|(place, entry)| entry.version(*place)).map_or(0, |version| version.time);
                let changed = DateTime::<Utc>::from_timestamp_micros(time).unwrap_or_default();
                Side { db: arm.site.db.clone(), changed, row: rows[place][number].take() }
            };
            let sides = sides.map(side).collect();
            let key = fields(&waiting.keys).map(|value| Some(value?.unwrap_or_default())).collect::<Option<_>>();
            Ok(Dispute { key: key.ok_or_else(|| self.unreadable(0))?, sides })
        };
        let told: Result<Vec<Dispute>, RoundError> = batch.iter().enumerate().map(dispute).collect();
        Ok((Some(told?), bytes))
    }

    /// The rows of a batch at one source that is a side, each in the place of its conflict; none once they are too many.
    /// `read`: bytes of rows, of all sources together.
    async fn rows(&self, arm: usize, batch: &[Waiting], read: &AtomicUsize) -> Result<Vec<Option<Cells>>, RoundError> {
        let (site, at) = (&self.merge.arms[arm].site, &self.goat.at[arm]);
        let what = format!("reading conflicts of table \"{}\"", self.goat.label);
        let place = self.merge.arms[arm].place;
        let mut keys = Spool::new();
        for (number, waiting) in batch.iter().enumerate().filter(|(_, waiting)| waiting.speaks(place)) {
            keys.put(&waiting.keys, format!("\t{number}").as_bytes()).map_err(|source| RoundError::Spool { source })?;
        }
        let mut rows = vec![None; batch.len()];
        if keys.rows == 0 {
            return Ok(rows);
        }
        keys.send(site, &what, &at.give_in).await?;
        {
            let found = site.conn.copy_out(&at.rows_out).await.map_err(site.failed(what.as_str()))?;
            futures_util::pin_mut!(found);
            while let Some(mut line) = found.try_next().await.map_err(site.failed(what.as_str()))? {
                if is_too_much(batch.len(), read.fetch_add(line.len(), Ordering::Relaxed) + line.len()) {
                    rows.clear();
                    continue;
                }
                let number = usize::try_from(receivers(&mut line)?).unwrap_or(usize::MAX);
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                let row = cells(line, self.goat.columns.len()).ok_or_else(|| self.unreadable(arm))?;
                if let Some(slot) = rows.get_mut(number) {
                    *slot = Some(row);
                }
            }
        }
        site.run(&what, &at.clear_give).await?;
        Ok(rows)
    }

    fn unreadable(&self, arm: usize) -> RoundError {
        RoundError::Table {
            table: self.goat.label.clone(),
            db: self.merge.arms[arm].site.db.clone(),
            why: "a row with a conflict is no text in UTF-8, which is what custom code is given".to_owned(),
        }
    }

    /// Notes what each source does about one conflict.
    fn carry_out(&self, ruled: &mut Ruled, settled: Settled) -> Result<(), RoundError> {
        let Settled { waiting, verdict, is_equal } = settled;
        let rivals = waiting.ruling.rivals();
        let code = verdict.code.as_deref();
        let by = |how| By::Code { name: code, how };
        let decided = match verdict.decision {
            Decision::Open => None,
            Decision::Abort(why) => {
                let code = code.unwrap_or_default();
                let why = format!("custom code \"{code}\" aborts: {why}");
                return Err(self.abort(rivals, &waiting.keys, why, Some(code)));
            }
            Decision::Skip => self.take(&waiting, &Strategy::Skip).map(|take| (take, by("skipped"), None)),
            Decision::Winner(names) => {
                let take = self.winner(&names, code)?.and_then(|strategy| self.take(&waiting, &strategy));
                take.map(|take| (take, by("picked"), None))
            }
            Decision::Delete => {
                let take = replace(&waiting.present, rivals, &self.terms, b"");
                take.map(|take| (take, by("deleted"), None))
            }
            Decision::Edited(row) => {
                let line = copied(&row);
                let take = replace(&waiting.present, rivals, &self.terms, line.as_bytes());
                take.map(|take| (take, by("edited"), Some(line)))
            }
        };
        if let Some((take, by, made)) = decided {
            return self.put(ruled, &take, &waiting.present, &waiting.keys, (String::new(), by, made.as_deref()));
        }
        let by = By::Strategy(self.terms.strategy);
        match waiting.ruling {
            Ruling::Abort { .. } if is_equal => {
                let Some(take) = self.latest(&waiting.present, &waiting.keys) else { return Ok(()) };
                self.put(ruled, &take, &waiting.present, &waiting.keys, (waiting.passed.clone(), by, None))
            }
            Ruling::Abort { rivals } => Err(self.abort(rivals, &waiting.keys, self.no_winner(), None)),
            Ruling::Take(take) => {
                self.put(ruled, &take, &waiting.present, &waiting.keys, (waiting.passed.clone(), by, None))
            }
        }
    }

    fn take(&self, waiting: &Waiting, strategy: &Strategy) -> Option<Take> {
        match decide(&waiting.present, &Terms { strategy, ..self.terms }, &waiting.keys)? {
            Ruling::Take(take) => Some(take),
            Ruling::Abort { .. } => None,
        }
    }

    /// The winners that a code names. `None`: they take no part in this merge, and the strategy decides.
    fn winner(&self, names: &str, code: Option<&str>) -> Result<Option<Strategy>, RoundError> {
        if let Some((place, _)) = (0u16..).zip(self.merge.names).find(|(_, name)| *name == names) {
            return Ok((self.terms.up & (1 << place) != 0).then(|| Strategy::Listed(vec![place])));
        }
        let names: Vec<String> = names.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let places = places(&names, self.merge.names).map_err(|_| {
            let sources = self.merge.names.join(", ");
            let why = format!("\"{}\" is no winner: the sources are {sources}", names.join(" "));
            RoundError::Code(CodeError::Garbage { code: code.unwrap_or("conflict").to_owned(), why })
        })?;
        let up: Vec<u16> = places.into_iter().filter(|place| self.terms.up & (1 << place) != 0).collect();
        Ok((!up.is_empty()).then_some(Strategy::Listed(up)))
    }
}

/// A row as `COPY` takes it.
fn copied(row: &Cells) -> String {
    let value = |value: Option<&str>| value.map_or_else(|| "\\N".to_owned(), |text| Escaped(text).to_string());
    row.values().map(value).collect::<Vec<_>>().join("\t")
}
