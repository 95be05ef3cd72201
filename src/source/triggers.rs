//! The text of what captures changes: functions and triggers of one table (see `replication.md` section 2
//! of the design: statement triggers with transition tables, PostgreSQL manual, chapter "Triggers").

use super::names;
use super::relation::Relation;
use crate::pg::{Sql, SqlFile};

const FUNCTION: SqlFile = SqlFile::new(include_str!("../../sql/source/trigger_function.sql"));
const CAPTURE: SqlFile = SqlFile::new(include_str!("../../sql/source/capture_body.sql"));
const CAPTURE_ALL: SqlFile = SqlFile::new(include_str!("../../sql/source/capture_all_body.sql"));
const TRUNCATED: SqlFile = SqlFile::new(include_str!("../../sql/source/truncate_body.sql"));
const IDLE: SqlFile = SqlFile::new(include_str!("../../sql/source/idle_body.sql"));
const KICK: SqlFile = SqlFile::new(include_str!("../../sql/source/kick.sql"));

/// Prefix of every trigger that this program puts on a table.
pub(crate) const TRIGGER_PREFIX: &str = "bucardo_delta_";

/// A table whose changes are captured.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    /// Id in `bucardo.captured`.
    pub(crate) id: i32,
    /// Its delta table.
    pub(crate) delta: Sql,
    /// Key columns of the table.
    pub(crate) key: Vec<String>,
    /// Syncs that a change kicks.
    pub(crate) kicks: Vec<String>,
    /// Statements on another table change its rows too, so it is captured row by row.
    pub(crate) by_row: bool,
}

/// A trigger.
#[derive(Clone, Debug)]
pub(crate) struct Trigger {
    /// Its name, which needs no quotes.
    pub(crate) name: String,
    /// The function that it calls, without the schema.
    pub(crate) function: String,
    /// What makes it.
    pub(crate) statement: String,
}

/// What kind of table the triggers go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An ordinary table.
    Table,
    /// A partitioned table: its statements may move rows between partitions.
    Partitioned,
    /// A partition, written to directly.
    Partition,
}

impl Captured {
    /// The functions, as statements.
    pub(crate) fn functions(&self) -> Vec<String> {
        let keys = names::delta_columns(&self.key);
        let of = |alias: &str| {
            let columns = self.key.iter().map(|column| Sql::trusted(format!("{alias}.{}", Sql::ident(column))));
            Sql::join(columns, ", ")
        };
        let kicks = self.kick_text("");
        // A statement that changed no row is no news.
        let kicks_if_written = self.kick_text("FOUND AND ");
        let create = |name: &str, body: String| {
            FUNCTION.fill(&[("function", &self.function(name)), ("body", &Sql::literal(&body))])
        };
        let capture = |name: &str, rows: String, kicks: &Sql| {
            let rows = Sql::trusted(rows);
            create(name, CAPTURE.fill(&[("delta", &self.delta), ("keys", &keys), ("rows", &rows), ("kicks", kicks)]))
        };
        let mut functions = vec![
            capture("new", format!("SELECT {} FROM n", of("n")), &kicks_if_written),
            capture("old", format!("SELECT {} FROM o", of("o")), &kicks_if_written),
            capture("moved", format!("SELECT {} FROM n UNION SELECT {} FROM o", of("n"), of("o")), &kicks_if_written),
            // The statement trigger of the same UPDATE kicks.
            capture("key", format!("VALUES ({})", of("OLD")), &Sql::default()),
            create("truncate", TRUNCATED.fill(&[("captured", &Sql::trusted(self.id.to_string())), ("kicks", &kicks)])),
            create(
                "all",
                CAPTURE_ALL.fill(&[
                    ("delta", &Sql::literal(self.delta.as_str())),
                    ("keys", &Sql::literal(keys.as_str())),
                    ("columns", &Sql::literal(Sql::idents(self.key.iter().map(String::as_str)).as_str())),
                    ("kicks", &kicks),
                ]),
            ),
        ];
        if self.by_row {
            functions.push(capture("row", format!("VALUES ({})", of("NEW")), &kicks));
            functions.push(capture("gone", format!("VALUES ({})", of("OLD")), &kicks));
        }
        functions
    }

    /// The functions of a table that no sync wants: its triggers stay, because to drop them takes its lock, and write
    /// nothing.
    pub(crate) fn idle_functions(&self) -> Vec<String> {
        let body = Sql::literal(IDLE.text());
        let names = self.function_names();
        let names = names.iter().map(|name| Sql::qualified("bucardo", name));
        names.map(|function| FUNCTION.fill(&[("function", &function), ("body", &body)])).collect()
    }

