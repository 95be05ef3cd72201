//! One table of a merge: its statements at every source, made when its first change arrives and again when a
//! definition changes or a source comes or goes.

use futures_util::future::try_join_all;
use tokio_postgres::Statement;

use super::arm::{Arm, Place, micros, readable};
use super::letters::Letters;
use super::log::INTEGERS_MAX;
use crate::catalog::SyncDetail;
use crate::custom::Forms;
use crate::engine::error::RoundError;
use crate::engine::table::{SIGNATURE, moved, unfit};
use crate::pg::{Sql, SqlFile};
use crate::source::{Column, Relation, delta_column, delta_columns, faults, relations, rounds_rows};

const LOG_SINCE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/log_since.sql"));
const LOG_MANY: SqlFile = SqlFile::new(include_str!("../../../sql/merge/log_many.sql"));
const LOG_RECENT: SqlFile = SqlFile::new(include_str!("../../../sql/merge/log_recent.sql"));
const LOG_VAST: SqlFile = SqlFile::new(include_str!("../../../sql/merge/log_vast.sql"));
const LOG_WHOLE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/log_whole.sql"));
const ORDER_EXACT: SqlFile = SqlFile::new(include_str!("../../../sql/merge/order_exact.sql"));
const ORDER_TYPED: SqlFile = SqlFile::new(include_str!("../../../sql/merge/order_typed.sql"));
const EXACT_KEYS: SqlFile = SqlFile::new(include_str!("../../../sql/merge/exact_keys.sql"));
const RULINGS_TABLES: SqlFile = SqlFile::new(include_str!("../../../sql/merge/rulings_tables.sql"));
const WITHIN: SqlFile = SqlFile::new(include_str!("../../../sql/merge/within.sql"));
const LOCK_SECOND: SqlFile = SqlFile::new(include_str!("../../../sql/merge/lock_second.sql"));
const DELETE: SqlFile = SqlFile::new(include_str!("../../../sql/merge/delete.sql"));
const RECORD_IN: SqlFile = SqlFile::new(include_str!("../../../sql/merge/record_in.sql"));
const ROWS_OUT: SqlFile = SqlFile::new(include_str!("../../../sql/merge/rows_out.sql"));
const SECOND_TABLES: SqlFile = SqlFile::new(include_str!("../../../sql/merge/second_tables.sql"));
const SIDES: SqlFile = SqlFile::new(include_str!("../../../sql/merge/sides.sql"));
const OLDEST: SqlFile = SqlFile::new(include_str!("../../../sql/merge/oldest.sql"));
const NEWEST: SqlFile = SqlFile::new(include_str!("../../../sql/merge/newest.sql"));
const SCRATCH: SqlFile = SqlFile::new(include_str!("../../../sql/merge/scratch.sql"));
const SCRATCH_OUT: SqlFile = SqlFile::new(include_str!("../../../sql/merge/scratch_out.sql"));
const DEFINITION: SqlFile = SqlFile::new(include_str!("../../../sql/merge/definition.sql"));

/// A table at all sources of a merge, in the order of its arms.
pub(super) struct Goat {
    /// `schema.table`, for people.
    pub(super) label: String,
    /// Places of the sources that it was made for.
    pub(super) sources: Vec<u16>,
    /// Key columns.
    pub(super) key: Vec<String>,
    /// Their types.
    pub(super) key_types: Vec<String>,
    pub(super) forms: Forms,
    /// All columns that are copied.
    pub(super) columns: Vec<String>,
    /// How its keys are compared.
    pub(super) order: Order,
    pub(super) at: Vec<At>,
}

/// How keys of several sources are compared. The rows of a log come in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// By the equality of their types, which only a server knows: it ranks them.
    Ranks,
    /// Equal keys have equal texts at every source.
    Texts,
    /// All columns are integers.
    Integers,
}

/// A table at one source.
pub(super) struct At {
    pub(super) captured: i32,
    /// Of the definition that the statements were made for.
    pub(super) signature: String,
    /// Asks for it, and holds the table's lock from then on.
    pub(super) definition: Statement,
    pub(super) logs: Logs,
    pub(super) take_in: Statement,
    pub(super) give_in: Statement,
    /// Empties what `give_in` fills.
    pub(super) clear_give: String,
    pub(super) clash_in: Statement,
    pub(super) delete: Statement,
    /// The same for many rows: a prepared one keeps its plan.
    pub(super) delete_many: String,
    /// Where keys can be told to be most of those between two.
    pub(super) dense: Option<Dense>,
    pub(super) record_in: Statement,
    pub(super) rows_out: Statement,
    pub(super) rows_in: Statement,
    pub(super) sides: String,
    pub(super) second: Second,
    pub(super) scratch: Scratch,
    pub(super) letters: Letters,
}

