//! Between a document and its TOML.

use serde_json::{Map, Value};
use toml::{Table, Value as Toml};

use super::{Columns, Document, Id, Kind, is_name, is_secret};
use crate::cli::CliError;

const HEAD: &str =
    "# The configuration of Bucardo: \"bucardo plan FILE\" compares, \"bucardo apply FILE\" makes it so.\n\n";

/// The section of each kind, and how deep its things lie in it: `table.DB.SCHEMA.NAME`.
const SECTIONS: [(&str, Kind, usize); 6] = [
    ("db", Kind::Db, 1),
    ("dbgroup", Kind::Dbgroup, 1),
    ("relgroup", Kind::Relgroup, 1),
    ("sync", Kind::Sync, 1),
    ("customcode", Kind::Code, 1),
    ("table", Kind::Relation, 3),
];
/// Lists: each entry names the table and whom it is for.
const LISTS: [(&str, Kind); 3] =
    [("customname", Kind::Name), ("customcols", Kind::Columns), ("customselect", Kind::Rows)];
/// What stands within a thing of another kind, and how deep.
const INNER: [(&str, &str, Kind, usize); 4] = [
    ("dbgroup", "members", Kind::Member, 1),
    ("relgroup", "members", Kind::Part, 3),
    ("customcode", "syncs", Kind::CodeUse, 1),
    ("customcode", "tables", Kind::CodeUse, 3),
];
/// Columns that have other names for people.
const RENAMED: [(Kind, &str, &str); 2] = [(Kind::Sync, "herd", "relgroup"), (Kind::Sync, "dbs", "dbgroup")];

/// The name of a column for people.
pub(super) fn shown(kind: Kind, column: &str) -> &str {
    RENAMED.iter().find(|(of, name, _)| *of == kind && *name == column).map_or(column, |(_, _, shown)| shown)
}

fn stored(kind: Kind, shown: &str) -> String {
    let known = RENAMED.iter().find(|(of, _, name)| *of == kind && *name == shown);
    known.map_or(shown, |(_, stored, _)| stored).to_owned()
}

/// The document as a file.
pub(super) fn write(document: &Document) -> Result<String, CliError> {
    let fault = |error: toml::ser::Error| CliError::caused("Cannot write the document", &error);
    let mut root = Table::new();
    for (id, columns) in &document.things {
        let values = columns.iter().filter(|(column, _)| !(id.kind == Kind::Relation && *column == "reltype"));
        let mut values: Table = values
            .map(|(column, value)| Ok((shown(id.kind, column).to_owned(), Toml::try_from(value)?)))
            .collect::<Result<_, _>>()
            .map_err(fault)?;
        if let Some((section, _)) = LISTS.iter().find(|(_, kind)| *kind == id.kind) {
            let place = root.entry(*section).or_insert_with(|| Toml::Array(Vec::new()));
            for (key, name) in ["database", "schema", "table", "db", "sync"].iter().zip(&id.names) {
                if !name.is_empty() {
                    values.insert((*key).to_owned(), Toml::String(name.clone()));
                }
            }
            if let Toml::Array(list) = place {
                list.push(Toml::Table(values));
            }
            continue;
        }
        let path: Vec<&str> = match id.kind {
            Kind::Setting => vec!["settings"],
            Kind::Relation => {
                let is_sequence = columns.get("reltype").is_some_and(|kind| kind == "sequence");
                std::iter::once(if is_sequence { "sequence" } else { "table" })
                    .chain(id.names.iter().map(String::as_str))
                    .collect()
            }
            _ => match SECTIONS.iter().find(|(_, kind, _)| *kind == id.kind) {
                Some((section, ..)) => vec![section, id.names[0].as_str()],
                None => {
                    let depth = id.names.len() - 1;
                    let Some((outer, inner, ..)) = INNER.iter().find(|it| it.2 == id.kind && it.3 == depth) else {
                        continue;
                    };
                    let mut path = vec![*outer, id.names[0].as_str(), *inner];
                    path.extend(id.names[1..].iter().map(String::as_str));
                    path
                }
            },
        };
        if id.kind == Kind::Setting {
            values = Table::from_iter(values.into_iter().map(|(_, value)| (id.names[0].clone(), value)));
        }
        let place = path.iter().fold(&mut root, |table, name| {
            let inner = table.entry(*name).or_insert_with(|| Toml::Table(Table::new()));
            match inner {
                Toml::Table(inner) => inner,
                _ => unreachable!("only tables are put there"),
            }
        });
        place.extend(values);
    }
    Ok(format!("{HEAD}{}", toml::to_string_pretty(&root).map_err(fault)?))
}

