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
        let error = match &**error {
            RoundError::InCopy { error, .. } => error,
            _ => error,
        };
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

/// What a person can do about a difference, which is read from its words: those of a table that has been in quarantine
/// for longer are all that is known of it.
pub(super) fn remedy(why: &str) -> &'static str {
    let state = why.split("(SQLSTATE ").nth(1).and_then(|rest| rest.get(..5));
    match state {
        _ if why.contains("bucardo validate") => "that command mends it",
        Some("42501") => "grant what is denied (bucardo doctor names what is missing)",
        Some(code) if code.starts_with("22") => {
            "mend the row, the column's type, or the expression that fails (customselect, customcols)"
        }
        Some(code) if code.starts_with("23") || code == "44000" => {
            "mend the row that is refused, the row in its way, or the constraint"
        }
        Some("P0001" | "P0002" | "P0003" | "P0004") => "see to the trigger or function that raises it",
        Some(code) if code.starts_with("XX") => "mend the damaged data",
        Some(code) if !code.starts_with("42") => "mend the cause",
        _ => "make the tables alike",
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

    #[test]
    fn each_difference_has_the_remedy_that_helps() {
        for (why, word) in [
            ("no column \"v\" (database \"B\")", "make the tables alike"),
            (
                "writing rows failed on database \"B\": column \"v\" does not exist (SQLSTATE 42703)",
                "make the tables alike",
            ),
            ("writing rows failed on database \"B\": permission denied for table t (SQLSTATE 42501)", "bucardo doctor"),
            ("reading rows failed on database \"A\": division by zero (SQLSTATE 22012)", "expression"),
            ("writing rows failed: duplicate key value (SQLSTATE 23505); Key (v)=(1) already exists.", "in its way"),
            ("writing rows failed on database \"B\": not today (SQLSTATE P0001)", "trigger"),
            ("capture of its changes is missing on database \"A\": run bucardo validate", "that command"),
        ] {
            assert!(remedy(why).contains(word), "{why}: {}", remedy(why));
        }
    }
}
