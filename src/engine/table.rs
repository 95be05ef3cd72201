//! One table of a pair: its statements, made when its first change arrives and again when its definition changes.

use bucardo_actors::model::SyncName;
use postgres_types::Oid;
use tokio_postgres::{Row, Statement};

use super::error::RoundError;
use super::onward::{Onward, Pieces, Questions};
use super::site::Site;
use crate::catalog::{Goat, Mapping};
use crate::custom::Forms;
use crate::pg::{Sql, SqlFile};
use crate::source::clause::{ClauseError, check_filter, list_columns};
use crate::source::{Column, Relation, delta_column, delta_columns, relations};

const PENDING: SqlFile = SqlFile::new(include_str!("../../sql/engine/pending.sql"));
const KEYS: SqlFile = SqlFile::new(include_str!("../../sql/engine/keys.sql"));
pub(super) const SIGNATURE: SqlFile = SqlFile::new(include_str!("../../sql/engine/signature.sql"));
const MOVED: SqlFile = SqlFile::new(include_str!("../../sql/engine/moved.sql"));
const DELTA_MOVED: SqlFile = SqlFile::new(include_str!("../../sql/engine/delta_moved.sql"));
const CHANGED_KEYS: SqlFile = SqlFile::new(include_str!("../../sql/engine/changed_keys.sql"));
const SOME_KEYS: SqlFile = SqlFile::new(include_str!("../../sql/engine/some_keys.sql"));
const FEW_KEYS: SqlFile = SqlFile::new(include_str!("../../sql/engine/few_keys.sql"));
pub(super) const ROWS_OUT: SqlFile = SqlFile::new(include_str!("../../sql/engine/rows_out.sql"));
const MAPPED_ROWS: SqlFile = SqlFile::new(include_str!("../../sql/engine/mapped_rows.sql"));
const MAPPED_CHANGES: SqlFile = SqlFile::new(include_str!("../../sql/engine/mapped_changes.sql"));
const PLACE: SqlFile = SqlFile::new(include_str!("../../sql/engine/place.sql"));
const DELETE_FEW: SqlFile = SqlFile::new(include_str!("../../sql/engine/delete_few.sql"));
const KEYS_TABLE: SqlFile = SqlFile::new(include_str!("../../sql/engine/keys_table.sql"));
const KEEP_KEYS: SqlFile = SqlFile::new(include_str!("../../sql/engine/keep_keys.sql"));
const DELETE_MANY: SqlFile = SqlFile::new(include_str!("../../sql/engine/delete_many.sql"));

/// Up to this many changes of a table travel as parameters; more go through a keys table.
pub(super) const FEW: i64 = 1000;

/// A table of the sync, as this pair knows it.
pub(super) struct Table {
    pub(super) goat: Goat,
    /// The goat by its name on the target.
    pub(super) there: Goat,
    /// Other columns or some of the rows only.
    pub(super) mapping: Option<Mapping>,
    /// `schema.table`, for people.
    pub(super) label: String,
    pub(super) captured: i32,
    pub(super) oid: Oid,
    pub(super) delta: Sql,
    pub(super) sync: SyncName,
    /// The condition that a delta row is for the target.
    pub(super) news: Sql,
    /// The origin that it gets there, if other syncs shall see it.
    pub(super) handed_on: Option<Sql>,
    pub(super) ready: Option<Ready>,
}

/// The statements of a table.
pub(super) struct Ready {
    /// Of the definition that the statements were made for.
    pub(super) signature: String,
    /// On the source.
    pub(super) keys: Statement,
    /// Makes the keys table there.
    pub(super) keeping: String,
    pub(super) keys_out: String,
    pub(super) rows_few: Statement,
    /// The rows of keys that were named, with these columns.
    pub(super) rows_some: String,
    pub(super) columns: Vec<String>,
    /// Types of the key's columns.
    pub(super) key_types: Vec<String>,
    pub(super) forms: Forms,
    pub(super) rows_out: String,
    /// On the target.
    pub(super) delete_few: Statement,
    pub(super) rows_in: Statement,
    /// The rows of keys that were named there.
    pub(super) rows_there: String,
    /// Makes the keys table there.
    pub(super) keys_table: String,
    /// On both sides: the planner shall know how many keys wait.
    pub(super) analyze_keys: String,
    pub(super) keys_in: String,
    pub(super) delete_many: String,
    pub(super) emptying: Emptying,
    pub(super) onward: Onward,
    /// Of the whole table, on the source.
    pub(super) all_out: String,
    /// The target's definition that the statements were made for.
    pub(super) there: Relation,
}

