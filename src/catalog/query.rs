//! One statement of `sql/catalog` with the words that tell what it was for.

use serde::de::DeserializeOwned;
use tokio_postgres::types::{Json, ToSql};
use tokio_postgres::{GenericClient, Row};

use super::CatalogError;
use crate::pg::SqlFile;

pub(super) struct Query {
    doing: &'static str,
    sql: SqlFile,
}

impl Query {
    /// `doing` completes the sentence "cannot …".
    pub(super) const fn new(doing: &'static str, text: &'static str) -> Self {
        Self { doing, sql: SqlFile::new(text) }
    }

    pub(super) fn failed(&self) -> impl Fn(tokio_postgres::Error) -> CatalogError {
        let doing = self.doing;
        move |source| CatalogError::Sql { doing, source }
    }

    pub(super) async fn rows(
        &self,
        client: &impl GenericClient,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, CatalogError> {
        client.query(self.sql.text(), values).await.map_err(self.failed())
    }

    pub(super) async fn row(
        &self,
        client: &impl GenericClient,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, CatalogError> {
        client.query_one(self.sql.text(), values).await.map_err(self.failed())
    }

    pub(super) async fn execute(
        &self,
        client: &impl GenericClient,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, CatalogError> {
        client.execute(self.sql.text(), values).await.map_err(self.failed())
    }

    /// The rows of a statement whose one column `listing` is a JSON object.
    pub(super) async fn listings<T: DeserializeOwned>(
        &self,
        client: &impl GenericClient,
    ) -> Result<Vec<T>, CatalogError> {
        let rows = self.rows(client, &[]).await?;
        let read = |row: &Row| row.try_get::<_, Json<T>>("listing").map(|json| json.0).map_err(self.failed());
        rows.iter().map(read).collect()
    }
}

/// `const NAME: Query = query!("do this", "file");`
macro_rules! query {
    ($doing:literal, $file:literal) => {
        $crate::catalog::query::Query::new($doing, include_str!(concat!("../../sql/catalog/", $file, ".sql")))
    };
}
pub(super) use query;
