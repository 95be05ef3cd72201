//! The databases of the catalog.

use serde::{Deserialize, Serialize};
use tokio_postgres::{GenericClient, Row};

use super::CatalogError;
use super::query::{Query, query};
use crate::config::PasswordRef;
use crate::pg::{Access, ConnectError};

const LIST: Query = query!("list the databases", "db_list");
const ADD: Query = query!("add a database", "db_add");
const ACCESS: Query = query!("read how to reach the databases", "db_access");
const DEFAULT: Query = query!("look for a database", "db_default");
const USES: Query = query!("look for what uses a database", "db_uses");
const REMOVE: Query = query!("remove a database", "db_remove");
const REMOVE_GOATS: Query = query!("remove the tables of a database", "db_remove_goats");
const CONNLOG: Query = query!("note a test of a connection", "connlog_add");

/// The kind of server that everything works with.
pub const POSTGRES: &str = "postgres";

/// A membership of a database in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRole {
    /// The group.
    pub dbgroup: String,
    /// source, target or fullcopy.
    pub role: String,
    /// Higher comes first.
    pub priority: i32,
}

/// A sync that a database is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRole {
    /// The sync.
    pub sync: String,
    /// source, target or fullcopy.
    pub role: String,
}

/// A database as `list` shows it: without passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbListing {
    /// Its name in the catalog.
    pub name: String,
    /// Kind of server.
    pub dbtype: String,
    /// active, inactive or stalled.
    pub status: String,
    /// Host.
    pub dbhost: Option<String>,
    /// Port.
    pub dbport: Option<String>,
    /// Name on its server.
    pub dbname: Option<String>,
    /// User.
    pub dbuser: Option<String>,
    /// `***` where there is one.
    pub dbpass: Option<String>,
    /// More words of the connection string.
    pub dbconn: String,
    /// Service of the service file.
    pub dbservice: Option<String>,
    /// A whole connection string.
    pub dbdsn: String,
    /// A password file.
    pub pgpass: Option<String>,
    /// Prepared statements may be used.
    pub server_side_prepares: bool,
    /// Writes of the program count as changes.
    pub makedelta: bool,
    /// More changes kept for one target are over the budget; `None`: as the setting says.
    pub queue_rows_max: Option<i64>,
    /// The same in megabytes.
    pub queue_mb_max: Option<i64>,
    /// The same as the age of the oldest change.
    pub queue_age_max: Option<String>,
    /// What is done about it: warn, stall or copy.
    pub queue_policy: Option<String>,
    /// So many KIDs read there at a time; 0: all.
    #[serde(default)]
    pub sourcelimit: i16,
    /// So many KIDs write there at a time; 0: all.
    #[serde(default)]
    pub targetlimit: i16,
    /// When it was added.
    pub cdate: String,
    /// Its groups.
    pub dbgroups: Vec<GroupRole>,
    /// Its syncs.
    pub syncs: Vec<SyncRole>,
}

/// How to reach a database, and a new row for it. `Debug` does not show the password.
#[derive(Clone, Default, PartialEq)]
pub struct DbRow {
    /// Its name in the catalog.
    pub name: String,
    /// A whole connection string; overrides the others.
    pub dsn: String,
    /// Kind of server.
    pub kind: String,
    /// Host.
    pub host: String,
    /// Port.
    pub port: String,
    /// Name on its server.
    pub dbname: String,
    /// User.
    pub user: String,
    /// Password.
    pub pass: String,
    /// More words of the connection string.
    pub conn: String,
    /// Service of the service file.
    pub service: String,
    /// A password file, used when there is no password.
    pub pgpass: String,
    /// active or inactive.
    pub status: String,
    /// Prepared statements may be used.
    pub server_side_prepares: bool,
    /// Writes of the program count as changes.
    pub makedelta: bool,
    /// So many KIDs read there at a time; 0: all.
    pub sourcelimit: i16,
    /// So many KIDs write there at a time; 0: all.
    pub targetlimit: i16,
    /// What it says of the changes that it keeps.
    pub queue: QueueRow,
}

