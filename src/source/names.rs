//! Names of what is installed in a source database. PostgreSQL cuts identifiers at 63 bytes without a word,
//! so long ones are shortened here, by a rule that cannot collide (the reference says where upstream's does).

use md5::{Digest, Md5};

use crate::pg::Sql;

/// Longest base of a name: 63 bytes less the longest prefix (`delta_`, `track_`, `stage_`).
const BASE_BYTES_MAX: usize = 57;

/// Columns of a delta table that are not key columns.
const OWN_COLUMNS: [&str; 3] = ["txntime", "txid", "origin"];

/// The usual base of a table's names: `schema_table`, if that is short enough.
pub(crate) fn plain_base(schema: &str, table: &str) -> Option<String> {
    let base = format!("{schema}_{table}");
    (base.len() <= BASE_BYTES_MAX).then_some(base)
}

/// The base for a table whose usual one is too long or already stands for another table (`a_b.c` and `a.b_c`):
/// at most 46 bytes of it, `!`, and ten hexadecimal digits of a hash that knows where the schema ends.
pub(crate) fn hashed_base(schema: &str, table: &str) -> String {
    shortened(&format!("{schema}_{table}"), &format!("{schema}\0{table}"))
}

/// The gate of a sync: a sequence that says whether a change should notify.
pub(crate) fn gate(sync: &str) -> String {
    let base = if sync.len() <= BASE_BYTES_MAX { sync.to_owned() } else { shortened(sync, sync) };
    format!("gate_{base}")
}

/// The name that a key column has in the delta table: its own, unless that is one of the delta table's own columns.
pub(crate) fn delta_column(column: &str) -> String {
    // Stripping all leading "key_" before the comparison keeps the mapping free of collisions.
    let bare = column.trim_start_matches("key_");
    if OWN_COLUMNS.contains(&bare) { format!("key_{column}") } else { column.to_owned() }
}

/// The delta columns of a key, quoted and joined by commas.
pub(crate) fn delta_columns(key: &[String]) -> Sql {
    Sql::join(key.iter().map(|column| Sql::ident(&delta_column(column))), ", ")
}

fn shortened(readable: &str, exact: &str) -> String {
    let mut end = readable.len().min(46);
    while !readable.is_char_boundary(end) {
        end -= 1;
    }
    let digest = Md5::digest(exact.as_bytes());
    let hex: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    format!("{}!{hex}", &readable[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clashing_tables_get_different_hashed_names() {
        assert_eq!(plain_base("a_b", "c"), plain_base("a", "b_c"));
        assert_ne!(hashed_base("a_b", "c"), hashed_base("a", "b_c"));
    }

    #[test]
    fn no_name_is_longer_than_the_server_takes() {
        let long = "ü".repeat(31);
        assert_eq!(plain_base("public", &long), None);
        assert!(hashed_base("public", &long).len() <= BASE_BYTES_MAX);
        assert!(gate(&"s".repeat(63)).len() <= 63);
        assert_ne!(gate(&format!("{}a", "s".repeat(62))), gate(&format!("{}b", "s".repeat(62))));
    }

    #[test]
    fn key_columns_never_meet_our_own() {
        assert_eq!(delta_column("id"), "id");
        assert_eq!(delta_column("txid"), "key_txid");
        assert_eq!(delta_column("key_txid"), "key_key_txid");
        assert_eq!(delta_column("key_other"), "key_other");
    }
}
