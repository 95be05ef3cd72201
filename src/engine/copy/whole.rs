//! One table of a whole copy and its statements: all of it at once, or a range of one key column after the other.

use postgres_types::Oid;

use crate::catalog::{Goat, Mapping, SyncDetail};
use crate::engine::error::RoundError;
use crate::engine::site::Site;
use crate::engine::table::{fit, mapped_rows, shared, unfit};
use crate::pg::Sql;
use crate::source::Relation;

/// Types of key columns whose order is the same on every server.
const ORDERED: [&str; 13] = [
    "smallint",
    "integer",
    "bigint",
    "numeric",
    "real",
    "double precision",
    "oid",
    "uuid",
    "date",
    "timestamp without time zone",
    "timestamp with time zone",
    "bytea",
    "inet",
];
/// Types whose order is that of a collation; `C` is everywhere, and compares the bytes of the database's encoding.
const COLLATED: [&str; 3] = ["text", "character varying", "bpchar"];

/// A table and its statements.
pub(super) struct Whole {
    pub(super) goat: Goat,
    /// `schema.table`, for people.
    pub(super) label: String,
    /// On the source.
    pub(super) from: Oid,
    /// On the target.
    pub(super) oid: Oid,
    /// That are copied, in order.
    pub(super) columns: Vec<String>,
    pub(super) out: String,
    pub(super) into: String,
    pub(super) has_rows_there: String,
    pub(super) has_rows_here: String,
    /// The target's, as `DELETE` and `TRUNCATE` name it.
    pub(super) table: Sql,
    /// The target's with all that belongs to it.
    pub(super) name: Sql,
    /// The source's, as `SELECT` names it.
    pub(super) source_table: Sql,
    /// How it can be copied in pieces; `None`: only as a whole.
    pub(super) split: Option<Split>,
}

/// The column by whose values a table is copied in pieces.
pub(super) struct Split {
    pub(super) column: String,
    /// Its type, the same on both sides.
    kind: String,
    /// Compared byte by byte, whatever collation each side gave it.
    pub(super) is_collated: bool,
    /// `COPY (SELECT … FROM … AS t`
    head: String,
    /// `) TO STDOUT …`
    tail: String,
    table: Sql,
}

impl Split {
    /// The column as both sides compare it, of a table with the alias `t`.
    pub(super) fn value(&self) -> Sql {
        let collate = if self.is_collated { " COLLATE pg_catalog.\"C\"" } else { "" };
        Sql::trusted(format!("t.{}{collate}", Sql::ident(&self.column)))
    }

    fn range(&self, low: Option<&str>, high: Option<&str>) -> String {
        let side = |compare: &str, bound: Option<&str>| {
            bound.map(|bound| format!("{} {compare} {}::{}", self.value(), Sql::literal(bound), self.kind))
        };
        let sides: Vec<String> = [side(">=", low), side("<", high)].into_iter().flatten().collect();
        if sides.is_empty() { "true".to_owned() } else { sides.join(" AND ") }
    }

    /// Reads the rows from `low` to below `high` on the source.
    pub(super) fn out(&self, low: Option<&str>, high: Option<&str>) -> String {
        format!("{} WHERE {}{}", self.head, self.range(low, high), self.tail)
    }

    /// Deletes the same range on the target.
    pub(super) fn delete(&self, low: Option<&str>, high: Option<&str>) -> String {
        format!("DELETE FROM {} AS t WHERE {}", self.table, self.range(low, high))
    }
}

impl Whole {
    /// Sees what both sides have and makes the statements.
    pub(super) async fn of(
        sync: &SyncDetail,
        (source, from): (&Site, &Relation),
        (target, to): (&Site, &Relation),
        (goat, there): (&Goat, &Goat),
        is_of_one_encoding: bool,
    ) -> Result<Self, RoundError> {
        let label = goat.label();
        for (site, relation) in [(source, from), (target, to)] {
            if !relation.is_table() {
                return Err(unfit(&label, site, "it does not exist there"));
            }
        }
        let mapping = sync.mapping(goat, &target.db);
        let offered = fit(goat, mapping, (source, from), (target, to)).await?;
        let columns = shared(&label, &offered, to, target)?;
        let generates = offered.iter().any(|(name, generated)| *generated && columns.contains(name));
        let (name, target_name) =
            (Sql::qualified(&goat.schema, &goat.name), Sql::qualified(&there.schema, &there.name));
        // ONLY: an inheritance child is a goat of its own. A partitioned table has no rows but its partitions'.
        let only = |relation: &Relation, name: &Sql| {
            if relation.kind == "p" { name.clone() } else { Sql::trusted(format!("ONLY {name}")) }
        };
        let (source_table, table) = (only(from, &name), only(to, &target_name));
        let mapped = mapped_rows(mapping, &source_table);
        let list = Sql::idents(columns.iter().map(String::as_str));
        let extra = &sync.copyextra;
        let rows = mapped.as_ref().unwrap_or(&source_table);
        let tail = format!(") TO STDOUT {extra}");
        let select = |alias: &str| format!("COPY (SELECT {list} FROM {rows}{alias}");
        let out = match &mapped {
            Some(_) => format!("{}{tail}", select(" AS t")),
            None if from.kind == "p" || generates => format!("{}{tail}", select("")),
            // COPY of a plain table reads that table alone, as ONLY does; it refuses generated columns.
            None => format!("COPY {name} ({list}) TO STDOUT {extra}"),
        };
        let split = split_column(goat, mapping, (from, to), &columns, is_of_one_encoding);
        let split = split.map(|(column, kind, is_collated)| Split {
            column,
            kind,
            is_collated,
            head: select(" AS t"),
            tail,
            table: table.clone(),
        });
        Ok(Self {
            goat: goat.clone(),
            from: from.oid.unwrap_or_default(),
            oid: to.oid.unwrap_or_default(),
            out,
            into: format!("COPY {target_name} ({list}) FROM STDIN {extra}"),
            has_rows_there: format!("SELECT EXISTS (SELECT FROM {table})"),
            has_rows_here: match &mapped {
                Some(rows) => format!("SELECT EXISTS (SELECT FROM {rows} AS t)"),
                None => format!("SELECT EXISTS (SELECT FROM {source_table})"),
            },
            table,
            name: target_name,
            source_table,
            split,
            columns,
            label,
        })
    }
}

/// The first key column that is copied as it is and compares alike on both sides: name, type, whether by bytes.
fn split_column(
    goat: &Goat,
    mapping: Option<&Mapping>,
    (from, to): (&Relation, &Relation),
    columns: &[String],
    is_of_one_encoding: bool,
) -> Option<(String, String, bool)> {
    // What a select list makes of a column is the operator's affair.
    if mapping.is_some_and(|mapping| mapping.columns.is_some()) {
        return None;
    }
    goat.key.iter().find_map(|key| {
        let (here, there) = (from.column(key)?, to.column(key)?);
        let kind = here.bare_type.as_str();
        let is_collated = COLLATED.contains(&kind);
        let is_ordered = ORDERED.contains(&kind) || is_collated && is_of_one_encoding;
        let fits = here.bare_type == there.bare_type && columns.contains(key) && is_ordered;
        fits.then(|| (key.clone(), kind.to_owned(), is_collated))
    })
}
