//! Keys whose rows a database refuses, in the words of people, of dead letters and of custom codes.

use futures_util::TryStreamExt;
use serde_json::{Map, Value, json};
use tokio_postgres::error::DbError;

use super::error::RoundError;
use super::merge::fields;
use super::site::Site;
use crate::catalog::Goat;
use crate::custom::conflict::{TO_SOURCE, TO_TARGET, one_or_all};
use crate::custom::{Forms, Row};
use crate::pg::{Sql, SqlFile};

const NAME_KEYS: SqlFile = SqlFile::new(include_str!("../../sql/engine/name_keys.sql"));

/// So often in a row codes may ask for a table to be tried again without fewer keys being refused, in one round.
const TRIES_MAX: u32 = 3;
/// So many refused keys of a table are found one by one in one round. Of the rest, pieces of [`PIECE_MAX`] keys wait as
/// they are, if some row of them is refused, and are sent again by the next rounds.
pub(super) const REFUSED_MAX: usize = 1000;
pub(super) const PIECE_MAX: usize = 1000;
/// More keys of a table that would wait are no exceptions: the table is put aside.
pub(super) const LETTERS_MAX: usize = 100_000;
/// What was not refused may clash with rows that a refused key keeps; so often it is looked again.
pub(super) const PASSES_MAX: u32 = 5;
/// So many refused keys are named in one message.
pub(super) const NAMED_MAX: usize = 10;
/// Classes of SQLSTATE with which a server refuses rows: bad data, integrity, check options, raised by triggers.
const REFUSING: [&str; 4] = ["22", "23", "44", "P0"];

/// The values of a key's columns, as text.
pub(super) type Key = Vec<String>;

/// A key whose row a database does not take.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) key: Key,
    pub(super) sqlstate: String,
    pub(super) constraint: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) message: String,
    /// The database can have no row of this key: its values are none of the types that the key has there.
    pub(super) is_foreign: bool,
    /// Some row was refused of those that it was tried with.
    pub(super) is_unsure: bool,
}

impl Refused {
    pub(super) fn new(key: Key, why: &DbError) -> Self {
        Self {
            key,
            sqlstate: why.code().code().to_owned(),
            constraint: why.constraint().map(str::to_owned),
            detail: why.detail().map(str::to_owned),
            message: match why.detail() {
                Some(detail) => format!("{}: {detail}", why.message()),
                None => why.message().to_owned(),
            },
            is_foreign: false,
            is_unsure: false,
        }
    }
}

/// How long codes are asked about what one database refuses of one table, in one round: as long as it gets less, and a
/// few times more. One that mends a key at a time comes to its end; one that does not help is asked [`TRIES_MAX`] times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    asked: u32,
    in_vain: u32,
    fewest: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { asked: 0, in_vain: 0, fewest: usize::MAX }
    }
}

impl Patience {
    /// For which time codes are asked, about so many refused keys; `None`: not any more.
    pub(super) fn next(&mut self, refused: usize) -> Option<u32> {
        if refused < self.fewest {
            (self.fewest, self.in_vain) = (refused, 0);
        }
        if refused == 0 || self.in_vain >= TRIES_MAX {
            return None;
        }
        self.in_vain += 1;
        self.asked += 1;
        Some(self.asked)
    }
}

/// What a server says that refuses rows.
pub(super) fn refusal(error: &RoundError) -> Option<&DbError> {
    match error {
        RoundError::OfTable { error, .. } | RoundError::InCopy { error, .. } => refusal(error),
        RoundError::Sql { source, .. } => {
            let said = source.as_db_error()?;
            REFUSING.iter().any(|class| said.code().code().starts_with(class)).then_some(said)
        }
        _ => None,
    }
}

/// Undoes what was done of a table since its savepoint, after rows were refused. `false`: the session is of no use.
///
/// A server that refuses before it takes the first row (a trigger for each statement does) is one answer ahead of the
/// driver. It would take the answer to this for that to the next statement: what the next one has to answer tells.
pub(super) async fn undo(site: &Site) -> bool {
    const BACK: &str = "ROLLBACK TO SAVEPOINT bucardo_table; RELEASE SAVEPOINT bucardo_table";
    site.conn.batch_execute(BACK).await.is_ok() && site.conn.prepare("SELECT 1").await.is_ok()
}

