//! Transactions that are under way at a source of a merge: what they have still to write, or to commit, counts as old as
//! they are, and must not come before what was forgotten.
//!
//! Of some nobody tells when they began: of sessions of other roles, unless ours may see them (`pg_read_all_stats`), and of
//! prepared ones. What the look before has found says how old they are at most.

use std::collections::HashMap;
use std::mem::take;

use bucardo_actors::model::SyncName;
use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use crate::pg::{Connection, SqlFile};

const RUNNING: SqlFile = SqlFile::new(include_str!("../../sql/source/running.sql"));

/// What the last look at a source has found. Of times, `None` is the earliest: it is not known.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// When it was.
    at: Option<DateTime<Utc>>,
    /// No session was in a transaction then that had begun before.
    sessions: Option<DateTime<Utc>>,
    /// Transactions of which nobody tells when they began, and when at the earliest they did.
    untold: HashMap<String, Option<DateTime<Utc>>>,
}

/// A transaction that is under way.
struct Found {
    name: String,
    began: Option<DateTime<Utc>>,
    is_prepared: bool,
}

impl Running {
    /// The time before which no transaction has begun that may still write to tables of `sync`, those to come included.
    /// `None`: it is not known, and will be when those are over that are under way, at the latest.
    ///
    /// # Errors
    ///
    /// The server's.
    pub(super) async fn look(
        &mut self,
        source: &Connection,
        sync: &SyncName,
    ) -> Result<Option<DateTime<Utc>>, tokio_postgres::Error> {
        let rows = source.query(RUNNING.text(), &[&sync.as_str()]).await?;
        let found = |row: &Row| {
            let name = row.get::<_, Option<String>>("name")?;
            Some(Found { name, began: row.get("began"), is_prepared: row.get("is_prepared") })
        };
        let now = rows.first().map(|row| row.get("now"));
        Ok(self.oldest(now, rows.iter().filter_map(found).collect()))
    }

    fn oldest(&mut self, now: Option<DateTime<Utc>>, found: Vec<Found>) -> Option<DateTime<Utc>> {
        let before = take(&mut self.untold);
        let (mut sessions, mut all) = (now, now);
        for Found { name, began, is_prepared } in found {
            let began = began.or_else(|| {
                // A session that was not there is younger than that look; a prepared one may have been a session then.
                let unseen = if is_prepared { self.sessions } else { self.at };
                let began = before.get(&name).copied().unwrap_or(unseen);
                self.untold.insert(name, began);
                began
            });
            all = all.min(began);
            if !is_prepared {
                sessions = sessions.min(began);
            }
        }
        (self.at, self.sessions) = (now, sessions);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(second, 0)
    }

    fn session(name: &str, began: Option<i64>) -> Found {
        Found { name: name.to_owned(), began: began.and_then(at), is_prepared: false }
    }

    fn prepared(name: &str) -> Found {
        Found { name: name.to_owned(), began: None, is_prepared: true }
    }

    #[test]
    fn the_oldest_one_that_is_told_counts() {
        let mut running = Running::default();
        assert_eq!(running.oldest(at(100), vec![]), at(100), "none is older that begins later");
        assert_eq!(running.oldest(at(200), vec![session("1/1", Some(150)), session("2/1", Some(90))]), at(90));
        assert_eq!(running.oldest(at(300), vec![session("1/1", Some(150))]), at(150));
    }

    #[test]
    fn a_session_that_tells_nothing_is_younger_than_the_last_look_without_it() {
        let mut running = Running::default();
        assert_eq!(running.oldest(at(100), vec![session("1/1", None)]), None);
        assert_eq!(running.oldest(at(200), vec![session("1/1", None), session("1/2", None)]), None);
        assert_eq!(running.oldest(at(300), vec![session("1/2", None), session("1/3", None)]), at(100));
        assert_eq!(running.oldest(at(400), vec![session("1/3", None)]), at(200));
        // There is always one, and the time goes on.
        assert_eq!(running.oldest(at(500), vec![session("1/4", None)]), at(400));
        assert_eq!(running.oldest(at(600), vec![session("1/5", None)]), at(500));
    }

    #[test]
    fn a_prepared_one_is_no_older_than_the_sessions_were() {
        let mut running = Running::default();
        assert_eq!(running.oldest(at(100), vec![prepared("7")]), None);
        assert_eq!(running.oldest(at(200), vec![session("1/1", Some(150)), session("1/2", Some(180))]), at(150));
        assert_eq!(running.oldest(at(300), vec![prepared("8"), session("1/2", Some(180))]), at(150));
        // It stays what it was, whatever is prepared later, and does not make that older.
        assert_eq!(running.oldest(at(400), vec![prepared("8"), prepared("9")]), at(150));
        assert_eq!(running.oldest(at(500), vec![prepared("9"), prepared("10")]), at(180));
        assert_eq!(running.oldest(at(600), vec![prepared("10")]), at(400));
    }
}