/// How a target's table is emptied.
pub(super) struct Emptying {
    pub(super) oid: Oid,
    /// As statements name it.
    pub(super) table: Sql,
}

impl Table {
    /// Its branch of the question which tables have unread changes.
    pub(super) fn pending(&self, place: usize) -> Sql {
        Sql::trusted(PENDING.fill(&[
            ("place", &Sql::trusted(place.to_string())),
            ("delta", &self.delta),
            ("literal", &Sql::literal(self.delta.as_str())),
            ("moved", &delta_moved(&self.delta)),
            ("readable", &self.news),
        ]))
    }

    /// Reads the definition on both sides and prepares the statements.
    pub(super) async fn prepare(
        &self,
        source: &Site,
        target: &Site,
        questions: Option<&Questions>,
    ) -> Result<Ready, RoundError> {
        let label = &self.label;
        // The signature comes first: whatever changes after it is noticed by the next round.
        let signature_sql = self.signature();
        let signature = source
            .conn
            .query_one(&format!("SELECT {signature_sql}"), &[])
            .await
            .map_err(source.failed(format!("reading the definition of table \"{label}\"")))?;
        let (from, to) = (self.relation(source, &self.goat).await?, self.relation(target, &self.there).await?);
        let offered = fit(&self.goat, self.mapping.as_ref(), (source, &from), (target, &to)).await?;
        let columns = self.columns(&offered, &to, target)?;
        let type_of = |key: &String| from.column(key).map(|column| column.type_name.clone()).unwrap_or_default();
        let key_types = self.goat.key.iter().map(type_of).collect();
        let forms = to.forms(&columns);
        let text = self.texts(&from, &to, &columns, &signature_sql);
        // The first error is the cause; the others only say that the transaction is over.
        let (keys, rows_few, delete_few, rows_in) = tokio::join!(
            prepare(source, label, &text.keys),
            prepare(source, label, &text.rows_few),
            prepare(target, label, &text.delete_few),
            prepare(target, label, &text.rows_in),
        );
        let onward = Onward::prepare(target, questions, self, &text.pieces).await?;
        Ok(Ready {
            onward,
            signature: signature.get::<_, Option<String>>(0).unwrap_or_default(),
            keys: keys?,
            keeping: text.keeping,
            keys_out: text.keys_out,
            rows_few: rows_few?,
            rows_some: text.rows_some,
            columns,
            key_types,
            forms,
            rows_out: text.rows_out,
            delete_few: delete_few?,
            rows_in: rows_in?,
            rows_there: text.rows_there,
            keys_table: text.keys_table,
            analyze_keys: text.analyze_keys,
            keys_in: text.keys_in,
            delete_many: text.delete_many,
            emptying: text.emptying,
            all_out: text.all_out,
            there: to,
        })
    }

    async fn relation(&self, site: &Site, goat: &Goat) -> Result<Relation, RoundError> {
        let goat = std::slice::from_ref(goat);
        let found = relations(&site.conn, goat)
            .await
            .map_err(site.failed(format!("reading the columns of table \"{}\"", self.label)))?
            .pop()
            .unwrap_or_default();
        if found.is_table() { Ok(found) } else { Err(self.unfit(site, "it does not exist there")) }
    }

    /// The columns that are copied; those of the key must be among them.
    fn columns(&self, offered: &[(String, bool)], to: &Relation, target: &Site) -> Result<Vec<String>, RoundError> {
        let columns = shared(&self.label, offered, to, target)?;
        for key in &self.goat.key {
            if !columns.contains(key) {
                return Err(self.unfit(target, &format!("its key column \"{key}\" is gone or generated")));
            }
        }
        Ok(columns)
    }

    fn unfit(&self, site: &Site, why: &str) -> RoundError {
        unfit(&self.label, site, why)
    }

    fn signature(&self) -> Sql {
        Sql::trusted(SIGNATURE.fill(&[("oid", &Sql::trusted(self.oid.to_string()))]))
    }

    /// Key columns of two aliases, equal: `t.k = k.d AND …`, by the equality of their types in `relation`.
    fn on(&self, left: &str, relation: &Relation, right: impl Fn(usize, &str) -> String) -> Sql {
        let pairs = self.goat.key.iter().enumerate();
        let column = |key| relation.column(key);
        let equals = |key| column(key).and_then(|column| column.equals.as_deref()).unwrap_or("=");
        Sql::join(
            pairs.map(|(place, key)| {
                let cast = column(key).map(Column::cast).unwrap_or_default();
                Sql::trusted(format!("{left}.{}{cast} {} {}{cast}", Sql::ident(key), equals(key), right(place, key)))
            }),
            " AND ",
        )
    }