/// A key as people read it.
fn name(goat: &Goat, key: &[String]) -> String {
    goat.key.iter().zip(key).map(|(column, value)| format!("{column}={value}")).collect::<Vec<_>>().join(" ")
}

pub(super) fn names(goat: &Goat, refused: &[Refused]) -> String {
    let more = refused.len().saturating_sub(NAMED_MAX);
    let mut names: Vec<String> = refused.iter().take(NAMED_MAX).map(|it| name(goat, &it.key)).collect();
    if more > 0 {
        names.push(format!("and at least {more} more"));
    }
    names.join(", ")
}

/// The same error, with the keys.
pub(super) fn named(error: RoundError, goat: &Goat, refused: &[Refused]) -> RoundError {
    let too_many = if refused.len() > LETTERS_MAX {
        format!(
            "; more than {LETTERS_MAX} keys of a table do not wait as dead letters: mend what refuses them, and the table comes back by itself"
        )
    } else {
        String::new()
    };
    match error {
        RoundError::Sql { what, db, source } => {
            RoundError::Sql { what: format!("{what} (refused: {}{too_many})", names(goat, refused)), db, source }
        }
        other => other,
    }
}

/// What is written of dead letters: keys, SQLSTATEs, what the server said, and how often each was tried.
pub(super) struct Letters {
    pub(super) keys: Vec<String>,
    pub(super) states: Vec<String>,
    pub(super) errors: Vec<String>,
    pub(super) tries: Vec<i32>,
}

impl Letters {
    pub(super) fn of<'r>(goat: &Goat, refused: impl Iterator<Item = &'r Refused>) -> Self {
        let mut letters = Self { keys: Vec::new(), states: Vec::new(), errors: Vec::new(), tries: Vec::new() };
        for it in refused {
            letters.keys.push(as_json(goat, &it.key).to_string());
            letters.states.push(it.sqlstate.clone());
            let among = if it.is_unsure {
                "not tried by itself yet, of the rows that it was sent with one was refused: "
            } else {
                ""
            };
            letters.errors.push(format!("{among}{}", it.message));
            letters.tries.push(i32::from(!it.is_unsure));
        }
        letters
    }
}

/// A key as JSON: column and text.
pub(super) fn as_json(goat: &Goat, key: &[String]) -> Value {
    goat.key.iter().zip(key).map(|(column, value)| (column.clone(), json!(value))).collect()
}

/// What codes are told of refused rows.
#[derive(Default)]
pub(super) struct Exception {
    pub(super) told: Map<String, Value>,
    /// Columns whose values Perl codes do not get as texts.
    pub(super) forms: Forms,
}

/// What a database refused of a table.
pub(super) struct Refusals<'a> {
    pub(super) goat: &'a Goat,
    /// Types of the key's columns.
    pub(super) key_types: &'a [String],
    pub(super) forms: &'a Forms,
    /// Who refused.
    pub(super) target: &'a str,
    /// The database that is the source to codes; in a merge it may be who refused.
    pub(super) first: &'a str,
    pub(super) refused: &'a [Refused],
    /// Whose rows they are, one for each.
    pub(super) sources: &'a [&'a str],
    /// The rows as these have them.
    pub(super) rows: &'a [Row],
    /// The rows of the same keys that `target` has.
    pub(super) present: &'a [Row],
    /// For which time codes are told.
    pub(super) tries: u32,
}