/// The document in a file; says what makes no sense in it.
pub(super) fn read(text: &str) -> Result<Document, String> {
    let mut root: Table = text.parse().map_err(|error| told(text, &error))?;
    let mut document = Document::default();
    for (name, value) in take_table(&mut root, "settings")? {
        let value = match value {
            Toml::String(text) => text,
            Toml::Integer(_) | Toml::Float(_) | Toml::Boolean(_) => value.to_string(),
            _ => return Err(format!("setting {name} is no text")),
        };
        let columns = Map::from_iter([("value".to_owned(), Value::String(value))]);
        add(&mut document, Id::new(Kind::Setting, &[name.to_lowercase()]), columns)?;
    }
    for (section, kind, depth) in SECTIONS {
        for (names, mut values) in leaves(section, take_table(&mut root, section)?, depth)? {
            for (_, inner, kind, depth) in INNER.iter().filter(|(outer, ..)| *outer == section) {
                for (more, values) in leaves(inner, take_table(&mut values, inner)?, *depth)? {
                    let names: Vec<String> = names.iter().cloned().chain(more).collect();
                    let id = Id { kind: *kind, names };
                    add(&mut document, id.clone(), columns(&id, values)?)?;
                }
            }
            let id = Id { kind, names };
            if matches!(kind, Kind::Db | Kind::Dbgroup | Kind::Sync) && !is_name(&id.names[0]) {
                return Err(format!(
                    "{id}: a name begins with a letter and holds letters, digits and underscores only"
                ));
            }
            add(&mut document, id.clone(), columns(&id, values)?)?;
        }
    }
    for (names, values) in leaves("sequence", take_table(&mut root, "sequence")?, 3)? {
        let id = Id { kind: Kind::Relation, names };
        let mut columns = columns(&id, values)?;
        columns.insert("reltype".to_owned(), Value::String("sequence".to_owned()));
        add(&mut document, id, columns)?;
    }
    for (section, kind) in LISTS {
        let list = match root.remove(section) {
            None => Vec::new(),
            Some(Toml::Array(list)) => list,
            Some(_) => return Err(format!("[[{section}]] is a list")),
        };
        for entry in list {
            let Toml::Table(mut values) = entry else { return Err(format!("[[{section}]] is a list of tables")) };
            let mut names = Vec::new();
            for key in ["database", "schema", "table", "db", "sync"] {
                match values.remove(key) {
                    Some(Toml::String(name)) => names.push(name),
                    None if matches!(key, "db" | "sync") => names.push(String::new()),
                    _ => return Err(format!("an entry of [[{section}]] lacks \"{key}\"")),
                }
            }
            let id = Id { kind, names };
            add(&mut document, id.clone(), columns(&id, values)?)?;
        }
    }
    match root.keys().next() {
        None => Ok(document),
        Some(unknown) => Err(format!("there is no section \"{unknown}\"")),
    }
}

/// Where a file cannot be read, without the line itself: it may hold what nobody should see.
fn told(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, error.message())
}

fn add(document: &mut Document, id: Id, columns: Columns) -> Result<(), String> {
    if let Some((column, _)) = columns.iter().find(|(column, value)| is_secret(&id, column, value)) {
        return Err(format!(
            "{column} of {id} holds a password: say where it is, with dbpass = \"env:VARIABLE\", dbpass = \"file:PATH\", pgpass or dbservice"
        ));
    }
    match document.things.insert(id.clone(), columns) {
        None => Ok(()),
        Some(_) => Err(format!("{id} is there twice")),
    }
}

fn take_table(from: &mut Table, name: &str) -> Result<Table, String> {
    match from.remove(name) {
        None => Ok(Table::new()),
        Some(Toml::Table(table)) => Ok(table),
        Some(_) => Err(format!("\"{name}\" is no table")),
    }
}

/// The tables that lie so deep, with the names on the way.
fn leaves(section: &str, table: Table, depth: usize) -> Result<Vec<(Vec<String>, Table)>, String> {
    let mut found = Vec::new();
    for (name, value) in table {
        let Toml::Table(inner) = value else { return Err(format!("\"{name}\" in \"{section}\" is no table")) };
        if depth == 1 {
            found.push((vec![name], inner));
            continue;
        }
        for (names, inner) in leaves(section, inner, depth - 1)? {
            found.push((std::iter::once(name.clone()).chain(names).collect(), inner));
        }
    }
    Ok(found)
}

fn columns(id: &Id, values: Table) -> Result<Columns, String> {
    let mut columns = Columns::new();
    for (name, value) in values {
        let value = match value {
            Toml::String(text) => Value::String(text),
            Toml::Integer(number) => Value::from(number),
            Toml::Boolean(is) => Value::Bool(is),
            Toml::Float(number) => Value::from(number),
            _ => return Err(format!("{name} of {id} is no text, number or truth value")),
        };
        columns.insert(stored(id.kind, &name), value);
    }
    Ok(columns)
}