    fn mapped<'a>(&self, table: &'a Sql, from: &Relation) -> Option<Mapped<'a>> {
        let mapping = self.mapping.as_ref().filter(|it| it.columns.is_some() || it.filter.is_some())?;
        // The operator's clauses may name the table, so it has no alias; the keys' alias is another word.
        let keys = Sql::ident(if self.goat.name == "changed" { "changed keys" } else { "changed" });
        let name = Sql::ident(&self.goat.name);
        let on = self.on(name.as_str(), from, |_, column| format!("{keys}.{}", Sql::ident(&delta_column(column))));
        Some(Mapped { list: list(mapping), filter: filter(mapping), table, keys, on })
    }

    fn texts(&self, from: &Relation, to: &Relation, columns: &[String], signature: &Sql) -> Texts {
        let source_name = Sql::qualified(&self.goat.schema, &self.goat.name);
        let name = Sql::qualified(&self.there.schema, &self.there.name);
        // ONLY: an inheritance child is a goat of its own. A partitioned table has no rows but its partitions'.
        let only = |relation: &Relation, name: &Sql| {
            if relation.kind == "p" { name.clone() } else { Sql::trusted(format!("ONLY {name}")) }
        };
        let (source_table, target_table) = (only(from, &source_name), only(to, &name));
        let mapped = self.mapped(&source_table, from);
        let key = &self.goat.key;
        let delta_keys = delta_columns(key);
        let arrays = key.iter().enumerate().map(|(place, column)| {
            Sql::trusted(format!("array_agg(d.{}::text) AS a{place}", Sql::ident(&delta_column(column))))
        });
        let origins = self
            .handed_on
            .iter()
            .map(|_| Sql::trusted("array_agg(d.origin) AS origins, array_agg(d.txntime) AS times"));
        // With its origin, where other syncs shall see the change.
        let handed_on = self.handed_on.iter().map(|origin| Sql::trusted(format!("{origin} AS origin")));
        let noted_keys = Sql::join(std::iter::once(delta_keys.clone()).chain(handed_on), ", ");
        let timed = |list: &Sql| match &self.handed_on {
            Some(_) => Sql::trusted(format!("{list}, txntime")),
            None => list.clone(),
        };
        let list = Sql::idents(columns.iter().map(String::as_str));
        let changed = Sql::trusted(CHANGED_KEYS.fill(&[
            ("delta", &self.delta),
            ("keys", &timed(&noted_keys)),
            ("readable", &self.news),
        ]));
        let few_rows = Sql::trusted((FEW + 1).to_string());
        let few_keys = FEW_KEYS.fill(&[
            ("delta", &self.delta),
            ("keys", &delta_keys),
            ("few", &few_rows),
            ("readable", &self.news),
        ]);
        let few_keys = Sql::trusted(few_keys);
        let some_keys = |relation: &Relation| named_keys(key, relation, |_, column| Sql::ident(&delta_column(column)));
        let t_columns = columns.iter().map(|column| Sql::trusted(format!("t.{}", Sql::ident(column))));
        let t_columns = Sql::join(t_columns, ", ");
        let on_delta = self.on("t", from, |_, column| format!("k.{}", Sql::ident(&delta_column(column))));
        let rows = |changed: &Sql| match &mapped {
            Some(mapped) => format!("COPY (SELECT {t_columns} FROM {} AS t) TO STDOUT", mapped.changes(changed)),
            None => {
                let table = ("table", &source_table);
                ROWS_OUT.fill(&[("columns", &t_columns), table, ("changed", changed), ("on", &on_delta)])
            }
        };
        let all = mapped_rows(self.mapping.as_ref(), &source_table).unwrap_or_else(|| source_table.clone());
        let keys_table = Sql::qualified("pg_temp", &format!("bucardo_keys_{}", self.captured));
        let cast = |place: usize, column: &str| {
            let kind = to.column(column).map_or("text", |column| column.bare_type.as_str());
            format!("k.c{place}::{kind}")
        };
        // On the target under the names that delta columns have, which leave room for our own.
        let renamed =
            key.iter().map(|key| Sql::trusted(format!("{} AS {}", Sql::ident(key), Sql::ident(&delta_column(key)))));
        let own = self.handed_on.iter().map(|_| Sql::trusted("NULL::text AS origin, NULL::timestamptz AS txntime"));
        let renamed = Sql::join(renamed.chain(own), ", ");
        let with_own = |list: &Sql| match &self.handed_on {
            Some(_) => Sql::trusted(format!("{list}, origin, txntime")),
            None => list.clone(),
        };
        let kept_keys = with_own(&delta_keys);
        let few = Sql::join((1..=key.len()).map(|n| Sql::trusted(format!("${n}::text[]"))), ", ");
        let names = Sql::join((0..key.len()).map(|place| Sql::trusted(format!("c{place}"))), ", ");
        let same = self.on("t", to, |_, column| format!("k.{}", Sql::ident(&delta_column(column))));
        let same_few = self.on("t", to, cast);
        // A key that came with several origins is there several times.
        let kept = match &self.handed_on {
            Some(_) => Sql::trusted(format!("SELECT DISTINCT {delta_keys} FROM {keys_table}")),
            None => Sql::trusted(format!("TABLE {keys_table}")),
        };
        Texts {
            keys: KEYS.fill(&[
                ("delta", &self.delta),
                ("keys", &noted_keys),
                ("arrays", &Sql::join(arrays.chain(origins), ", ")),
                ("readable", &self.news),
                ("table", &source_table),
                ("signature", signature),
                ("moved", &moved(self.oid, &self.delta)),
            ]),
            keeping: KEYS_TABLE.fill(&[("keys_table", &keys_table), ("columns", &kept_keys), ("table", &self.delta)]),
            keys_out: KEEP_KEYS.fill(&[("keys_table", &keys_table), ("changed", &changed)]),
            rows_few: rows(&few_keys),
            rows_some: rows(&some_keys(from)),
            rows_there: ROWS_OUT.fill(&[
                ("columns", &t_columns),
                ("table", &target_table),
                ("changed", &some_keys(to)),
                ("on", &same),
            ]),
            rows_out: rows(&kept),
            delete_few: DELETE_FEW.fill(&[
                ("table", &target_table),
                ("arrays", &few),
                ("names", &names),
                ("on", &same_few),
            ]),
            rows_in: format!("COPY {name} ({list}) FROM STDIN"),
            keys_table: KEYS_TABLE.fill(&[("keys_table", &keys_table), ("columns", &renamed), ("table", &name)]),
            analyze_keys: format!("ANALYZE {keys_table}"),
            keys_in: format!("COPY {keys_table} ({kept_keys}) FROM STDIN"),
            delete_many: DELETE_MANY.fill(&[("table", &target_table), ("keys_table", &keys_table), ("on", &same)]),
            all_out: format!("COPY (SELECT {t_columns} FROM {all} AS t) TO STDOUT"),
            emptying: Emptying { oid: to.oid.unwrap_or_default(), table: target_table.clone() },
            pieces: Pieces {
                types: key
                    .iter()
                    .map(|key| to.column(key).map_or("text", |it| it.bare_type.as_str()).to_owned())
                    .collect(),
                table: target_table,
                keys_table,
                on_few: same_few,
                on_many: same,
            },
        }
    }
}

