//! The databases of a round, lent to custom codes inside its transactions.
//!
//! What a code asks has the settings that its role has anywhere else, not those of the round: the search path, and what
//! the round tells the planner. A function that a code calls may set whatever it likes, for its transaction or the
//! session; after each code that asked, everything is as the round had it.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, try_join_all};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::hooks::unknown;
use super::site::Site;
use crate::custom::{Databases, Found, Refused, Statement, ask, ask_each};
use crate::pg::{Sql, SqlFile, causes};

const BEFORE: SqlFile = SqlFile::new(include_str!("../../sql/engine/codes_before.sql"));
const PLAINLY: SqlFile = SqlFile::new(include_str!("../../sql/engine/codes_plainly.sql"));
const AFTER: SqlFile = SqlFile::new(include_str!("../../sql/engine/codes_after.sql"));

/// The databases of a round, in its transactions.
pub(super) struct Inside<'a> {
    sites: &'a [&'a Site],
    /// Those where triggers fire for what codes write, though the round has switched them off.
    firing: &'a [&'a Site],
    /// No statement takes longer.
    longest: Duration,
    /// For each of the sites the settings that the round has there; `None`: the present code has not asked it.
    lent: Vec<Option<String>>,
    /// What ended a session in which the present code asked.
    lost: Option<Refused>,
}

impl<'a> Inside<'a> {
    pub(super) fn new(sites: &'a [&'a Site], firing: &'a [&'a Site], longest: Duration) -> Self {
        Self { sites, firing, longest, lent: vec![None; sites.len()], lost: None }
    }

    fn note<T>(&mut self, found: &Result<T, Refused>) {
        if let Err(refused) = found
            && refused.ends_session()
        {
            self.lost = Some(refused.clone());
        }
    }

    /// A database, for a code that asks it.
    async fn lend(&mut self, db: &str) -> Result<&'a Site, Refused> {
        let Some(place) = self.sites.iter().position(|site| site.db.as_str() == db) else {
            return Err(unknown(db, &self.names()));
        };
        let site = self.sites[place];
        if self.lent[place].is_none() {
            let triggers = match self.firing.iter().any(|it| it.db == site.db) {
                true => "; SET LOCAL session_replication_role = origin",
                false => "",
            };
            let lend = format!(
                "; {}; SET LOCAL search_path TO DEFAULT; SET LOCAL statement_timeout = {}{triggers}",
                PLAINLY.text().trim_end(),
                self.longest.as_millis()
            );
            let found = settings(&site.conn, &lend).await;
            self.lent[place] = Some(found.map_err(|error| refused("making way for it", &error))?);
        }
        Ok(site)
    }
}

/// What is set for the session and its transaction, as an object by name; then runs something else.
pub(super) async fn settings(client: &Client, and: &str) -> Result<String, tokio_postgres::Error> {
    let found = client.simple_query(&format!("{}{and}", BEFORE.text().trim_end())).await?;
    let settings = found.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(settings.unwrap_or_else(|| "{}".to_owned()))
}

fn refused(what: &str, error: &tokio_postgres::Error) -> Refused {
    Refused { message: format!("{what} failed: {}", causes(error)), ..Refused::default() }
}

impl Databases for Inside<'_> {
    fn names(&self) -> Vec<String> {
        self.sites.iter().map(|site| site.db.to_string()).collect()
    }

    fn run<'a>(&'a mut self, db: &'a str, statement: Statement) -> BoxFuture<'a, Result<Found, Refused>> {
        async move {
            let site = self.lend(db).await?;
            let found = ask(&site.conn, true, &statement).await;
            self.note(&found);
            found
        }
        .boxed()
    }

    fn run_each<'a>(
        &'a mut self,
        db: &'a str,
        sql: &'a str,
        calls: Vec<Vec<Option<String>>>,
    ) -> BoxFuture<'a, Result<Vec<Found>, Refused>> {
        async move {
            let site = self.lend(db).await?;
            let found = ask_each(&site.conn, true, sql, &calls).await;
            self.note(&found);
            found
        }
        .boxed()
    }

    fn put_back(&mut self) -> BoxFuture<'_, Result<(), Refused>> {
        async {
            let lost = self.lost.take();
            let lent = self.sites.iter().zip(&mut self.lent);
            let taken = lent.filter_map(|(site, settings)| Some((site, settings.take()?)));
            let back = taken.map(|(site, settings)| async move {
                let after =
                    AFTER.fill(&[("before", &Sql::literal(&settings)), ("session", &Sql::literal(site.settings()))]);
                // No session lock is the round's own.
                let sql = format!(
                    "RESET SESSION AUTHORIZATION; RESET ROLE; SET LOCAL search_path = pg_catalog; \
                     SELECT pg_advisory_unlock_all(); {after}"
                );
                let what = format!("putting the settings back that it changed on database \"{}\"", site.db);
                site.conn.batch_execute(&sql).await.map_err(|error| refused(&what, &error))
            });
            let back = try_join_all(back).await.map(drop);
            back.map_err(|refused| lost.unwrap_or(refused))
        }
        .boxed()
    }
}
