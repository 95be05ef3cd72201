//! What scripts of earlier versions look at in a source: `bucardo.track_<schema>_<table>`, `bucardo.bucardo_delta`,
//! `bucardo.bucardo_track`, `bucardo.bucardo_delta_names` and `bucardo.bucardo_delta_targets`.

use md5::{Digest, Md5};
use tokio_postgres::Transaction;

use super::install::{LOCK, LOCK_TIMEOUT};
use crate::catalog::SyncDetail;
use crate::pg::{Connection, Sql, SqlFile};

const VIEWS: SqlFile = SqlFile::new(include_str!("../../sql/source/views.sql"));
const DIGEST: SqlFile = SqlFile::new(include_str!("../../sql/source/views_digest.sql"));
const GROUP: SqlFile = SqlFile::new(include_str!("../../sql/source/group_note.sql"));
const TRACK_FIND: SqlFile = SqlFile::new(include_str!("../../sql/source/track_view_find.sql"));
const TRACK: SqlFile = SqlFile::new(include_str!("../../sql/source/track_view.sql"));

/// Makes the views and their functions, unless they are there as they should be, and notes the group of databases of
/// `sync`, whose name they show. Locks no table of anybody.
pub(super) async fn make(conn: &mut Connection, sync: &SyncDetail) -> Result<(), tokio_postgres::Error> {
    let digest: String = Md5::digest(VIEWS.text()).iter().map(|byte| format!("{byte:02x}")).collect();
    let found: Option<String> = conn.query_one(DIGEST.text(), &[]).await?.get("digest");
    if found.is_none_or(|found| !found.ends_with(&digest)) {
        let txn = conn.transaction().await?;
        txn.batch_execute(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")).await?;
        txn.batch_execute(LOCK.text()).await?;
        txn.batch_execute(VIEWS.text()).await?;
        let comment = Sql::literal(&format!("Which transactions everybody has read. Made from {digest}"));
        txn.batch_execute(&format!("COMMENT ON FUNCTION bucardo.bucardo_track_of(integer) IS {comment}")).await?;
        txn.commit().await?;
    }
    conn.execute(GROUP.text(), &[&sync.name.as_str(), &sync.dbgroup]).await.map(drop)
}

/// Makes the view of one captured table, unless it is there.
pub(super) async fn track(txn: &Transaction<'_>, captured: i32) -> Result<(), tokio_postgres::Error> {
    let row = txn.query_one(TRACK_FIND.text(), &[&captured]).await?;
    if row.get("is_there") {
        return Ok(());
    }
    let view = Sql::qualified("bucardo", row.get("name"));
    txn.batch_execute(&TRACK.fill(&[("view", &view), ("captured", &Sql::trusted(captured.to_string()))])).await
}