/// What a database says of the changes that it keeps; `None`: as the settings say, 0: no bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueRow {
    /// Rows.
    pub rows_max: Option<i64>,
    /// Megabytes.
    pub mb_max: Option<i64>,
    /// Seconds.
    pub age_max: Option<f64>,
    /// What is done about more.
    pub policy: Option<String>,
}

impl std::fmt::Debug for DbRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DbRow").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl DbRow {
    fn read(row: &Row) -> Self {
        Self {
            name: row.get("name"),
            dsn: row.get("dbdsn"),
            kind: row.get("dbtype"),
            host: row.get("dbhost"),
            port: row.get("dbport"),
            dbname: row.get("dbname"),
            user: row.get("dbuser"),
            pass: row.get("dbpass"),
            conn: row.get("dbconn"),
            service: row.get("dbservice"),
            pgpass: row.get("pgpass"),
            status: row.get("status"),
            server_side_prepares: true,
            makedelta: row.get("makedelta"),
            queue: QueueRow {
                rows_max: row.get("queue_rows_max"),
                mb_max: row.get("queue_mb_max"),
                age_max: row.get("queue_age_max"),
                policy: row.get("queue_policy"),
            },
            sourcelimit: row.get("sourcelimit"),
            targetlimit: row.get("targetlimit"),
        }
    }

    /// How to reach it.
    ///
    /// # Errors
    ///
    /// A port that is no number, or a connection string that cannot be read.
    pub fn access(&self) -> Result<Access, ConnectError> {
        let mut access =
            if self.dsn.is_empty() { self.words()? } else { Access::parse(&connection_string(&self.dsn))? };
        if access.get("user").is_none() {
            access.set("user", &self.user)?;
        }
        if access.get("password").is_none() {
            access.set("password", &self.password()?)?;
        }
        if self.pass.is_empty() && access.get("passfile").is_none() {
            access.set("passfile", &self.pgpass)?;
        }
        Ok(access)
    }

    /// The password, which may stand elsewhere.
    fn password(&self) -> Result<String, ConnectError> {
        PasswordRef::new(&self.pass).resolve().map_err(|why| {
            ConnectError::Conninfo(format!("cannot read the password of database \"{}\": {why}", self.name))
        })
    }

    fn words(&self) -> Result<Access, ConnectError> {
        if !self.port.bytes().all(|byte| byte.is_ascii_digit() || byte == b',') {
            return Err(ConnectError::Conninfo(format!("port \"{}\" is not numeric", self.port)));
        }
        let given = [
            ("service", &self.service),
            ("host", &self.host),
            ("port", &self.port),
            ("dbname", &self.dbname),
            ("user", &self.user),
        ];
        let mut text = String::new();
        for (keyword, value) in given.iter().filter(|(_, value)| !value.is_empty()) {
            text.push_str(&format!("{keyword}='{}' ", value.replace('\\', "\\\\").replace('\'', "\\'")));
        }
        text.push_str(&connection_string(&self.conn));
        Access::parse(&text)
    }
}

/// A connection string of libpq, from one that may be in the style of Perl's DBI: `dbi:Pg:db=x;host=y`.
fn connection_string(text: &str) -> String {
    let text = text.trim();
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return text.to_owned();
    }
    let dbi = text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("dbi:pg:"));
    let words = if dbi { &text[7..] } else { text };
    if !dbi && !words.contains(';') {
        return words.to_owned();
    }
    let pieces = words.split(';').map(str::trim).filter(|piece| !piece.is_empty());
    let renamed = pieces.map(|piece| match piece.split_once('=') {
        Some(("db" | "database", name)) => format!("dbname={name}"),
        _ => piece.to_owned(),
    });
    renamed.collect::<Vec<_>>().join(" ")
}

/// All databases, by name.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn list(client: &impl GenericClient) -> Result<Vec<DbListing>, CatalogError> {
    LIST.listings(client).await
}

/// Adds a database; its name must be free.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn add(client: &impl GenericClient, db: &DbRow) -> Result<(), CatalogError> {
    let null = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (dbname, user) = (null(&db.dbname), null(&db.user));
    let (pass, pgpass) = (null(&db.pass), null(&db.pgpass));
    ADD.execute(
        client,
        &[
            &db.name,
            &db.dsn,
            &db.kind,
            &db.host,
            &db.port,
            &dbname,
            &user,
            &pass,
            &db.conn,
            &db.service,
            &pgpass,
            &db.status,
            &db.server_side_prepares,
            &db.makedelta,
            &db.sourcelimit,
            &db.targetlimit,
        ],
    )
    .await
    .map(|_| ())
}

