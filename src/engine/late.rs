//! What a target refuses at the commit only: rows of deferred constraints. A round that meets that starts over, sees before
//! its commit which table they are of, and starts over once more: then that table is written after all others, and looked
//! into as any of which rows are refused (see [`super::guard`]). Whoever never meets it pays nothing.

use super::error::RoundError;
use super::guard::Bench;
use super::refused::refusal;
use super::round::Round;
use super::site::Site;
use super::table::Table;
use crate::pg::SqlFile;

const CHECK_LATE: SqlFile = SqlFile::new(include_str!("../../sql/engine/check_late.sql"));

impl Round<'_> {
    /// Whether rows of this table were refused late, in this round; or may be, as it returns from quarantine.
    pub(super) fn is_late_with(&self, label: &str) -> bool {
        self.is_late && (self.doubted.contains(label) || self.quarantine.has(label))
    }

    /// What would be refused at the commit, of whatever table, is refused here, where one table can wait for it.
    pub(super) async fn check_late(&self) -> Result<(), RoundError> {
        if !self.is_late {
            return Ok(());
        }
        check(&self.session.target).await.map_err(|error| {
            let of = |table: &Table| {
                let said = refusal(&error)?;
                let (schema, name) = (said.schema()?, said.table()?);
                (table.there.schema == schema && table.there.name == name).then(|| table.label.clone())
            };
            match self.session.tables.iter().find_map(of) {
                Some(label) => error.of_table(&label),
                None => error,
            }
        })
    }
}

impl Bench<'_> {
    /// The same of one table, if rows of it were refused late.
    pub(super) async fn check_late(&self) -> Result<(), RoundError> {
        if self.is_late { check(self.target).await } else { Ok(()) }
    }
}

/// Checks what is checked late, and leaves it to be checked again.
async fn check(target: &Site) -> Result<(), RoundError> {
    target.run("checking deferred constraints", CHECK_LATE.text()).await
}
