//! The sessions that the rounds of a KID open, for whoever runs the rounds: it keeps count of them and may limit them.
//!
//! A session that a round cannot do without is asked for with [`seat`]; if there is no room, the round fails with
//! [`RoundError::NoRoom`], and is run again once there is. One that only makes it quicker is a [`spare`] one.

use std::sync::Arc;

use bucardo_actors::model::DbName;

use super::error::RoundError;

tokio::task_local! {
    static HOST: Arc<dyn Host>;
}

/// Whoever runs the rounds of a KID.
pub trait Host: Send + Sync {
    /// A seat for one more session on `db`, never waited for. `is_needed`: the round is to be repeated with one more.
    /// The error is how many sessions there may be at a time.
    fn seat(&self, db: &DbName, is_needed: bool) -> Result<Box<dyn Seat>, usize>;

    /// How many sessions the KID may ever have on `db`.
    fn most(&self, db: &DbName) -> usize;
}

/// The place of one session; free again once it is dropped.
pub trait Seat: Send + Sync {
    /// The session is open, on this backend.
    fn taken(&mut self, backend: i32);
}

/// Runs rounds whose sessions this host knows of.
pub async fn hosted<F: Future>(host: Arc<dyn Host>, rounds: F) -> F::Output {
    HOST.scope(host, rounds).await
}

fn host() -> Option<Arc<dyn Host>> {
    HOST.try_with(Arc::clone).ok()
}

/// Work of a round that goes on in a task of its own.
pub(super) fn inherit<F: Future + Send>(work: F) -> impl Future<Output = F::Output> + Send {
    let host = host();
    async move {
        match host {
            Some(host) => HOST.scope(host, work).await,
            None => work.await,
        }
    }
}

/// A seat that the round cannot do without; `None`: nobody counts.
pub(super) fn seat(db: &DbName) -> Result<Option<Box<dyn Seat>>, RoundError> {
    ask(db, true)
}

/// A seat that the round can do without.
pub(super) fn spare(db: &DbName) -> Result<Option<Box<dyn Seat>>, RoundError> {
    ask(db, false)
}

fn ask(db: &DbName, is_needed: bool) -> Result<Option<Box<dyn Seat>>, RoundError> {
    let Some(host) = host() else { return Ok(None) };
    host.seat(db, is_needed).map(Some).map_err(|limit| RoundError::NoRoom { db: db.clone(), limit })
}

/// Whether the limits let a KID have so many sessions on `db`, if it waits for them.
pub(super) fn may_have(db: &DbName, sessions: usize) -> bool {
    host().is_none_or(|host| host.most(db) >= sessions)
}
