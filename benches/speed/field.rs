//! Where it is measured: two clusters, pgbench's tables on the first, the same tables, empty, on the second.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bucardo::lab::{Cluster, Folder, Settings};
use tokio::time::sleep;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};

/// Database of the measured tables.
pub(crate) const DBNAME: &str = "bench";
/// Tables that are replicated.
pub(crate) const TABLES: [&str; 5] =
    ["pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history", "probe"];

const LOOK_EVERY: Duration = Duration::from_millis(2);
const WITHIN: Duration = Duration::from_secs(300);

const EXTRA: &str = "ALTER TABLE pgbench_history ADD COLUMN id bigserial PRIMARY KEY;
    CREATE TABLE probe (id int PRIMARY KEY, note text NOT NULL)";

/// Two clusters. Dropping it removes them.
pub(crate) struct Field {
    pub(crate) source: Cluster,
    pub(crate) target: Cluster,
    pub(crate) folder: Folder,
}

impl Field {
    pub(crate) fn open(settings: Settings, scale: u32) -> Self {
        let folder = Folder::new("bucardo-bench").unwrap();
        let source = filled(&folder, "source", &settings, scale);
        let target = cluster(&folder, "target", &settings);
        let mut dump = source.client("pg_dump");
        target.sql(DBNAME, &run(dump.args(["--schema-only", "-d", DBNAME]))).unwrap();
        Self { source, target, folder }
    }

    /// Empties the target's tables; nothing of that is captured or replicated.
    pub(crate) fn empty_target(&self) {
        self.target.sql(DBNAME, &format!("TRUNCATE {}", TABLES.join(", "))).unwrap();
        self.target.sql(DBNAME, "CHECKPOINT").unwrap();
    }

    /// Copies every table with `psql COPY | psql COPY`; how long the accounts took.
    pub(crate) fn pipe(&self) -> Duration {
        self.empty_target();
        let mut accounts = Duration::ZERO;
        for table in TABLES {
            let begun = Instant::now();
            let copy = |cluster: &Cluster, direction: &str| {
                let mut psql = cluster.client("psql");
                psql.args(["-X", "-q", "-d", DBNAME, "-c", &format!("COPY {table} {direction}")]);
                psql
            };
            let mut from = copy(&self.source, "TO STDOUT").stdout(Stdio::piped()).spawn().unwrap();
            let bytes = from.stdout.take().unwrap();
            let status = copy(&self.target, "FROM STDIN").stdin(bytes).status().unwrap();
            assert!(from.wait().unwrap().success() && status.success(), "psql COPY | psql COPY of {table}");
            if table == TABLES[0] {
                accounts = begun.elapsed();
            }
        }
        accounts
    }

    /// Panics when a table differs: a number is worth nothing when rows are missing.
    pub(crate) fn assert_equal(&self) {
        for table in TABLES {
            let sql = format!("SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {table} AS t");
            let (source, target) = (self.source.sql(DBNAME, &sql).unwrap(), self.target.sql(DBNAME, &sql).unwrap());
            assert_eq!(source, target, "{table} differs");
        }
    }

    /// Vacuums and writes everything out, so that no measurement pays for the one before.
    pub(crate) fn settle(&self) {
        for cluster in [&self.source, &self.target] {
            settle(cluster);
        }
    }
}

/// Vacuums and writes everything out.
pub(crate) fn settle(cluster: &Cluster) {
    cluster.sql(DBNAME, "VACUUM ANALYZE").unwrap();
    cluster.sql(DBNAME, "CHECKPOINT").unwrap();
}

/// Panics when what the query tells of two databases differs.
pub(crate) fn assert_same(one: (&Cluster, &str), other: (&Cluster, &str), query: &str) {
    let told = |(cluster, dbname): (&Cluster, &str)| cluster.sql(dbname, query).unwrap();
    assert_eq!(told(one), told(other), "the databases differ");
}

/// Waits until the query says `true`; asks every few milliseconds.
pub(crate) async fn until(client: &Client, query: &str, parameters: &[&(dyn ToSql + Sync)]) {
    until_every(LOOK_EVERY, client, query, parameters).await;
}

/// Waits until the query says `true`.
pub(crate) async fn until_every(pause: Duration, client: &Client, query: &str, parameters: &[&(dyn ToSql + Sync)]) {
    let begun = Instant::now();
    let query = client.prepare(query).await.unwrap();
    while !client.query_one(&query, parameters).await.unwrap().get::<_, bool>(0) {
        assert!(begun.elapsed() < WITHIN, "what was written did not arrive within {WITHIN:?}");
        sleep(pause).await;
    }
}

/// A cluster with pgbench's tables and the table of the latency.
pub(crate) fn filled(folder: &Folder, name: &str, settings: &Settings, scale: u32) -> Cluster {
    let cluster = cluster(folder, name, settings);
    run(cluster.client("pgbench").args(["-i", "-q", "-s", &scale.to_string(), DBNAME]));
    cluster.sql(DBNAME, EXTRA).unwrap();
    cluster
}

/// A cluster with an empty database to measure in.
pub(crate) fn cluster(folder: &Folder, name: &str, settings: &Settings) -> Cluster {
    let settings = settings
        .clone()
        // As servers have it; a writer that is made too cheap makes capture look dear.
        .set("full_page_writes", "on")
        .set("shared_buffers", "512MB")
        .set("max_wal_size", "8GB")
        .set("checkpoint_timeout", "1h")
        // It would run in one measurement and not in the next; tables are vacuumed before each.
        .set("autovacuum", "off");
    let cluster = Cluster::start(folder.path(), name, &settings).unwrap();
    cluster.sql("postgres", &format!("CREATE DATABASE {DBNAME}")).unwrap();
    cluster
}

/// A session.
pub(crate) async fn client(cluster: &Cluster) -> Client {
    client_of(cluster, DBNAME).await
}

/// A session in a database of this name.
pub(crate) async fn client_of(cluster: &Cluster, dbname: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&cluster.conninfo(dbname), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Runs a program to its end; what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {printed}{told}");
    printed
}