/// How to reach databases: these, or all.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn rows(client: &impl GenericClient, names: Option<&[String]>) -> Result<Vec<DbRow>, CatalogError> {
    Ok(ACCESS.rows(client, &[&names]).await?.iter().map(DbRow::read).collect())
}

/// The database in which tables are looked for when none is named.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn default(client: &impl GenericClient) -> Result<Option<String>, CatalogError> {
    Ok(DEFAULT.row(client, &[]).await?.get("name"))
}

/// What refers to a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uses {
    /// Tables and sequences.
    pub goats: i64,
    /// Groups.
    pub groups: i64,
    /// Syncs.
    pub syncs: Vec<String>,
}

/// What refers to a database.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn uses(client: &impl GenericClient, name: &str) -> Result<Uses, CatalogError> {
    let row = USES.row(client, &[&name]).await?;
    Ok(Uses { goats: row.get("goats"), groups: row.get("groups"), syncs: row.get("syncs") })
}

/// Removes a database and its group memberships; false: there is none of that name.
///
/// # Errors
///
/// [`CatalogError::Sql`], as long as tables refer to it.
pub async fn remove(client: &impl GenericClient, name: &str) -> Result<bool, CatalogError> {
    Ok(REMOVE.execute(client, &[&name]).await? > 0)
}

/// Removes the tables and sequences of a database.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn remove_goats(client: &impl GenericClient, name: &str) -> Result<u64, CatalogError> {
    REMOVE_GOATS.execute(client, &[&name]).await
}

/// Notes a test of a connection; `version` where it went well.
///
/// # Errors
///
/// [`CatalogError::Sql`].
pub async fn log_connection(
    client: &impl GenericClient,
    db: &str,
    place: &str,
    version: Option<&str>,
) -> Result<(), CatalogError> {
    let status = if version.is_some() { "good" } else { "unknown" };
    CONNLOG.execute(client, &[&db, &place, &status, &version]).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> DbRow {
        DbRow { name: "A".into(), dbname: "my db".into(), user: "o'neil".into(), ..DbRow::default() }
    }

    #[test]
    fn words_are_quoted_and_more_words_are_added() {
        let access = DbRow { conn: "sslmode=require;connect_timeout=3".into(), port: "5433".into(), ..row() };
        let access = access.access().unwrap();
        assert_eq!(access.describe(), "port=5433 dbname=my db user=o'neil");
        assert_eq!(access.get("sslmode"), Some("require"));
        assert_eq!(access.get("connect_timeout"), Some("3"));
    }

    #[test]
    fn a_whole_connection_string_overrides_the_words() {
        for dsn in ["dbi:Pg:db=x;host=h", "host=h dbname=x", "postgresql://h/x", "DBI:Pg:database=x;host=h;"] {
            let access = DbRow { dsn: dsn.into(), pass: "geheim".into(), ..row() }.access().unwrap();
            assert_eq!(access.describe(), "host=h dbname=x user=o'neil", "{dsn}");
            assert_eq!(access.get("password"), Some("geheim"));
        }
    }

    #[test]
    fn a_password_may_stand_elsewhere() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "geh eim\n").unwrap();
        let access = DbRow { pass: format!("file:{}", file.path().display()), ..row() }.access().unwrap();
        assert_eq!(access.get("password"), Some("geh eim"));
        let literal = DbRow { pass: "text:env:HOME".into(), ..row() }.access().unwrap();
        assert_eq!(literal.get("password"), Some("env:HOME"), "a password that looks like a reference");
        let error = DbRow { pass: "env:NO_SUCH_VARIABLE_HERE".into(), ..row() }.access().unwrap_err().to_string();
        assert!(error.contains("database \"A\": variable NO_SUCH_VARIABLE_HERE"), "{error}");
    }

    #[test]
    fn a_port_must_be_numeric() {
        let error = DbRow { port: "54a".into(), ..row() }.access().unwrap_err();
        assert_eq!(error.to_string(), "port \"54a\" is not numeric");
    }
}
