//! The functions that people and cron jobs call in a source: `bucardo_purge_delta`, `bucardo_compress_delta`, and
//! `alter_table`.

use md5::{Digest, Md5};

use super::install::{LOCK, LOCK_TIMEOUT};
use super::purge::FLOORS;
use crate::pg::{Connection, Sql, SqlFile};

const PURGE: SqlFile = SqlFile::new(include_str!("../../sql/source/purge_functions.sql"));
const ALTER: SqlFile = SqlFile::new(include_str!("../../sql/source/alter_function.sql"));
const DIGEST: SqlFile = SqlFile::new(include_str!("../../sql/source/functions_digest.sql"));

/// Makes the functions, unless they are there as they should be. Locks no table of anybody.
pub(super) async fn make(conn: &mut Connection) -> Result<(), tokio_postgres::Error> {
    let purge = PURGE.fill(&[("floors", &Sql::trusted(FLOORS.text().trim_end().to_owned()))]);
    let functions = format!("{purge}\n{}", ALTER.text());
    let digest: String = Md5::digest(&functions).iter().map(|byte| format!("{byte:02x}")).collect();
    let is_there = async |conn: &tokio_postgres::Client| {
        let found: Option<String> = conn.query_one(DIGEST.text(), &[]).await?.get("digest");
        Ok::<bool, tokio_postgres::Error>(found.is_some_and(|found| found.ends_with(&digest)))
    };
    if is_there(conn).await? {
        return Ok(());
    }
    let txn = conn.transaction().await?;
    txn.batch_execute(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")).await?;
    txn.batch_execute(LOCK.text()).await?;
    txn.batch_execute(&functions).await?;
    let comment = Sql::literal(&format!("Deletes the changes that everybody has read. Made from {digest}"));
    txn.batch_execute(&format!("COMMENT ON FUNCTION bucardo.bucardo_purge_delta(interval) IS {comment}")).await?;
    txn.commit().await
}
