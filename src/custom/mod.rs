//! Custom code: what operators hook into syncs. [`Code`] says what runs where; a host runs the codes of one language;
//! [`Databases`] answers what a code asks of a database, inside the transaction that is under way there.
//!
//! Hooks, inputs and outputs are those of Bucardo 3, 4 and 5. A code never holds a connection.

mod ask;
mod codes;
pub mod conflict;
mod databases;
mod forms;
mod host;
mod hosts;
pub mod input;
mod lua;
mod outcome;
mod perl;
mod sql;
mod statement;

use serde::{Deserialize, Serialize};

pub use ask::{ask, ask_each};
pub(crate) use codes::MAILS_MAX;
pub use codes::{Codes, Hosts, Mail, Post};
pub use databases::{Column, Databases, Found, Refused, Statement};
pub use forms::Forms;
pub(crate) use host::for_shell;
pub use host::{CodeError, Host};
pub use hosts::{Limits, open};
pub use outcome::{Cells, Decision, Outcome, Row};
pub use sql::{Prepared, prepared};
pub use statement::commits;

/// What a code leaves of the inputs of one call has so many bytes at most.
const OUTPUT_BYTES_MAX: usize = 64 << 20;
/// What is said of one that leaves more.
const TOO_MUCH: &str = "what it returned of one call has more than 64 MB";

/// When a code runs, in the words of version 5. Versions 3 and 4 wrote `drop` for `disable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// By the CTL, before the KIDs of a run start; in no transaction.
    BeforeSync,
    /// By a KID, before its round begins the transactions.
    BeforeTxn,
    /// In the round's transactions, before changes are looked for.
    BeforeCheckRows,
    /// In the round's transactions, when there are changes, before the first row is written.
    BeforeTriggerDisable,
    /// The same, after triggers and rules have been switched off.
    AfterTriggerDisable,
    /// In the round's transactions, for every key that several sources changed.
    Conflict,
    /// For a table whose rows a database refused, after its writes were taken back.
    Exception,
    /// In the round's transactions, after the rows of one table were written.
    AfterTableSync,
    /// In the round's transactions, after the last row was written, before triggers and rules are on again.
    BeforeTriggerEnable,
    /// The same, after they are on again, before the commit.
    AfterTriggerEnable,
    /// By a KID, after everything was committed.
    AfterTxn,
    /// By the CTL, after all KIDs of a run ended well; in no transaction.
    AfterSync,
}

impl Hook {
    /// All of them, in the order in which a run comes to them.
    pub const ALL: [Self; 12] = [
        Self::BeforeSync,
        Self::BeforeTxn,
        Self::BeforeCheckRows,
        Self::BeforeTriggerDisable,
        Self::AfterTriggerDisable,
        Self::Conflict,
        Self::Exception,
        Self::AfterTableSync,
        Self::BeforeTriggerEnable,
        Self::AfterTriggerEnable,
        Self::AfterTxn,
        Self::AfterSync,
    ];

    /// Its word in the catalog (`customcode.whenrun`).
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::BeforeSync => "before_sync",
            Self::BeforeTxn => "before_txn",
            Self::BeforeCheckRows => "before_check_rows",
            Self::BeforeTriggerDisable => "before_trigger_disable",
            Self::AfterTriggerDisable => "after_trigger_disable",
            Self::Conflict => "conflict",
            Self::Exception => "exception",
            Self::AfterTableSync => "after_table_sync",
            Self::BeforeTriggerEnable => "before_trigger_enable",
            Self::AfterTriggerEnable => "after_trigger_enable",
            Self::AfterTxn => "after_txn",
            Self::AfterSync => "after_sync",
        }
    }

    /// From its word, in the spelling of whatever version.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.replace("_trigger_drop", "_trigger_disable");
        Self::ALL.into_iter().find(|hook| hook.word() == word)
    }

    /// Whether it runs in rounds that have changes, and knows them. Conflicts are told in words of their own.
    #[must_use]
    pub const fn is_of_changes(self) -> bool {
        match self {
            Self::BeforeTriggerDisable
            | Self::AfterTriggerDisable
            | Self::Exception
            | Self::AfterTableSync
            | Self::BeforeTriggerEnable
            | Self::AfterTriggerEnable
            | Self::AfterTxn => true,
            Self::BeforeSync | Self::BeforeTxn | Self::BeforeCheckRows | Self::Conflict | Self::AfterSync => false,
        }
    }

    /// Whether it runs inside the transactions of a round: then a code may read and change rows, and nothing else.
    #[must_use]
    pub const fn is_strict(self) -> bool {
        !matches!(self, Self::BeforeSync | Self::BeforeTxn | Self::AfterTxn | Self::AfterSync)
    }
}

/// What a code is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// Embedded, sandboxed.
    Lua,
    /// A subroutine of Bucardo 3, 4 or 5, run by a child process.
    Perl,
    /// A statement, run in the transaction under way.
    Sql,
}

impl Language {
    /// Its word in the catalog (`customcode.language`).
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lua => "lua",
            Self::Perl => "perl",
            Self::Sql => "sql",
        }
    }

    /// From its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Lua, Self::Perl, Self::Sql].into_iter().find(|language| language.word() == word)
    }
}

/// An active code in a place where it is active.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    /// Its number in the catalog.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// When it runs.
    pub hook: Hook,
    /// What it is written in.
    pub language: Language,
    /// What is run.
    pub source: String,
    /// Whether it may ask databases.
    pub getdbh: bool,
    /// Whether it gets the rows of the changed keys.
    pub getrows: bool,
    /// The table or sequence that it is for; `None`: the whole sync.
    pub goat: Option<i32>,
    /// What one call of it may take.
    pub limits: Limits,
}