impl Refusals<'_> {
    /// The row of a key among some.
    fn row(&self, rows: &[Row], it: &Refused) -> Value {
        let is_its = |row: &&Row| {
            self.goat.key.iter().zip(&it.key).all(|(column, value)| row.get(column) == Some(&Some(value.clone())))
        };
        json!(rows.iter().find(is_its))
    }

    /// In the words of versions 3, 4 and 5 and in plain ones.
    pub(super) fn told(&self) -> Exception {
        let Self { goat, target, refused, .. } = self;
        let Some(first) = refused.first() else { return Exception::default() };
        let rows = |rows: &[Row]| refused.iter().map(|it| self.row(rows, it)).collect::<Vec<_>>();
        let mut joined: Map<String, Value> = Map::new();
        for (source, it) in self.sources.iter().zip(*refused) {
            let of = joined.entry(*source).or_insert_with(|| json!({}));
            of[it.key.join("\0")] = json!(1);
        }
        let text = format!("{} (SQLSTATE {}, database \"{target}\")", first.message, first.sqlstate);
        let (sent, there) = (self.row(self.rows, first), self.row(self.present, first));
        // What was about to happen, in the bits of `action`: the source's row to the target, or the other way round.
        let (source, other, at_source, at_target, action) =
            if *target == self.first { (there, sent, 1, 0, TO_SOURCE) } else { (sent, there, 0, 1, TO_TARGET) };
        let quoted: Vec<String> = goat.key.iter().map(|name| Sql::ident(name).to_string()).collect();
        let rowinfo = json!({
            "schema": goat.schema, "table": goat.name, "pkeyname": one_or_all(&goat.key),
            "qpkeyname": one_or_all(&quoted), "pkeytype": one_or_all(self.key_types), "pkey": first.key.join("\0"),
            "sourcerow": source, "targetrow": other, "action": action,
            "dbi_error": text, "source_error": at_source, "target_error": at_target,
        });
        let told = json!({
            "error_string": text, "attempts": self.tries, "deltabin": joined,
            "dbi_error": text, "source_error": at_source, "target_error": at_target, "rowinfo": rowinfo,
            "sqlstate": first.sqlstate, "constraint": first.constraint, "detail": first.detail, "database": target,
            "keys": refused.iter().map(|it| as_json(goat, &it.key)).collect::<Vec<_>>(),
            "rows": rows(self.rows), "present": rows(self.present),
            "errors": refused.iter().map(|it| it.message.as_str()).collect::<Vec<_>>(),
        });
        match told {
            Value::Object(told) => Exception { told, forms: self.forms.clone() },
            _ => Exception::default(),
        }
    }
}

/// Names keys for the rest of the transaction: what reads rows of named keys shows theirs.
pub(super) async fn name_keys(site: &Site, label: &str, keys: &[Key]) -> Result<(), RoundError> {
    let failed = site.failed(format!("naming keys of table \"{label}\""));
    let named = site.conn.query_one(NAME_KEYS.text(), &[&json!(keys).to_string()]).await;
    named.map(drop).map_err(failed)
}

/// The rows of these keys that a database has; `copy` reads those of named keys, with these columns.
pub(super) async fn rows(
    site: &Site,
    label: &str,
    (copy, columns): (&str, &[String]),
    keys: &[Key],
) -> Result<Vec<Row>, RoundError> {
    let failed = || site.failed(format!("reading refused rows of table \"{label}\""));
    name_keys(site, label, keys).await?;
    let found = site.conn.copy_out(copy).await.map_err(failed())?;
    let lines: Vec<bytes::Bytes> = found.try_collect().await.map_err(failed())?;
    Ok(lines.iter().map(|line| row(columns, line)).collect())
}

/// A row as `COPY` writes it.
pub(super) fn row(columns: &[String], line: &[u8]) -> Row {
    let values = fields(line.strip_suffix(b"\n").unwrap_or(line));
    columns.iter().zip(values).map(|(column, value)| (column.clone(), value.unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_asked_as_long_as_less_is_refused_and_a_few_times_more() {
        let asked = |refused: &[usize]| {
            let mut patience = Patience::default();
            refused.iter().map(|refused| patience.next(*refused)).collect::<Vec<_>>()
        };
        assert_eq!(asked(&[5, 4, 3, 2, 1, 0]), [Some(1), Some(2), Some(3), Some(4), Some(5), None]);
        assert_eq!(asked(&[2, 2, 2, 2]), [Some(1), Some(2), Some(3), None]);
        assert_eq!(asked(&[3, 2, 3, 3, 3]), [Some(1), Some(2), Some(3), Some(4), None]);
        assert_eq!(asked(&[0]), [None]);
    }
}