    /// Whether the text of a function is that of an idle one.
    pub(crate) fn is_idle(body: &str) -> bool {
        body == IDLE.text()
    }

    /// Names of the functions, in the order of [`Self::functions`].
    pub(crate) fn function_names(&self) -> Vec<String> {
        let rows: &[&str] = if self.by_row { &["row", "gone"] } else { &[] };
        let names = ["new", "old", "moved", "key", "truncate", "all"];
        names.iter().chain(rows).map(|what| self.function_name(what)).collect()
    }

    /// The triggers of `table`, as statements. Existing ones of the same names must be gone. `relation` knows the types
    /// of the key.
    pub(crate) fn triggers(&self, table: &Sql, place: Place, relation: &Relation) -> Vec<Trigger> {
        let statement = |event: &str, tables: &str, what: &str| {
            let function = self.function(what);
            format!("AFTER {event} ON {table} REFERENCING {tables} FOR EACH STATEMENT EXECUTE PROCEDURE {function}()")
        };
        let row = |event: &str, what: &str| {
            format!("AFTER {event} ON {table} FOR EACH ROW EXECUTE PROCEDURE {}()", self.function(what))
        };
        let trigger = |event: &str, what: &str, rest: String| {
            let name = format!("{TRIGGER_PREFIX}{event}");
            let statement = format!("CREATE TRIGGER {name} {rest}");
            Trigger { name, function: self.function_name(what), statement }
        };
        let mut triggers = match place {
            Place::Partitioned => vec![
                trigger("insert", "new", statement("INSERT", "NEW TABLE AS n", "new")),
                trigger("update", "moved", statement("UPDATE", "NEW TABLE AS n OLD TABLE AS o", "moved")),
                trigger("delete", "old", statement("DELETE", "OLD TABLE AS o", "old")),
            ],
            Place::Table | Place::Partition if self.by_row => vec![
                trigger("insert", "row", row("INSERT", "row")),
                trigger("update", "row", row("UPDATE", "row")),
                trigger("delete", "gone", row("DELETE", "gone")),
            ],
            Place::Table | Place::Partition => vec![
                trigger("insert", "new", statement("INSERT", "NEW TABLE AS n", "new")),
                trigger("update", "new", statement("UPDATE", "NEW TABLE AS n", "new")),
                trigger("delete", "old", statement("DELETE", "OLD TABLE AS o", "old")),
            ],
        };
        // A row trigger on a partitioned table would be cloned to its partitions, which have their own.
        if place != Place::Partitioned {
            let changed = self.key.iter().map(|column| {
                // IS DISTINCT FROM finds no equality outside the search path; that of the texts is never coarser.
                let cast = relation.column(column).map(|column| match column.equals {
                    Some(_) => "::text".to_owned(),
                    None => column.cast(),
                });
                let (column, cast) = (Sql::ident(column), cast.unwrap_or_default());
                Sql::trusted(format!("OLD.{column}{cast} IS DISTINCT FROM NEW.{column}{cast}"))
            });
            triggers.push(trigger(
                "key",
                "key",
                format!(
                    "AFTER UPDATE ON {table} FOR EACH ROW WHEN ({}) EXECUTE PROCEDURE {}()",
                    Sql::join(changed, " OR "),
                    self.function("key")
                ),
            ));
        }
        let (when, function) = if place == Place::Partition { ("BEFORE", "all") } else { ("AFTER", "truncate") };
        triggers.push(trigger(
            "truncate",
            function,
            format!("{when} TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE PROCEDURE {}()", self.function(function)),
        ));
        triggers
    }

    fn function_name(&self, what: &str) -> String {
        format!("capture_{}_{what}", self.id)
    }

    fn function(&self, what: &str) -> Sql {
        Sql::qualified("bucardo", &self.function_name(what))
    }

    fn kick_text(&self, written: &str) -> Sql {
        let kicks = self.kicks.iter().map(|sync| {
            let gate = Sql::qualified("bucardo", &names::gate(sync));
            Sql::trusted(KICK.fill(&[
                ("written", &Sql::trusted(written.to_owned())),
                ("gate", &Sql::literal(gate.as_str())),
                ("payload", &Sql::literal(&format!("kick_sync_{sync}"))),
            ]))
        });
        Sql::join(kicks, "")
    }
}
