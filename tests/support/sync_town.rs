//! A whole installation for the daemon's tests: control database, source A, targets B and C, one sync.

use std::time::Duration;

use bucardo::lab::Cluster;
use bucardo::pg::{Access, causes, connect};
use bucardo::source::deltas::waiting;

use super::{Bucardo, Daemon, Database, assert_same, server, wait};

/// Databases and the program. The sync is named `s`, its relgroup too.
pub(crate) struct Town {
    pub(crate) control: Database,
    pub(crate) a: Database,
    pub(crate) b: Database,
    pub(crate) c: Database,
    pub(crate) bucardo: Bucardo,
    tables: Vec<String>,
}

impl Town {
    /// Databases on the server of the run; `ddl` runs in A, B and C. Installs the control schema.
    pub(crate) async fn found(ddl: &str) -> Self {
        Self::found_on([server(); 4], ddl).await
    }

    /// The same on other servers: of the control database, A, B and C.
    pub(crate) async fn found_on(clusters: [&Cluster; 4], ddl: &str) -> Self {
        let [control, a, b, c] = clusters;
        let control = Database::create(control, "control").await;
        let (a, b, c) =
            (Database::create(a, "a").await, Database::create(b, "b").await, Database::create(c, "c").await);
        for database in [&a, &b, &c] {
            database.run(ddl).await;
        }
        let bucardo = Bucardo::on(&control);
        let piddir = bucardo.home().display().to_string();
        bucardo.call(&["install", "--batch", "--piddir", &piddir]).ok();
        Self { control, a, b, c, bucardo, tables: Vec::new() }
    }

    /// Adds A, B and C, and a sync of all tables and sequences of A to both; `words` go to `add sync`.
    pub(crate) fn sync(&mut self, words: &str) {
        self.sync_through(self.a.port, self.b.port, words);
    }

    /// The same; A and B are reached through these ports.
    pub(crate) fn sync_through(&mut self, a: u16, b: u16, words: &str) {
        self.sync_among([a, b, self.c.port], "A:source,B:target,C:target", words);
    }

    /// A sync of databases in these roles; A, B and C are reached through these ports.
    pub(crate) fn sync_among(&mut self, ports: [u16; 3], dbs: &str, words: &str) {
        for (name, database, port) in [("A", &self.a, ports[0]), ("B", &self.b, ports[1]), ("C", &self.c, ports[2])] {
            self.bucardo.add_db_at(name, database, port);
        }
        self.bucardo.run("add all tables db=A relgroup=s");
        self.bucardo.run("add all sequences db=A relgroup=s");
        self.bucardo.run(&format!("add sync s relgroup=s dbs={dbs} {words}"));
        self.learn_tables();
    }

    /// The ports of A, B and C themselves.
    pub(crate) fn ports(&self) -> [u16; 3] {
        [self.a.port, self.b.port, self.c.port]
    }

    /// Notes which tables are to be compared: all that were added.
    pub(crate) fn learn_tables(&mut self) {
        let listed: serde_json::Value = serde_json::from_str(&self.bucardo.run("list tables --json")).unwrap();
        let names = listed.as_array().unwrap().iter().map(|table| {
            let word = |name: &str| table[name].as_str().unwrap().to_owned();
            format!("\"{}\".\"{}\"", word("schemaname"), word("tablename"))
        });
        self.tables = names.collect();
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) async fn daemon(&self) -> Daemon<'_> {
        Daemon::start(&self.bucardo).await
    }

    /// Waits until these targets have read everything that A had when it was asked.
    pub(crate) async fn caught_up(&self, targets: &[&str], within: Duration) {
        let access = Access::parse(&self.a.conninfo()).unwrap();
        wait::until(&format!("{targets:?} to catch up"), within, async || {
            let source = connect(&access, "test").await.map_err(|error| causes(&error))?;
            let states = waiting(&source, &"s".into()).await.map_err(|error| causes(&error))?;
            let behind = states.iter().filter(|state| targets.contains(&state.target.as_str()) && state.waiting > 0);
            let behind: Vec<_> = behind.map(|state| format!("{}: {} waiting", state.target, state.waiting)).collect();
            if behind.is_empty() { Ok(()) } else { Err(behind.join(", ")) }
        })
        .await;
    }

    /// Waits until rounds with rows arrive at a target.
    pub(crate) async fn moves(&self, target: &str, within: Duration) {
        let target = if target == "B" { &self.b } else { &self.c };
        let rounds = "SELECT sum(round)::bigint FROM bucardo.position";
        let before = target.number(rounds).await;
        wait::until(&format!("rounds on {}", target.name), within, async || {
            let now = target.number(rounds).await;
            if now > before + 2 { Ok(()) } else { Err(now) }
        })
        .await;
    }

    /// Every table and sequence has the same contents on A, B and C.
    pub(crate) async fn assert_same(&self) {
        for table in &self.tables {
            assert_same(table, &[&self.a, &self.b, &self.c]).await;
        }
        let sequences = "SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename) FROM pg_sequences \
            WHERE schemaname <> 'bucardo' ORDER BY 1";
        for sequence in self.a.rows(sequences).await {
            let state = format!("SELECT last_value, is_called FROM {sequence}");
            let wanted = self.a.rows(&state).await;
            for target in [&self.b, &self.c] {
                assert_eq!(target.rows(&state).await, wanted, "{sequence} on {}", target.name);
            }
        }
    }

    /// Waits for both targets, then compares everything.
    pub(crate) async fn settle(&self, within: Duration) {
        self.caught_up(&["B", "C"], within).await;
        self.assert_same().await;
    }

    /// New sessions, after servers were restarted.
    pub(crate) async fn reconnect(&mut self) {
        for database in [&mut self.control, &mut self.a, &mut self.b, &mut self.c] {
            database.client = database.session().await;
        }
    }
}
