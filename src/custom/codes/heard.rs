//! What databases say to a code while it runs, as far as it tells of a failure that passes.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::custom::{Code, CodeError, Databases, Found, Refused, Statement};

/// The databases of a code, with the first failure of them that passes by itself.
pub(super) struct Heard<'a> {
    dbs: &'a mut dyn Databases,
    passing: Option<(String, Refused)>,
}

impl<'a> Heard<'a> {
    pub(super) fn new(dbs: &'a mut dyn Databases) -> Self {
        Self { dbs, passing: None }
    }

    fn note<T>(&mut self, db: &str, found: Result<T, Refused>) -> Result<T, Refused> {
        if let Err(refused) = &found
            && refused.passes()
        {
            self.passing.get_or_insert_with(|| (db.to_owned(), refused.clone()));
        }
        found
    }

    /// The error of a code that has died of such a failure tells of it.
    pub(super) fn explain(&self, error: CodeError) -> CodeError {
        match (error, &self.passing) {
            (CodeError::Died { code, why }, Some((db, refused))) if why.contains(refused.head()) => {
                CodeError::Passing { code, why, db: Some(db.clone()), is_lost: refused.ends_session() }
            }
            (error, _) => error,
        }
    }

    /// What a code has set is put back.
    pub(super) async fn end(self, code: &Code) -> Result<(), CodeError> {
        let code = code.name.clone();
        self.dbs.put_back().await.map_err(|refused| {
            let (is_lost, why) = (refused.ends_session(), refused.message.clone());
            if refused.passes() {
                CodeError::Passing { code, why, db: None, is_lost }
            } else {
                CodeError::Died { code, why }
            }
        })
    }
}

impl Databases for Heard<'_> {
    fn names(&self) -> Vec<String> {
        self.dbs.names()
    }

    fn run<'a>(&'a mut self, db: &'a str, statement: Statement) -> BoxFuture<'a, Result<Found, Refused>> {
        async move {
            let found = self.dbs.run(db, statement).await;
            self.note(db, found)
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
            let found = self.dbs.run_each(db, sql, calls).await;
            self.note(db, found)
        }
        .boxed()
    }
}
