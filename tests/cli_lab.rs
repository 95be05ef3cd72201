//! A control database that is installed, and databases to name in commands.

use crate::support::{Bucardo, Database, fresh_database};

/// The program with an installed control database.
pub(crate) struct CliLab {
    pub(crate) control: Database,
    pub(crate) bucardo: Bucardo,
}

impl CliLab {
    /// Installs a control database.
    pub(crate) async fn start() -> Self {
        let control = fresh_database("control").await;
        let bucardo = Bucardo::on(&control);
        install(&bucardo).ok();
        Self { control, bucardo }
    }

    /// A database with these tables, added under `name`.
    pub(crate) async fn db(&self, name: &str, tables: &str) -> Database {
        let database = fresh_database("data").await;
        database.run(tables).await;
        self.bucardo.add_db(name, &database);
        database
    }

    /// One call; words are given as they are.
    pub(crate) fn call(&self, words: &[&str]) -> crate::support::Output {
        self.bucardo.call(words)
    }

    /// Everything that the catalog holds, as text: equal texts, equal catalogs. The log of connection tests counts,
    /// too.
    pub(crate) async fn catalog(&self) -> Vec<String> {
        let mut all = Vec::new();
        let tables = "bucardo_config db dbgroup dbmap db_connlog goat herd herdmap sync customcode customcode_map \
                      customname customcols customselect";
        for table in tables.split(' ') {
            let rows = self.control.rows(&format!("SELECT t::text FROM bucardo.{table} AS t ORDER BY 1")).await;
            all.extend(rows.into_iter().map(|row| format!("{table}: {row}")));
        }
        all
    }

    /// A call that must fail with `code` and leave the catalog as it was; returns the complaint.
    pub(crate) async fn refused(&self, code: i32, words: &[&str]) -> String {
        let before = self.catalog().await;
        let output = self.call(words);
        assert_eq!(output.code, code, "{words:?}: {}{}", output.stdout, output.stderr);
        assert_eq!(self.catalog().await, before, "{words:?} changed the catalog");
        output.stderr
    }
}

/// `install --batch`, with a PID directory that exists.
pub(crate) fn install(bucardo: &Bucardo) -> crate::support::Output {
    let piddir = bucardo.home().display().to_string();
    bucardo.call(&["install", "--batch", "--piddir", &piddir])
}
