//! Which keys of a table a target refuses: what it does not take together is halved until single keys are left.

use std::collections::BTreeSet;

use futures_util::future::join3;
use postgres_types::ToSql;

use super::error::RoundError;
use super::guard::Bench;
use super::intake::Intake;
use super::refused::{Key, LETTERS_MAX, NAMED_MAX, PASSES_MAX, PIECE_MAX, REFUSED_MAX, Refused, name_keys, rows};
use super::site::pour;

/// What a search found.
#[derive(Default)]
pub(super) struct Sifted {
    pub(super) refused: Vec<Refused>,
    /// Keys that the target can have no row of, and the source has none any more: there is nothing to bring.
    pub(super) gone: Vec<Key>,
    /// The search went to its end.
    pub(super) is_all: bool,
}

/// How many refused keys are looked for.
#[derive(Clone, Copy)]
pub(super) enum Most {
    /// Some, to have names.
    Named,
    /// All, as far as they can wait.
    Waiting,
}

impl Most {
    fn all(self) -> usize {
        match self {
            Self::Named => NAMED_MAX,
            Self::Waiting => LETTERS_MAX,
        }
    }

    fn one_by_one(self) -> usize {
        REFUSED_MAX.min(self.all())
    }
}

/// What is tried with keys.
#[derive(Clone, Copy)]
enum Act {
    Delete,
    Insert,
    /// Both, and what is checked late is checked.
    Replace,
}

