//! What a database has to replicate: its tables and sequences, each with the key that names its rows.

use crate::pg::{Connection, SqlFile};

const RELATIONS: SqlFile = SqlFile::new(include_str!("../../sql/source/inspect.sql"));

/// A table or sequence as it is in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Schema, case-exact and unquoted.
    pub schema: String,
    /// Name, case-exact and unquoted.
    pub name: String,
    /// A sequence; else a table.
    pub is_sequence: bool,
    /// A partition, for which its parent stands.
    pub is_partition: bool,
    /// Key columns in the order of the key's index; empty: no key.
    pub key_columns: Vec<String>,
    /// Their types.
    pub key_types: Vec<String>,
}

impl Relation {
    /// `schema.name`, as messages show it.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// Everything that a database has to replicate, and where a name without schema is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// By schema and name.
    pub relations: Vec<Relation>,
    /// Schemas of the user's `search_path`, in order.
    pub search_path: Vec<String>,
}

impl Inspected {
    /// The relation that a name without schema means: the one on the search path, else every one of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<&Relation> {
        let all: Vec<&Relation> = self.relations.iter().filter(|relation| relation.name == name).collect();
        let visible = self.search_path.iter().find_map(|schema| all.iter().find(|found| found.schema == *schema));
        visible.map_or(all.clone(), |found| vec![found])
    }
}

/// Lists the tables (partitioned ones too) and sequences outside the system's and the program's own schemas.
///
/// # Errors
///
/// What the server or the connection says.
pub async fn inspect(connection: &Connection) -> Result<Inspected, tokio_postgres::Error> {
    let mut inspected = Inspected::default();
    for row in connection.query(RELATIONS.text(), &[]).await? {
        if inspected.search_path.is_empty() {
            inspected.search_path = schemas(row.get("search_path"), row.get("user_name"));
        }
        inspected.relations.push(Relation {
            schema: row.get("schema_name"),
            name: row.get("name"),
            is_sequence: row.get("is_sequence"),
            is_partition: row.get("is_partition"),
            key_columns: row.get("key_columns"),
            key_types: row.get("key_types"),
        });
    }
    Ok(inspected)
}

/// The schemas of a `search_path` setting.
fn schemas(setting: &str, user: &str) -> Vec<String> {
    let unquoted = |piece: &str| {
        let piece = piece.trim();
        let inner = piece.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        inner.map_or_else(|| piece.to_lowercase(), |inner| inner.replace("\"\"", "\""))
    };
    let named = setting.split(',').map(unquoted).filter(|schema| !schema.is_empty());
    named.map(|schema| if schema == "$user" { user.to_owned() } else { schema }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(schema: &str, name: &str) -> Relation {
        Relation {
            schema: schema.into(),
            name: name.into(),
            is_sequence: false,
            is_partition: false,
            key_columns: Vec::new(),
            key_types: Vec::new(),
        }
    }

    #[test]
    fn the_search_path_decides_between_equal_names() {
        assert_eq!(schemas("\"$user\", public, \"My \"\"One\"", "ann"), ["ann", "public", "My \"One"]);
        let relations = vec![relation("a", "t"), relation("public", "t"), relation("a", "u"), relation("b", "u")];
        let inspected = Inspected { relations, search_path: vec!["public".into()] };
        assert_eq!(inspected.named("t").len(), 1);
        assert_eq!(inspected.named("t")[0].schema, "public");
        assert_eq!(inspected.named("u").len(), 2);
        assert!(inspected.named("v").is_empty());
    }
}