/// What reads the log of a table.
pub(super) struct Logs {
    /// Asks for the time of the oldest change that somebody has not read.
    pub(super) oldest: String,
    pub(super) since: Statement,
    /// The same for a second session.
    pub(super) since_text: String,
    pub(super) many: Statement,
    pub(super) recent: String,
    pub(super) vast: String,
    pub(super) whole: String,
    /// The same without the order, for the scratch table.
    pub(super) loose_since: String,
    pub(super) loose_many: String,
    pub(super) loose_recent: String,
    pub(super) loose_vast: String,
    pub(super) loose_whole: String,
}

/// What is done with most of the keys between two.
pub(super) struct Dense {
    pub(super) delete: String,
    pub(super) rows_out: String,
}

/// What a second session does.
pub(super) struct Second {
    pub(super) lock: String,
    pub(super) tables: String,
    pub(super) give_in: String,
    pub(super) clash_in: String,
    pub(super) rows_out: String,
}

/// The table where the logs of several sources meet, were it at this source.
pub(super) struct Scratch {
    pub(super) make: String,
    pub(super) fill: String,
    pub(super) read: String,
}

impl Goat {
    /// Reads the definitions at all sources and prepares the statements. `place`: among the tables of the sync.
    pub(super) async fn prepare(sync: &SyncDetail, arms: &[&mut Arm], place: usize) -> Result<Self, RoundError> {
        let here = &arms[0].tables[place].goat;
        let label = sync.tables().nth(place).map_or_else(String::new, |goat| goat.label());
        let definitions = try_join_all(arms.iter().map(|arm| definition(arm, place))).await?;
        let key = here.key.clone();
        let columns = columns(&label, &key, arms, &definitions)?;
        let orders = try_join_all(arms.iter().map(|arm| order(arm, place, &key))).await?;
        let is_alike = orders.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let order = match orders.into_iter().map(|(order, _)| order).min() {
            Some(Order::Texts) if !is_alike => Order::Ranks,
            Some(order) => order,
            None => Order::Ranks,
        };
        let type_of = |name: &String| definitions[0].1.column(name).map(|column| column.type_name.clone());
        let key_types = key.iter().map(|name| type_of(name).unwrap_or_default()).collect();
        let forms = definitions[0].1.forms(&columns);
        let at = arms.iter().zip(definitions);
        let at = try_join_all(at.map(|(arm, (signature, relation))| {
            let texts = Texts { sync, arm, place, relation, columns: &columns, order };
            texts.prepare(signature)
        }));
        let sources = arms.iter().map(|arm| arm.place).collect();
        let at = at.await?;
        Ok(Self { label, sources, key, key_types, forms, columns, order, at })
    }
}

/// Asks for the time of the newest change of a table that somebody has not read.
pub(super) fn newest(sync: &SyncDetail, table: &Place) -> String {
    NEWEST.fill(&[("delta", &table.delta), ("readable", &readable(&sync.name)), ("micros", &micros())])
}

/// The definition of a table at a source. What changes after the signature is noticed by the next merge.
async fn definition(arm: &Arm, place: usize) -> Result<(String, Relation), RoundError> {
    let table = &arm.tables[place];
    let label = table.goat.label();
    let reading = || arm.site.failed(format!("reading the definition of table \"{label}\""));
    let signature = format!("SELECT {}", signature(arm, place));
    let signature = arm.site.conn.query_one(&signature, &[]).await.map_err(reading())?;
    let found = relations(&arm.site.conn, std::slice::from_ref(&table.goat)).await.map_err(reading())?;
    match found.into_iter().next() {
        Some(relation) if relation.is_table() => {
            Ok((signature.get::<_, Option<String>>(0).unwrap_or_default(), relation))
        }
        _ => Err(unfit(&label, &arm.site, "it does not exist there")),
    }
}

fn signature(arm: &Arm, place: usize) -> Sql {
    let oid = Sql::trusted(arm.tables[place].oid.to_string());
    Sql::trusted(SIGNATURE.fill(&[("oid", &oid)]))
}

