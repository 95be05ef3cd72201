//! What a database says of the relations of a sync: kind, rights, columns.

use std::collections::HashMap;

use postgres_types::Oid;

use crate::catalog::Goat;
use crate::custom::Forms;
use crate::pg::SqlFile;

const RELATIONS: SqlFile = SqlFile::new(include_str!("../../sql/source/relations.sql"));
const COLUMNS: SqlFile = SqlFile::new(include_str!("../../sql/source/columns.sql"));

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Type with modifiers, as `format_type` writes it.
    pub type_name: String,
    /// Type without modifiers, for casts that must not cut values.
    pub bare_type: String,
    /// What its type is a domain over: `=` knows no domains over enums or the like.
    pub base_type: Option<String>,
    /// The same with the domain's modifiers.
    pub narrow_base: Option<String>,
    /// The operator that compares two values for equality; `None`: plain `=`.
    pub equals: Option<String>,
    /// Its collation, quoted; `None`: its type has none.
    pub collation: Option<String>,
    /// Its collation holds different texts for equal (it is not deterministic).
    pub folds: bool,
    /// `NOT NULL`.
    pub not_null: bool,
    /// Text of the default.
    pub default: Option<String>,
    /// `GENERATED ALWAYS AS … STORED` (or virtual): never written.
    pub generated: bool,
}

impl Column {
    /// What a value of it is cast to before it is compared, with two colons; empty: nothing.
    #[must_use]
    pub fn cast(&self) -> String {
        let domain = self.base_type.as_ref().filter(|_| self.equals.is_none());
        domain.map(|base| format!("::{base}")).unwrap_or_default()
    }

    /// The type of a column that takes every value of it, however modifiers or domains narrow it elsewhere, and compares
    /// them alike.
    #[must_use]
    pub fn open_type(&self) -> String {
        let open = self.base_type.as_ref().unwrap_or(&self.bare_type);
        match &self.collation {
            Some(collation) => format!("{open} COLLATE {collation}"),
            None => open.clone(),
        }
    }
}

/// A relation as one database has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// Whether its schema exists.
    pub schema_exists: bool,
    /// Its oid; `None`: there is no such relation.
    pub oid: Option<Oid>,
    /// `pg_class.relkind`; empty when absent.
    pub kind: String,
    /// It inherits from another table or is a partition: statements on that one change its rows.
    pub is_child: bool,
    /// Policies hide rows of it from us.
    pub is_policed: bool,
    /// We may read it.
    pub may_select: bool,
    /// We may insert and delete (for a sequence: set it).
    pub may_write: bool,
    /// We may put triggers on it.
    pub may_trigger: bool,
    /// Partitions below it that we may not read or put triggers on, quoted.
    pub pieces_denied: Vec<String>,
    /// Partitions below it of which policies hide rows from us, quoted.
    pub pieces_policed: Vec<String>,
    /// Another table's foreign key points at it, so that `TRUNCATE` alone is refused.
    pub is_referenced: bool,
    /// Its columns, in order; empty for a sequence.
    pub columns: Vec<Column>,
}

impl Relation {
    /// An ordinary or a partitioned table.
    #[must_use]
    pub fn is_table(&self) -> bool {
        matches!(self.kind.as_str(), "r" | "p")
    }

    /// The kind in words.
    #[must_use]
    pub fn kind_words(&self) -> &'static str {
        match self.kind.as_str() {
            "r" => "table",
            "p" => "partitioned table",
            "S" => "sequence",
            "v" => "view",
            "m" => "materialized view",
            "f" => "foreign table",
            "i" | "I" => "index",
            "c" => "composite type",
            _ => "relation of another kind",
        }
    }

    /// The column of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// How Perl codes are told the values of some columns.
    pub(crate) fn forms(&self, columns: &[String]) -> Forms {
        let known = columns.iter().filter_map(|name| self.column(name));
        Forms::of(known.map(|it| (it.name.as_str(), it.base_type.as_deref().unwrap_or(&it.bare_type))))
    }
}

/// Reads the relations that the goats name, in the goats' order: two round trips however many there are.
///
/// # Errors
///
/// The server's, for the caller to put into context.
pub async fn relations(
    client: &tokio_postgres::Client,
    goats: &[Goat],
) -> Result<Vec<Relation>, tokio_postgres::Error> {
    let schemas: Vec<&str> = goats.iter().map(|goat| goat.schema.as_str()).collect();
    let names: Vec<&str> = goats.iter().map(|goat| goat.name.as_str()).collect();
    let rows = client.query(RELATIONS.text(), &[&schemas, &names]).await?;
    let mut relations: Vec<Relation> = rows
        .iter()
        .map(|row| Relation {
            schema_exists: row.get("schema_exists"),
            oid: row.get("oid"),
            kind: row.get::<_, Option<String>>("relkind").unwrap_or_default(),
            is_child: row.get("is_child"),
            is_policed: row.get("is_policed"),
            may_select: row.get("may_select"),
            may_write: row.get("may_write"),
            may_trigger: row.get("may_trigger"),
            pieces_denied: row.get("pieces_denied"),
            pieces_policed: row.get("pieces_policed"),
            is_referenced: row.get("is_referenced"),
            columns: Vec::new(),
        })
        .collect();
    let tables: Vec<Oid> = relations.iter().filter(|it| it.is_table()).filter_map(|it| it.oid).collect();
    let mut columns: HashMap<Oid, Vec<Column>> = HashMap::with_capacity(tables.len());
    for row in client.query(COLUMNS.text(), &[&tables]).await? {
        columns.entry(row.get("oid")).or_default().push(Column {
            name: row.get("name"),
            type_name: row.get("type"),
            bare_type: row.get("bare_type"),
            base_type: row.get("base_type"),
            narrow_base: row.get("narrow_base"),
            equals: row.get("equals"),
            collation: row.get("collation"),
            folds: row.get("folds"),
            not_null: row.get("not_null"),
            default: row.get("default_text"),
            generated: row.get("generated"),
        });
    }
    for relation in &mut relations {
        if let Some(found) = relation.oid.and_then(|oid| columns.get(&oid)) {
            relation.columns = found.clone();
        }
    }
    Ok(relations)
}
