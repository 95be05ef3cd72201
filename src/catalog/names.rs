//! Choosing among names by regular expressions: the server's, so that every place takes the same ones.

use tokio_postgres::GenericClient;

use super::CatalogError;
use super::query::{Query, query};

const LIKE: Query = query!("use the regular expression", "names_like");

/// The names that fit a regular expression, in their order.
///
/// # Errors
///
/// [`CatalogError::Sql`], also for an expression that is none.
pub async fn like(client: &impl GenericClient, names: &[&str], pattern: &str) -> Result<Vec<String>, CatalogError> {
    Ok(LIKE.rows(client, &[&names, &pattern]).await?.iter().map(|row| row.get("name")).collect())
}
