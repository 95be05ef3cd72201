//! Rows of a whole copy that a target refuses, where they may wait as dead letters: all others are copied.
//!
//! A copy that was refused a row is made once more in this way. It writes a batch after the other, each after a savepoint,
//! and halves what is refused until single rows are left.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, pin_mut};
use postgres_types::ToSql;
use tokio_postgres::{CopyOutStream, Statement};

use bucardo_actors::model::DbName;

use crate::catalog::{Goat, SyncDetail};
use crate::engine::error::RoundError;
use crate::engine::guard::LETTERS_ADD;
use crate::engine::intake::Intake;
use crate::engine::refused::{Key, LETTERS_MAX, Letters, Refused, named, names, refusal, row};
use crate::engine::site::Site;
use crate::pg::is_row_end;

/// A batch has so many rows, or bytes, about.
const ROWS_MAX: usize = 1000;
const BYTES_MAX: usize = 1024 * 1024;

/// A table that is filled, but for rows that its database refuses.
pub(in crate::engine) struct Spared<'a> {
    pub(in crate::engine) sync: &'a SyncDetail,
    pub(in crate::engine) goat: &'a Goat,
    /// Whose rows they are.
    pub(in crate::engine) source: &'a DbName,
    pub(in crate::engine) target: &'a Site,
    pub(in crate::engine) columns: &'a [String],
}

impl Spared<'_> {
    /// Writes rows into the table, by a `COPY … FROM STDIN`, and those that are refused to the dead letters, in a
    /// transaction that is open. Returns how many were written; `moved` is told of rows and bytes as they go.
    ///
    /// # Errors
    ///
    /// A server refused something else; or too many rows.
    pub(in crate::engine) async fn pour(
        &self,
        rows: CopyOutStream,
        into: &Statement,
        moved: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<u64, RoundError> {
        pin_mut!(rows);
        let (mut lines, mut line, mut bytes) = (Vec::new(), BytesMut::new(), 0);
        let (mut written, mut refused) = (0, Vec::new());
        while let Some(piece) = rows.next().await {
            let piece = piece.map_err(|source| RoundError::Sql {
                what: format!("reading table \"{}\"", self.goat.label()),
                db: self.source.clone(),
                source,
            })?;
            bytes += piece.len();
            line.extend_from_slice(&piece);
            if is_row_end(&piece) {
                lines.push(line.split().freeze());
            }
            if lines.len() >= ROWS_MAX || bytes >= BYTES_MAX && !lines.is_empty() {
                written += self.write(&lines, into, &mut refused).await?;
                moved(u64::try_from(lines.len()).unwrap_or_default(), u64::try_from(bytes).unwrap_or_default());
                lines.clear();
                bytes = 0;
            }
        }
        written += self.write(&lines, into, &mut refused).await?;
        moved(u64::try_from(lines.len()).unwrap_or_default(), u64::try_from(bytes).unwrap_or_default());
        self.park(&refused).await?;
        Ok(written)
    }

    async fn write(&self, lines: &[Bytes], into: &Statement, refused: &mut Vec<Refused>) -> Result<u64, RoundError> {
        let label = self.goat.label();
        let savepoint = async |sql: &str| self.target.run(&format!("a savepoint of table \"{label}\""), sql).await;
        let (mut written, mut pieces) = (0, vec![lines]);
        while let Some(piece) = pieces.pop().filter(|piece| !piece.is_empty()) {
            savepoint("SAVEPOINT bucardo_piece").await?;
            let error = match self.copy(piece, into).await {
                Ok(rows) => {
                    savepoint("RELEASE SAVEPOINT bucardo_piece").await?;
                    written += rows;
                    continue;
                }
                Err(error) => error,
            };
            let Some(why) = refusal(&error).filter(|_| refused.len() < LETTERS_MAX) else {
                return Err(named(error, self.goat, refused).in_copy(&label, self.columns));
            };
            savepoint("ROLLBACK TO SAVEPOINT bucardo_piece; RELEASE SAVEPOINT bucardo_piece").await?;
            match piece {
                [line] => refused.push(Refused::new(self.key(line), why)),
                more => {
                    let (left, right) = more.split_at(more.len() / 2);
                    pieces.extend([right, left]);
                }
            }
        }
        Ok(written)
    }

    async fn copy(&self, lines: &[Bytes], into: &Statement) -> Result<u64, RoundError> {
        let mut sink = Intake::open(self.target, format!("writing table \"{}\"", self.goat.label()), into).await?;
        for line in lines {
            sink.row(line.clone()).await?;
        }
        sink.finish().await
    }

    fn key(&self, line: &[u8]) -> Key {
        let row = row(self.columns, line);
        let value = |column: &String| row.get(column).cloned().flatten().unwrap_or_default();
        self.goat.key.iter().map(value).collect()
    }

    async fn park(&self, refused: &[Refused]) -> Result<(), RoundError> {
        let Some(first) = refused.first() else { return Ok(()) };
        let Letters { keys, states, errors, tries } = Letters::of(self.goat, refused.iter());
        let (sync, source, goat) = (self.sync.name.as_str(), self.source.as_str(), self.goat);
        let args: [&(dyn ToSql + Sync); 8] =
            [&sync, &goat.schema, &goat.name, &source, &keys, &states, &errors, &tries];
        let parked = self.target.conn.execute(LETTERS_ADD.text(), &args).await;
        parked.map_err(self.target.failed("writing dead letters"))?;
        let (db, table, keys, why) = (&self.target.db, goat.label(), names(goat, refused), &first.message);
        tracing::warn!(%sync, %db, table, keys, why, "rows of a whole copy were refused and wait as dead letters, the others are copied");
        Ok(())
    }
}
