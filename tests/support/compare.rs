//! Comparing tables by what is in them.

use super::Database;
use super::server::are_mixed;

/// What differs in `table` (quoted, with its schema) between two databases: at most a few rows of each side that the
/// other lacks, as text. Nothing: the contents are the same, with equal rows as often on each side.
pub(crate) async fn difference(one: &Database, other: &Database, table: &str) -> Option<String> {
    if digest(one, table).await == digest(other, table).await {
        return None;
    }
    let (left, right) = (contents(one, table).await, contents(other, table).await);
    let lacks = |from: &[String], rows: &[String]| -> Vec<String> {
        let missing = rows.iter().filter(|row| from.binary_search(row).is_err());
        missing.take(5).cloned().collect()
    };
    Some(format!(
        "{table}: {} rows on {}, {} on {}; only on {}: {:?}; only on {}: {:?}",
        left.len(),
        one.name,
        right.len(),
        other.name,
        one.name,
        lacks(&right, &left),
        other.name,
        lacks(&left, &right),
    ))
}

/// Panics with the difference when `table` is not the same on all.
pub(crate) async fn assert_same(table: &str, databases: &[&Database]) {
    let Some((first, others)) = databases.split_first() else { return };
    for other in others {
        if let Some(difference) = difference(first, other, table).await {
            panic!("{difference}");
        }
    }
}

/// Count and digest of the rows, whatever their order and the order of the columns.
async fn digest(database: &Database, table: &str) -> String {
    let columns = columns(database, table).await;
    let sql = format!(
        "{}SELECT count(*) || ':' || coalesce(md5(string_agg(row, '' ORDER BY row)), '') \
         FROM (SELECT md5(ROW({columns})::text) COLLATE \"C\" AS row FROM {table}) AS rows",
        digits()
    );
    database.value(&sql).await
}

/// Servers before version 12 write other digits of floating-point numbers; 15 digits are the same for all.
fn digits() -> &'static str {
    if are_mixed() { "SET extra_float_digits = 0; " } else { "" }
}

async fn contents(database: &Database, table: &str) -> Vec<String> {
    let columns = columns(database, table).await;
    let mut rows = database.rows(&format!("{}SELECT ROW({columns})::text FROM {table}", digits())).await;
    rows.sort();
    rows
}

async fn columns(database: &Database, table: &str) -> String {
    let table = table.replace('\'', "''");
    let sql = format!(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname) FROM pg_catalog.pg_attribute \
         WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
    );
    database.value(&sql).await
}