impl Ready {
    /// Whether the statements were made for the table as it is, and the snapshot shows what is in it and in its delta
    /// table: `changes` tells, what its keys were asked for with.
    pub(super) fn is_current(&self, changes: &Row) -> bool {
        changes.get::<_, Option<&str>>("signature") == Some(self.signature.as_str()) && !changes.get::<_, bool>("moved")
    }
}

/// The question whether a table or its delta table got another file after the snapshot was taken.
pub(super) fn moved(table: Oid, delta: &Sql) -> Sql {
    let (oid, literal) = (Sql::trusted(table.to_string()), Sql::literal(delta.as_str()));
    Sql::trusted(MOVED.fill(&[("oid", &oid), ("literal", &literal)]))
}

/// The same of a delta table only.
pub(super) fn delta_moved(delta: &Sql) -> Sql {
    Sql::trusted(DELTA_MOVED.fill(&[("literal", &Sql::literal(delta.as_str()))]))
}

/// Keys that were named, by columns with these names.
pub(super) fn named_keys(key: &[String], relation: &Relation, name: impl Fn(usize, &str) -> Sql) -> Sql {
    let keys = key.iter().enumerate().map(|(place, column)| {
        let kind = relation.column(column).map_or("text", |column| column.bare_type.as_str());
        Sql::trusted(format!("(j.key ->> {place})::{kind} AS {}", name(place, column)))
    });
    Sql::trusted(SOME_KEYS.fill(&[("keys", &Sql::join(keys, ", "))]))
}

/// The source's table through a select list and a condition.
struct Mapped<'a> {
    list: Sql,
    filter: Sql,
    table: &'a Sql,
    /// Alias of the changed keys, and what joins them to the table.
    keys: Sql,
    on: Sql,
}

