//! Rows on their way into a table, in constant memory.
//!
//! A server that refuses a row in the middle of a `COPY` goes on taking what comes, and we hear of it at the end of the
//! statement. So a long one is ended now and then and begun anew in the same transaction: a refused row costs what is
//! sent until then, and not the rest of the table.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::{CopyInSink, Statement};

use super::error::RoundError;
use super::site::Site;
use crate::pg::PIECE_BYTES;

/// A statement takes about so much. To begin the next one costs two round trips.
const STATEMENT_BYTES: usize = 32 * 1024 * 1024;

/// A `COPY … FROM STDIN` of a table, or several after each other.
pub(super) struct Intake<'a> {
    site: &'a Site,
    /// What is being done, for people.
    what: String,
    /// `None`: it cannot be cut into several, as its options want a beginning or an end.
    again: Option<Statement>,
    sink: Pin<Box<CopyInSink<Bytes>>>,
    /// Rows are handed on in pieces, so that one costs neither a message nor a wake-up, and a wide one no buffer of its
    /// own size on its way out.
    piece: BytesMut,
    /// Bytes of the present statement.
    sent: usize,
    /// Rows of those before it.
    written: u64,
}

impl<'a> Intake<'a> {
    /// Begins; `what` is being done, for people. The statement has no options: its rows may come in several.
    pub(super) async fn open(site: &'a Site, what: String, statement: &Statement) -> Result<Self, RoundError> {
        let sink = site.conn.copy_in(statement).await.map_err(site.failed(what.as_str()))?;
        let (again, piece) = (Some(statement.clone()), BytesMut::with_capacity(PIECE_BYTES));
        Ok(Self { site, what, again, sink: Box::pin(sink), piece, sent: 0, written: 0 })
    }

    /// The same for a text, which may have options (`has_options`).
    pub(super) async fn prepare(
        site: &'a Site,
        what: String,
        sql: &str,
        has_options: bool,
    ) -> Result<Self, RoundError> {
        let statement = site.conn.prepare(sql).await.map_err(site.failed(what.as_str()))?;
        let intake = Self::open(site, what, &statement).await?;
        Ok(if has_options { Self { again: None, ..intake } } else { intake })
    }

    /// Sends what a server sent: a row or a piece of one, or the head or tail that options ask for.
    pub(super) async fn row(&mut self, mut row: Bytes) -> Result<(), RoundError> {
        let is_end = row.ends_with(b"\n");
        if self.piece.len() + row.len() > PIECE_BYTES && !self.piece.is_empty() {
            self.flush().await?;
            self.piece.reserve(PIECE_BYTES);
        }
        while row.len() >= PIECE_BYTES {
            self.feed(row.split_to(PIECE_BYTES)).await?;
        }
        self.piece.extend_from_slice(&row);
        if is_end && self.sent >= STATEMENT_BYTES {
            self.begin_anew().await?;
        }
        Ok(())
    }

    /// Ends; returns how many rows were written.
    pub(super) async fn finish(mut self) -> Result<u64, RoundError> {
        self.flush().await?;
        Ok(self.written + self.end().await?)
    }

    async fn begin_anew(&mut self) -> Result<(), RoundError> {
        let Some(statement) = self.again.clone() else { return Ok(()) };
        self.flush().await?;
        self.written += self.end().await?;
        let sink = self.site.conn.copy_in(&statement).await;
        self.sink = Box::pin(sink.map_err(self.site.failed(self.what.as_str()))?);
        self.sent = 0;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), RoundError> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = self.piece.split().freeze();
        self.feed(piece).await
    }

    async fn feed(&mut self, piece: Bytes) -> Result<(), RoundError> {
        self.sent += piece.len();
        self.sink.feed(piece).await.map_err(self.site.failed(self.what.as_str()))
    }

    async fn end(&mut self) -> Result<u64, RoundError> {
        self.sink.as_mut().finish().await.map_err(self.site.failed(self.what.as_str()))
    }
}
