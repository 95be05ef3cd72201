//! How far a copy in one transaction is, for people. Of that transaction nobody sees anything before its end, so another
//! session of the target writes it down, as the journal has it for copies in pieces: once the copy takes longer than a
//! moment, and where there is room for one more session. That it cannot be told is nobody's fault, and ends no copy.

use std::convert::Infallible;
use std::future::pending;
use std::sync::OnceLock;
use std::time::Duration;

use bucardo_actors::model::Pair;
use tokio::time::sleep;

use super::journal::{Job, Journal, Totals, WHOLE};
use super::plan::Size;
use super::progress::{Piece, Progress};
use crate::catalog::SyncDetail;
use crate::engine::error::RoundError;
use crate::engine::site::Site;
use crate::pg::causes;

/// A copy that is over by then is told of nowhere; and how often the others are.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What a copy of whole tables has done so far, and has to do.
pub(super) struct Telling {
    progress: Progress,
    sizes: Vec<Size>,
}

impl Telling {
    /// Of tables that are so large, in order.
    pub(super) fn of(sizes: Vec<Size>) -> Self {
        Self { progress: Progress::of(&[]), sizes }
    }

    /// The table at this place begins.
    pub(super) fn begins(&self, place: usize) -> Piece<'_> {
        self.progress.piece(self.sizes.get(place).map_or(0, |size| size.bytes))
    }

    /// A table is there.
    pub(super) fn table_done(&self) {
        self.progress.table_done();
    }

    /// Copies, and tells meanwhile.
    pub(super) async fn during<T>(&self, sync: &SyncDetail, id: &Pair, copying: impl Future<Output = T>) -> T {
        let teller = OnceLock::new();
        let telling = async {
            let Err(error) = self.tell(sync, id, &teller).await;
            tracing::debug!(kid = %id, error = %causes(&error), "it is not told how far the copy is");
            pending::<Infallible>().await
        };
        let ended = tokio::select! {
            ended = copying => ended,
            never = telling => match never {},
        };
        if let Some(target) = teller.get()
            && let Err(error) = (Journal { target, id }).withdraw().await
        {
            tracing::debug!(kid = %id, error = %causes(&error), "it is not told that the copy has ended");
        }
        ended
    }

    async fn tell(&self, sync: &SyncDetail, id: &Pair, teller: &OnceLock<Site>) -> Result<Infallible, RoundError> {
        sleep(TELL_EVERY).await;
        let site = Site::spare(sync, &id.target, &format!("bucardo KID {id} progress")).await?;
        let journal = Journal { target: teller.get_or_init(|| site), id };
        journal.open().await?;
        let sum = |of: fn(&Size) -> i64| self.sizes.iter().map(of).sum();
        let totals = Totals {
            tables: i64::try_from(self.sizes.len()).unwrap_or(i64::MAX),
            rows: sum(|size| size.rows),
            bytes: sum(|size| size.bytes),
            bytes_done: self.progress.now().2,
        };
        journal.begin(&Job { request: 0, mode: WHOLE, attempt: 1 }, &totals).await?;
        loop {
            let (tables, rows, bytes) = self.progress.now();
            journal.progress(tables, rows, bytes).await?;
            sleep(TELL_EVERY).await;
        }
    }
}