impl Mapped<'_> {
    fn changes(&self, changed: &Sql) -> Sql {
        let rows = [("list", &self.list), ("table", self.table), ("filter", &self.filter)];
        let keys = [("changed", changed), ("keys", &self.keys), ("on", &self.on)];
        Sql::trusted(MAPPED_CHANGES.fill(&[rows.as_slice(), keys.as_slice()].concat()))
    }
}

fn list(mapping: &Mapping) -> Sql {
    Sql::operators(mapping.columns.as_deref().unwrap_or("SELECT *"))
}

fn filter(mapping: &Mapping) -> Sql {
    Sql::operators(mapping.filter.as_deref().unwrap_or("true"))
}

/// The rows of a source's table that a target gets, with its columns, where these are not simply all.
pub(super) fn mapped_rows(mapping: Option<&Mapping>, table: &Sql) -> Option<Sql> {
    let mapping = mapping.filter(|it| it.columns.is_some() || it.filter.is_some())?;
    let rows = [("list", &list(mapping)), ("table", table), ("filter", &filter(mapping))];
    Some(Sql::trusted(MAPPED_ROWS.fill(&rows)))
}

pub(super) fn unfit(table: &str, site: &Site, why: &str) -> RoundError {
    RoundError::Table { table: table.to_owned(), db: site.db.clone(), why: why.to_owned() }
}

/// Sees that the target's table is another one than the source's and that the operator's clauses can be used; returns
/// the columns that the source has for the target, and whether it generates them: those of the select list, else all.
pub(super) async fn fit(
    goat: &Goat,
    mapping: Option<&Mapping>,
    (source, from): (&Site, &Relation),
    (target, to): (&Site, &Relation),
) -> Result<Vec<(String, bool)>, RoundError> {
    let label = goat.label();
    if from.oid == to.oid && place(source).await? == place(target).await? {
        return Err(unfit(&label, target, "that is the same table: give it another name there with customname"));
    }
    let refused = |kind: &str, clause: &str, error: ClauseError| match error {
        ClauseError::Unfit(why) => unfit(&label, source, &format!("{why} ({kind}: {clause})")),
        ClauseError::Sql(error) => source.failed(format!("trying the {kind} of table \"{label}\" ({clause})"))(error),
    };
    if let Some(clause) = mapping.and_then(|mapping| mapping.filter.as_ref()) {
        let tried = check_filter(&source.conn, goat, clause).await;
        tried.map_err(|error| refused("customselect", clause, error))?;
    }
    let Some(clause) = mapping.and_then(|mapping| mapping.columns.as_ref()) else {
        let faults = crate::source::faults(from, to, &goat.key);
        if !faults.is_empty() {
            return Err(unfit(&label, target, &faults.join("; ")));
        }
        return Ok(from.columns.iter().map(|column| (column.name.clone(), column.generated)).collect());
    };
    match list_columns(&source.conn, goat, clause).await {
        Ok(listed) => Ok(listed.into_iter().map(|column| (column.name, false)).collect()),
        Err(error) => Err(refused("customcols", clause, error)),
    }
}

/// The columns that both sides have: all that are offered but those that the target generates, or has none of because
/// the source generates them.
pub(super) fn shared(
    table: &str,
    offered: &[(String, bool)],
    to: &Relation,
    target: &Site,
) -> Result<Vec<String>, RoundError> {
    let mut columns = Vec::with_capacity(offered.len());
    for (name, generated) in offered {
        match to.column(name) {
            Some(other) if other.generated => {}
            Some(_) => columns.push(name.clone()),
            None if *generated => {}
            None => return Err(unfit(table, target, &format!("it has no column \"{name}\" there"))),
        }
    }
    Ok(columns)
}

struct Texts {
    keys: String,
    keeping: String,
    keys_out: String,
    rows_few: String,
    rows_some: String,
    rows_there: String,
    rows_out: String,
    delete_few: String,
    rows_in: String,
    keys_table: String,
    analyze_keys: String,
    keys_in: String,
    delete_many: String,
    emptying: Emptying,
    pieces: Pieces,
    all_out: String,
}

async fn place(site: &Site) -> Result<String, RoundError> {
    let row = site.conn.query_one(PLACE.text(), &[]).await.map_err(site.failed("reading its identity"))?;
    Ok(row.get("place"))
}

async fn prepare(site: &Site, table: &str, sql: &str) -> Result<Statement, RoundError> {
    site.conn.prepare(sql).await.map_err(site.failed(format!("preparing to replicate table \"{table}\"")))
}