impl Bench<'_> {
    /// The keys that the target does not take, however the others are delivered. `doubted` were refused before.
    pub(super) async fn sift(&self, keys: &[Key], doubted: &[Key], most: Most) -> Result<Sifted, RoundError> {
        let doubted: BTreeSet<&Key> = doubted.iter().collect();
        let mut sifted = Sifted::default();
        for _ in 0..PASSES_MAX {
            let bad: BTreeSet<&Key> = sifted.refused.iter().map(|it| &it.key).chain(&sifted.gone).collect();
            let good: Vec<Key> = keys.iter().filter(|key| !bad.contains(key)).cloned().collect();
            self.savepoint("SAVEPOINT bucardo_table").await?;
            let first = if self.is_late { Act::Replace } else { Act::Delete };
            let kept = self.halve(first, &good, &[], most).await?;
            let (mut found, gone) = self.weigh(kept, most).await?;
            if !self.is_late {
                let out: BTreeSet<&Key> = found.iter().map(|it| &it.key).chain(&gone).collect();
                let good = good.iter().filter(|key| !out.contains(key)).cloned();
                let (sure, single): (Vec<Key>, Vec<Key>) = good.partition(|key| !doubted.contains(key));
                found.extend(self.halve(Act::Insert, &sure, &single, most).await?);
            }
            self.savepoint("ROLLBACK TO SAVEPOINT bucardo_table; RELEASE SAVEPOINT bucardo_table").await?;
            let is_done = found.is_empty() && gone.is_empty();
            sifted.refused.extend(found);
            sifted.gone.extend(gone);
            if is_done || sifted.refused.len() > most.all() {
                sifted.is_all = is_done;
                break;
            }
        }
        Ok(sifted)
    }

    /// Tells what could not be deleted, or replaced, apart: rows that the target does not let go; keys that it can have no row of, with
    /// rows that it therefore refuses, or without.
    async fn weigh(&self, kept: Vec<Refused>, most: Most) -> Result<(Vec<Refused>, Vec<Key>), RoundError> {
        let (mut refused, mut foreign) = (Vec::new(), Vec::new());
        for it in kept {
            if !it.is_unsure && self.is_foreign(&it.key).await? {
                foreign.push(it.key);
            } else {
                refused.push(it);
            }
        }
        let sent = self.halve(Act::Insert, &[], &foreign, most).await?;
        let gone = foreign.iter().filter(|key| sent.iter().all(|it| it.key != **key)).cloned().collect();
        refused.extend(sent.into_iter().map(|it| Refused { is_foreign: true, ..it }));
        Ok((refused, gone))
    }

    /// Whether the target does not even understand the question for the row of a key.
    async fn is_foreign(&self, key: &Key) -> Result<bool, RoundError> {
        self.savepoint("SAVEPOINT bucardo_piece").await?;
        let there = (self.ready.rows_there.as_str(), self.ready.columns.as_slice());
        let is_foreign = match rows(self.target, &self.table.label, there, std::slice::from_ref(key)).await {
            Ok(_) => false,
            Err(error) if self.refusal(&error).is_some() => true,
            Err(error) => return Err(error),
        };
        self.savepoint("ROLLBACK TO SAVEPOINT bucardo_piece; RELEASE SAVEPOINT bucardo_piece").await?;
        Ok(is_foreign)
    }

    /// Halves what is refused until single keys are left. To write rows, their old ones are gone. `single`: one by one from
    /// the start.
    async fn halve(&self, act: Act, keys: &[Key], single: &[Key], most: Most) -> Result<Vec<Refused>, RoundError> {
        let mut refused = Vec::new();
        let mut pieces: Vec<&[Key]> = single.chunks(1).rev().chain([keys]).collect();
        // How the savepoint of the piece before ends: in one breath with what is tried next.
        let mut end = None;
        while let Some(piece) = pieces.pop().filter(|_| refused.len() <= most.all()) {
            self.round.watch.moved(1);
            let is_coarse = refused.len() > most.one_by_one();
            if is_coarse && piece.len() > PIECE_MAX {
                pieces.extend(piece.chunks(PIECE_MAX).rev());
                continue;
            }
            let begin = format!("{}SAVEPOINT bucardo_piece", end.unwrap_or_default());
            let (begun, done) = tokio::join!(self.savepoint(&begin), Box::pin(self.act(act, piece)));
            begun?;
            let Err(error) = done else {
                end = Some("RELEASE SAVEPOINT bucardo_piece;");
                continue;
            };
            let Some(why) = self.refusal(&error) else { return Err(error) };
            end = Some("ROLLBACK TO SAVEPOINT bucardo_piece; RELEASE SAVEPOINT bucardo_piece;");
            match piece {
                [] => {}
                [key] => refused.push(Refused::new(key.clone(), why)),
                some if is_coarse => {
                    refused
                        .extend(some.iter().map(|key| Refused { is_unsure: true, ..Refused::new(key.clone(), why) }));
                }
                more => {
                    let (left, right) = more.split_at(more.len() / 2);
                    pieces.extend([right, left]);
                }
            }
        }
        if let Some(end) = end {
            self.savepoint(end).await?;
        }
        Ok(refused)
    }

    async fn act(&self, act: Act, keys: &[Key]) -> Result<(), RoundError> {
        match act {
            Act::Delete => self.delete(keys).await.map(drop),
            Act::Insert => self.insert(keys).await.map(drop),
            Act::Replace => self.replace(keys).await,
        }
    }

    async fn replace(&self, keys: &[Key]) -> Result<(), RoundError> {
        self.delete(keys).await?;
        self.insert(keys).await?;
        self.check_late().await
    }

    pub(super) async fn delete(&self, keys: &[Key]) -> Result<u64, RoundError> {
        let arrays: Vec<Vec<&str>> =
            (0..self.table.goat.key.len()).map(|at| keys.iter().map(|key| key[at].as_str()).collect()).collect();
        let args: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| array as &(dyn ToSql + Sync)).collect();
        let failed = self.target.failed(format!("deleting changed rows of table \"{}\"", self.table.label));
        self.target.conn.execute(&self.ready.delete_few, &args).await.map_err(failed)
    }

    pub(super) async fn insert(&self, keys: &[Key]) -> Result<u64, RoundError> {
        let label = &self.table.label;
        // Each asks the server twice, and always in this order.
        let (named, rows, sink) = join3(
            name_keys(self.source, label, keys),
            self.source.conn.copy_out_in_pieces(self.ready.rows_some.as_str()),
            Intake::open(self.target, format!("writing rows of table \"{label}\""), &self.ready.rows_in),
        )
        .await;
        named?;
        let rows = rows.map_err(self.source.failed(format!("reading rows of table \"{label}\"")))?;
        pour(label, self.source, rows, sink?, self.round.watch).await
    }
}