/// The columns that all sources have and none generates.
fn columns(
    label: &str,
    key: &[String],
    arms: &[&mut Arm],
    definitions: &[(String, Relation)],
) -> Result<Vec<String>, RoundError> {
    if let Some((place, why)) = odd_one(key, arms, definitions) {
        return Err(unfit(label, &arms[place].site, &why));
    }
    let is_generated = |name: &str| {
        definitions.iter().any(|(_, relation)| relation.column(name).is_some_and(|column| column.generated))
    };
    let columns = definitions[0].1.columns.iter().map(|column| column.name.clone());
    let columns: Vec<String> = columns.filter(|name| !is_generated(name)).collect();
    for name in key {
        if !columns.contains(name) {
            return Err(unfit(label, &arms[0].site, &format!("its key column \"{name}\" is gone or generated")));
        }
    }
    Ok(columns)
}

/// The arm whose table differs from most others', and how: the others can go on without it.
fn odd_one(key: &[String], arms: &[&mut Arm], definitions: &[(String, Relation)]) -> Option<(usize, String)> {
    let places = || 0..definitions.len();
    let lack = |from: usize, to: usize| lack(key, &definitions[from].1, &definitions[to].1);
    let differs = |one: usize, other: usize| lack(one, other).or_else(|| lack(other, one)).is_some();
    let others = |one: usize| places().filter(move |other| *other != one && differs(one, *other));
    let most = places().map(|one| others(one).count()).max().filter(|most| *most > 0)?;
    let odd = places().filter(|one| others(*one).count() == most);
    let told = odd.flat_map(|one| others(one).map(move |other| (one, other)));
    let told: Vec<(usize, usize)> = told.collect();
    if let Some((one, why)) = told.iter().find_map(|(one, other)| Some((*one, lack(*other, *one)?))) {
        return Some((one, format!("{why} there")));
    }
    let (one, other) = told.first()?;
    let there = &arms[*other].site.db;
    Some((*one, format!("it differs from database \"{there}\", where {}", lack(*one, *other)?)))
}

/// What keeps rows of `from` from being those of `to`. Of types, one that takes all values of the other is none: what does
/// not fit into the other is refused, if it is not rounded.
fn lack(key: &[String], from: &Relation, to: &Relation) -> Option<String> {
    let missing = from.columns.iter().filter(|column| !column.generated);
    let missing = missing.map(|column| &column.name).find(|name| to.column(name).is_none());
    if let Some(name) = missing {
        return Some(format!("it has no column \"{name}\""));
    }
    if faults(to, from, key).is_empty() && !rounds_rows(from, to) {
        return None;
    }
    Some(faults(from, to, key)).filter(|faults| !faults.is_empty()).map(|faults| faults.join("; "))
}

/// How keys are compared, and what types they have.
async fn order(arm: &Arm, place: usize, key: &[String]) -> Result<(Order, Option<String>), RoundError> {
    let oid = arm.tables[place].oid;
    let row = arm.site.conn.query_one(EXACT_KEYS.text(), &[&oid, &key]).await;
    let row = row.map_err(arm.site.failed("reading the types of keys"))?;
    let order = match (row.get("exact"), row.get("integers")) {
        (false, _) => Order::Ranks,
        (true, true) if key.len() <= INTEGERS_MAX => Order::Integers,
        (true, _) => Order::Texts,
    };
    Ok((order, row.get("kinds")))
}

/// Makes the statements of a table at a source.
struct Texts<'a> {
    sync: &'a SyncDetail,
    arm: &'a Arm,
    place: usize,
    relation: Relation,
    columns: &'a [String],
    order: Order,
}

