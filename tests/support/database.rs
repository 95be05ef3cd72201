//! Databases of their own for each test.

use std::sync::atomic::{AtomicU32, Ordering};

use bucardo::lab::Cluster;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::server::server;

/// A database, how to reach it, and a session in it.
pub(crate) struct Database {
    /// Its name.
    pub(crate) name: String,
    /// Where its server listens.
    pub(crate) host: String,
    /// Where its server listens.
    pub(crate) port: u16,
    /// The superuser.
    pub(crate) user: String,
    /// An open session of the superuser.
    pub(crate) client: Client,
}

/// A new, empty database on the server of the run; `tag` makes its name readable in a log.
pub(crate) async fn fresh_database(tag: &str) -> Database {
    Database::create(server(), tag).await
}

impl Database {
    /// A new, empty database on `cluster`.
    pub(crate) async fn create(cluster: &Cluster, tag: &str) -> Self {
        Self::make(cluster, tag, "").await
    }

    /// A new, empty database of another encoding on the server of the run.
    pub(crate) async fn encoded(tag: &str, encoding: &str) -> Self {
        let options = format!("ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
        Self::make(server(), tag, &options).await
    }

    async fn make(cluster: &Cluster, tag: &str, options: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{tag}_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let admin = connect(&cluster.conninfo("postgres")).await;
        admin.batch_execute(&format!("CREATE DATABASE \"{name}\" {options}")).await.unwrap();
        Self::of(cluster, &name).await
    }

    /// A database that exists on `cluster`; also the way to a new session after a restart.
    pub(crate) async fn of(cluster: &Cluster, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            host: cluster.host().to_owned(),
            port: cluster.port(),
            user: cluster.user().to_owned(),
            client: connect(&cluster.conninfo(name)).await,
        }
    }

    /// The same database, reached through another port (a [`super::Proxy`]).
    pub(crate) fn words_through(&self, port: u16) -> String {
        format!("host={} port={port} user={} dbname={}", self.host, self.user, self.name)
    }

    /// `host=… port=… user=… dbname=…`, as one connection string.
    pub(crate) fn conninfo(&self) -> String {
        self.words_through(self.port)
    }

    /// The words of `bucardo add db`, one each.
    pub(crate) fn words(&self) -> Vec<String> {
        self.conninfo().split(' ').map(str::to_owned).collect()
    }

    /// The same database, with another session.
    pub(crate) async fn again(&self) -> Self {
        let (name, host, user) = (self.name.clone(), self.host.clone(), self.user.clone());
        Self { name, host, port: self.port, user, client: self.session().await }
    }

    /// Another session.
    pub(crate) async fn session(&self) -> Client {
        connect(&self.conninfo()).await
    }

    /// Runs statements.
    pub(crate) async fn run(&self, sql: &str) {
        if let Err(error) = self.client.batch_execute(sql).await {
            panic!("{sql}: {}", bucardo::pg::causes(&error));
        }
    }

    /// Runs statements that shall be refused; returns the words of the refusal.
    pub(crate) async fn refused(&self, sql: &str) -> String {
        let error = self.client.batch_execute(sql).await.expect_err("a refusal");
        bucardo::pg::causes(&error)
    }

    /// Rows as text, columns joined by `|`, NULL as nothing: `["42|new"]`.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        let messages = self.client.simple_query(sql).await;
        let messages = messages.unwrap_or_else(|error| panic!("{sql}: {}", bucardo::pg::causes(&error)));
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| (0..row.len()).map(|column| row.get(column).unwrap_or_default()).collect::<Vec<_>>().join("|"))
            .collect()
    }

    /// The first column of the first row, as text.
    pub(crate) async fn value(&self, sql: &str) -> String {
        self.rows(sql).await.into_iter().next().unwrap_or_else(|| panic!("no row: {sql}"))
    }

    /// The first column of the first row, as a number.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let value = self.value(sql).await;
        value.parse().unwrap_or_else(|_| panic!("not a number: {value}: {sql}"))
    }
}

async fn connect(conninfo: &str) -> Client {
    let connected = tokio_postgres::connect(conninfo, NoTls).await;
    let (client, connection) = connected.unwrap_or_else(|error| panic!("{conninfo}: {}", bucardo::pg::causes(&error)));
    // Ends with the client. How it ends, the client's next call says.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    client
}
