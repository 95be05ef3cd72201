//! A table that cannot be delivered as it is, while the others of its pair can.

use tokio_postgres::error::SqlState;

use super::error::RoundError;
use crate::pg::causes;

/// Classes of SQLSTATE (manual, appendix "PostgreSQL Error Codes") that speak of a table, its definition, its rows or
/// what belongs to it, and not of the database or the session: unsupported on it, no data, bad data, integrity,
/// routines that its triggers call, missing objects and rights, check options, program limits, raised by its triggers,
/// damaged data.
const OF_A_TABLE: [&str; 12] = ["0A", "21", "22", "23", "2F", "38", "39", "42", "44", "54", "P0", "XX00"];

/// A difference that keeps a table from being delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Drift {
    /// `schema.table` on the source; sequences too.
    pub(super) table: String,
    /// What differs, in words.
    pub(super) why: String,
    /// Not all changes of the table are captured: it comes back by a copy.
    pub(super) whole: bool,
    /// A statement failed: its text may have been made for an earlier definition.
    pub(super) by_statement: bool,
}

impl Drift {
    /// The table that `error` speaks of, if it is one that others need not wait for.
    pub(super) fn of(error: &RoundError) -> Option<Self> {
        let RoundError::OfTable { table, error } = error else { return None };
        let (by_statement, whole) = match &**error {
            RoundError::Table { .. } => (false, false),
            RoundError::Sql { source, .. } if is_of_a_table(source.code()) => (true, false),
            _ => return None,
        };
        let why = match &**error {
            RoundError::Table { why, db, .. } => format!("{why} (database \"{db}\")"),
            error => causes(error),
        };
        Some(Self { table: table.clone(), why, whole, by_statement })
    }
}

/// Whether a refusal concerns the table that a statement names.
fn is_of_a_table(code: Option<&SqlState>) -> bool {
    code.is_some_and(|code| OF_A_TABLE.iter().any(|class| code.code().starts_with(class)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_a_database_or_session_put_no_table_aside() {
        for code in ["22001", "23505", "42703", "42P01", "42501", "54000", "P0001", "XX001"] {
            assert!(is_of_a_table(Some(&SqlState::from_code(code))), "{code}");
        }
        for code in ["25006", "26000", "40P01", "53100", "57014", "08006", "55P03", "28000"] {
            assert!(!is_of_a_table(Some(&SqlState::from_code(code))), "{code}");
        }
        assert!(!is_of_a_table(None));
    }
}