impl Texts<'_> {
    async fn prepare(self, signature: String) -> Result<At, RoundError> {
        let (site, table) = (&self.arm.site, &self.arm.tables[self.place]);
        let label = table.goat.label();
        let failed = || site.failed(format!("preparing to merge table \"{label}\""));
        let temporary = |what: &str| Sql::qualified("pg_temp", &format!("bucardo_{what}_{}", table.captured));
        let (take, give, clash) = (temporary("take"), temporary("give"), temporary("clash"));
        let name = Sql::qualified(&table.goat.schema, &table.goat.name);
        let only = if self.relation.kind == "p" { name.clone() } else { Sql::trusted(format!("ONLY {name}")) };
        let key = &table.goat.key;
        let numbered = key.iter().enumerate();
        let c = |place: usize| format!("c{place}");
        let as_c = numbered.clone().map(|(place, key)| Sql::trusted(format!("{} AS {}", Sql::ident(key), c(place))));
        let as_c = Sql::join(as_c, ", ");
        site.run(
            &format!("preparing to merge table \"{label}\""),
            &RULINGS_TABLES.fill(&[
                ("take", &take),
                ("give", &give),
                ("clash", &clash),
                ("columns", &as_c),
                ("table", &name),
            ]),
        )
        .await?;
        let cs = Sql::join((0..key.len()).map(|place| Sql::trusted(c(place))), ", ");
        let on = numbered.clone().map(|(place, key)| {
            let (equals, cast) = self.equality(key);
            Sql::trusted(format!("t.{}{cast} {equals} k.c{place}{cast}", Sql::ident(key)))
        });
        let on = Sql::join(on, " AND ");
        let prepare = |sql: String| async move { site.conn.prepare(&sql).await.map_err(failed()) };
        let list = Sql::idents(self.columns.iter().map(String::as_str));
        let t_columns =
            Sql::join(self.columns.iter().map(|column| Sql::trusted(format!("t.{}", Sql::ident(column)))), ", ");
        let same_delta = key.iter().map(|key| {
            let (equals, cast) = self.equality(key);
            let (column, delta) = (Sql::ident(key), Sql::ident(&delta_column(key)));
            Sql::trusted(format!("t.{column}{cast} {equals} d.{delta}{cast}"))
        });
        let same_delta = Sql::join(same_delta, " AND ");
        let delta_keys = delta_columns(key);
        let json =
            numbered.clone().map(|(place, key)| Sql::trusted(format!("{}, k.c{place}::text", Sql::literal(key))));
        let own = self.logs(&only, false);
        let loose = self.logs(&only, true);
        let signature_now = self::signature(self.arm, self.place);
        let delete = |on: &Sql| DELETE.fill(&[("table", &only), ("take", &take), ("on", on)]);
        let rows = |on| ROWS_OUT.fill(&[("columns", &t_columns), ("table", &only), ("give", &give), ("on", on)]);
        let (delete_many, rows_out) = (delete(&on), rows(&on));
        let dense = match key.as_slice() {
            [key] if self.order == Order::Integers => {
                let column = Sql::trusted(format!("t.{}", Sql::ident(key)));
                let within = Sql::trusted(WITHIN.fill(&[("key", &column)]).trim_end());
                let on = Sql::join([on.clone(), within], " AND ");
                Some(Dense { delete: delete(&on), rows_out: rows(&on) })
            }
            _ => None,
        };
        let second = Second {
            lock: LOCK_SECOND.fill(&[("table", &only), ("delta", &table.delta)]),
            tables: SECOND_TABLES.fill(&[("give", &give), ("clash", &clash), ("columns", &as_c), ("table", &name)]),
            give_in: format!("COPY {give} ({cs}, receivers) FROM STDIN"),
            clash_in: format!("COPY {clash} ({cs}, conflict, note) FROM STDIN"),
            rows_out: rows_out.clone(),
        };
        let definition = DEFINITION.fill(&[
            ("signature", &signature_now),
            ("table", &only),
            ("delta", &table.delta),
            ("moved", &moved(table.oid, &table.delta)),
        ]);
        let (definition, since, many, take_in, give_in, clash_in, delete, record_in, rows_out, rows_in) = tokio::try_join!(
            prepare(definition),
            prepare(own.since.clone()),
            prepare(own.many),
            prepare(format!("COPY {take} ({cs}) FROM STDIN")),
            prepare(second.give_in.clone()),
            prepare(second.clash_in.clone()),
            prepare(delete_many.clone()),
            prepare(RECORD_IN.fill(&[("delta", &table.delta), ("delta_keys", &delta_keys)])),
            prepare(rows_out),
            prepare(format!("COPY {name} ({list}) FROM STDIN")),
        )?;
        Ok(At {
            captured: table.captured,
            signature,
            definition,
            logs: Logs {
                oldest: OLDEST.fill(&[("delta", &table.delta)]),
                since,
                since_text: own.since,
                many,
                recent: own.recent,
                vast: own.vast,
                whole: own.whole,
                loose_since: loose.since,
                loose_many: loose.many,
                loose_recent: loose.recent,
                loose_vast: loose.vast,
                loose_whole: loose.whole,
            },
            take_in,
            give_in,
            clear_give: format!("TRUNCATE {give}"),
            clash_in,
            delete,
            delete_many,
            dense,
            record_in,
            rows_out,
            rows_in,
            sides: SIDES.fill(&[("key", &Sql::join(json, ", ")), ("table", &only), ("clash", &clash), ("on", &on)]),
            second,
            scratch: self.scratch(&cs),
            letters: Letters::of(
                (table, self.sync.name.as_str(), &name),
                &self.relation,
                (&take, &give),
                (&on, &same_delta, &t_columns, &only),
            ),
        })
    }

    /// The operator that compares values of a key column, and what both are cast to before.
    fn equality(&self, key: &str) -> (&str, String) {
        let column = self.relation.column(key);
        (
            column.and_then(|column| column.equals.as_deref()).unwrap_or("="),
            column.map(Column::cast).unwrap_or_default(),
        )
    }

    /// `loose`: in no order, for a scratch table that has one.
    fn logs(&self, only: &Sql, loose: bool) -> LogTexts {
        let table = &self.arm.tables[self.place];
        let key = &table.goat.key;
        let delta_names: Vec<String> = key.iter().map(|key| delta_column(key)).collect();
        let of = |alias: &str| {
            let columns = delta_names.iter().map(|column| Sql::trusted(format!("{alias}.{}", Sql::ident(column))));
            Sql::join(columns, ", ")
        };
        let keys = of("d");
        let first = || Sql::trusted("1");
        let (order, order_by) = match self.order {
            _ if loose => (Sql::trusted(self.arm.place.to_string()), first()),
            Order::Ranks => (Sql::trusted(ORDER_TYPED.fill(&[("keys", &keys)]).trim_end()), first()),
            Order::Texts => (Sql::trusted(ORDER_EXACT.fill(&[("keys", &keys)]).trim_end()), first()),
            Order::Integers => (Sql::trusted("''"), keys.clone()),
        };
        let same = key.iter().zip(&delta_names).map(|(key, column)| {
            let (equals, cast) = self.equality(key);
            let column = Sql::ident(column);
            Sql::trusted(format!("d.{column}{cast} {equals} u.{column}{cast}"))
        });
        let table_keys = key
            .iter()
            .zip(&delta_names)
            .map(|(key, column)| Sql::trusted(format!("t.{} AS {}", Sql::ident(key), Sql::ident(column))));
        let (readable, micros) = (readable(&self.sync.name), micros());
        let common = [
            ("order", &order),
            ("order_by", &order_by),
            ("keys", &keys),
            ("delta", &table.delta),
            ("readable", &readable),
            ("micros", &micros),
        ];
        let (same, table_keys) = (Sql::join(same, " AND "), Sql::join(table_keys, ", "));
        LogTexts {
            since: LOG_SINCE.fill(&common),
            many: LOG_MANY.fill(&common),
            recent: LOG_RECENT.fill(&common),
            vast: LOG_VAST.fill(&[&common[..], &[("same", &same)]].concat()),
            whole: LOG_WHOLE
                .fill(&[&common[..], &[("delta_keys", &keys), ("table_keys", &table_keys), ("table", only)]].concat()),
        }
    }

    fn scratch(&self, cs: &Sql) -> Scratch {
        let key = &self.arm.tables[self.place].goat.key;
        let types = key.iter().map(|key| self.relation.column(key).map(Column::open_type).unwrap_or_default());
        let columns = types.enumerate().map(|(place, of)| Sql::trusted(format!("c{place} {of}")));
        let columns = Sql::join(columns, ", ");
        let scratch = Sql::qualified("pg_temp", &format!("bucardo_logs_{}", self.arm.tables[self.place].captured));
        let keys = Sql::join((0..key.len()).map(|place| Sql::trusted(format!("d.c{place}"))), ", ");
        let order = Sql::trusted(ORDER_TYPED.fill(&[("keys", &keys)]).trim_end());
        Scratch {
            make: SCRATCH.fill(&[("scratch", &scratch), ("columns", &columns)]),
            fill: format!("COPY {scratch} (place, {cs}, txid, micros, origin) FROM STDIN"),
            read: SCRATCH_OUT.fill(&[("order", &order), ("keys", &keys), ("scratch", &scratch)]),
        }
    }
}

struct LogTexts {
    since: String,
    many: String,
    recent: String,
    vast: String,
    whole: String,
}
