//! How far each source has read the others: seen to fit before a merge, written and committed with it.

use futures_util::future::{join_all, try_join_all};

use super::arm::{Advance, Arm, Look, Rows};
use super::late::Caught;
use super::round::Merge;
use crate::engine::error::RoundError;
use crate::engine::position::{Position, is_other_timeline};
use crate::engine::round::step;
use crate::engine::step::Step;

impl Merge<'_> {
    /// No source may have gone back in time since the last merge: changes would be skipped in silence. Returns
    /// whether some track lags behind its position.
    pub(super) fn check_times(&self, looks: &[Look]) -> Result<bool, RoundError> {
        let mut untracked = false;
        for (reader, seen) in self.arms.iter().zip(looks) {
            for (source, look) in self.arms.iter().zip(looks).filter(|(arm, _)| arm.place != reader.place) {
                let back = |db: &Arm, how: String| Err(RoundError::WentBack { db: db.site.db.clone(), how });
                let held = seen.held.get(&source.site.db).ok_or_else(|| self.no_position(reader))?;
                if held.system_id != source.system_id {
                    return back(source, "it is another cluster than the one that was read before".to_owned());
                }
                let Some(&track) = look.tracks.get(&reader.site.db) else {
                    let what = format!("the track of source \"{}\"", reader.site.db);
                    return Err(RoundError::NotInstalled { what, db: source.site.db.clone() });
                };
                let (reader_name, round) = (&reader.site.db, held.round);
                if track > round {
                    let how = format!(
                        "it is at round {round} of reading \"{}\", which has seen it at round {track}",
                        source.site.db
                    );
                    return back(reader, how);
                }
                if track + 1 < round {
                    let how = format!("it knows of round {track} of \"{reader_name}\", which is at round {round}");
                    return back(source, how);
                }
                if track != round && is_other_timeline(held.timeline, source.timeline) {
                    let how = format!(
                        "it was promoted or restored (timeline {}, before {}) and does not know of round {round} of \"{reader_name}\"",
                        source.timeline, held.timeline
                    );
                    return back(source, how);
                }
                if look.snapshot.xmax() < held.position.xmax() {
                    let (ends, read) = (look.snapshot.xmax(), held.position.xmax());
                    let how = format!("its transactions end at {ends}, \"{reader_name}\" has read up to {read}");
                    return back(source, how);
                }
                untracked |= track != round;
            }
        }
        Ok(untracked)
    }

    /// Tells each source how far the others have read it, where a merge ended before it could.
    pub(super) async fn mend_tracks(&self, looks: &[Look]) -> Result<(), RoundError> {
        try_join_all(self.arms.iter().map(|arm| arm.site.run("giving up a merge", "ROLLBACK"))).await?;
        for (source, look) in self.arms.iter().zip(looks) {
            for (reader, seen) in self.arms.iter().zip(looks) {
                let (Some(held), Some(track)) = (seen.held.get(&source.site.db), look.tracks.get(&reader.site.db))
                else {
                    continue;
                };
                if reader.place != source.place && *track != held.round {
                    let readers = [(reader.site.db.to_string(), held.round)];
                    source.track(&self.sync.name, &held.position, &readers).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes positions and commits, each source for itself; then tells each who has read it. Returns which arms
    /// committed, and why others refused. If one refuses that keeps conflicts, or where codes made changes, those after it
    /// do not commit: the conflicts would be decided, and nobody would know; and the changes would be made again.
    pub(super) async fn commit(
        &mut self,
        looks: &[Look],
        rows: &[Rows],
        caught: &[Caught],
    ) -> Result<(Vec<usize>, Vec<RoundError>), RoundError> {
        let sync = &self.sync.name;
        // What codes changed after the rulings is read with the next merge: the others' rows are no news then.
        let own = self.later_changes().await?;
        let reached = looks.iter().zip(own).map(|(look, has_own)| match has_own {
            true => look.snapshot.clone(),
            false => look.snapshot.with(look.txid),
        });
        let reached: Vec<Position> = reached.collect();
        let mut to = Advance::default();
        for (arm, position) in self.arms.iter().zip(&reached) {
            to.sources.push(arm.site.db.to_string());
            to.snapshots.push(position.to_string());
            to.system_ids.push(arm.system_id);
            to.timelines.push(arm.timeline);
        }
        let this = &*self;
        let writers = this.arms.iter().zip(rows).enumerate().filter(|(_, (arm, _))| this.muted & arm.bit() == 0);
        let advancing = writers.map(|(place, (arm, rows))| {
            let to = &to;
            async move {
                this.write_late(place, looks, caught).await?;
                arm.advance(sync, to, *rows).await
            }
        });
        try_join_all(advancing).await?;
        step(self.watch, Step::Positioned).await?;
        let mut refused = Vec::new();
        let mut committed = Vec::new();
        let mut gives_up = false;
        let read_only = (0..self.arms.len()).filter(|place| self.muted & self.arms[*place].bit() != 0);
        for place in self.committing().into_iter().chain(read_only) {
            let arm = &self.arms[place];
            let ends = self.muted & arm.bit() != 0 || gives_up;
            match arm.site.run("committing", if ends { "ROLLBACK" } else { "COMMIT" }).await {
                Ok(()) if ends => {}
                Ok(()) => committed.push(place),
                Err(error) => {
                    gives_up |= rows[place].conflicts > 0 || self.coded & arm.bit() != 0;
                    refused.push(error);
                }
            }
            step(self.watch, Step::Committed(arm.site.db.as_str())).await?;
        }
        let tracks = self.arms.iter().zip(&reached).map(|(source, position)| {
            let readers = committed.iter().filter(|place| self.arms[**place].place != source.place);
            let readers: Vec<(String, i64)> = readers
                .filter_map(|place| {
                    let held = looks[*place].held.get(&source.site.db)?;
                    Some((self.arms[*place].site.db.to_string(), held.round + 1))
                })
                .collect();
            async move { if readers.is_empty() { Ok(()) } else { source.track(sync, position, &readers).await } }
        });
        // A track that cannot be written lags; the next merge mends it.
        refused.extend(join_all(tracks).await.into_iter().filter_map(Result::err));
        refused.extend(self.let_go(looks, caught, &committed).await.err());
        step(self.watch, Step::Tracked).await?;
        Ok((committed, refused))
    }
}
