//! Can this sync run, and if so: put what it needs into its databases.
//!
//! Everything is checked first, in all databases, and every problem found is told; only then is anything changed.

use futures_util::future::try_join_all;

use bucardo_actors::model::{DbName, Failure, Pair, SyncName};

use super::compare::{Difference, compare};
use super::relation::{Relation, relations};
use super::{install, mapped};
use crate::catalog::{Db, Goat, GoatKind, Role, SyncDetail};
use crate::pg::{ConnectError, Connection, SqlFile, causes, classify, connect};

const RIGHTS: SqlFile = SqlFile::new(include_str!("../../sql/source/rights.sql"));

/// What a validation that passed has to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validated {
    /// Things that a person should know; none keeps the sync from running.
    pub warnings: Vec<String>,
}

/// Why a sync cannot run. Nothing was changed, except by [`ValidateError::Sql`], which stopped half-way: what it had
/// installed stays and is found in place the next time.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// A database cannot be reached.
    #[error("cannot connect to database \"{db}\"")]
    Connect {
        /// The database.
        db: DbName,
        /// Why.
        source: ConnectError,
    },
    /// A statement failed.
    #[error("{what} failed on database \"{db}\"")]
    Sql {
        /// What was being done.
        what: String,
        /// Where.
        db: DbName,
        /// Why.
        source: tokio_postgres::Error,
    },
    /// The sync as described cannot run; all that was found.
    #[error("{}", .problems.join("\n"))]
    Problems {
        /// One sentence each.
        problems: Vec<String>,
    },
}

impl ValidateError {
    pub(crate) fn sql(db: &DbName, what: String, source: tokio_postgres::Error) -> Self {
        Self::Sql { what, db: db.clone(), source }
    }

    fn problem(text: impl Into<String>) -> Self {
        Self::Problems { problems: vec![text.into()] }
    }

    /// Whether trying again may help without anyone's help.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Connect { source, .. } => source.failure(),
            Self::Sql { source, .. } => classify(source),
            Self::Problems { .. } => Failure::Permanent,
        }
    }

    /// The whole chain of causes, and the next step where we know one.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Problems { problems } => problems.join("\n"),
            _ => causes(self),
        }
    }

    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { source, .. } => source.hint(),
            Self::Sql { source, .. } if classify(source) == Failure::Transient => {
                Some("nothing is lost; run the same command again".to_owned())
            }
            Self::Sql { .. } | Self::Problems { .. } => None,
        }
    }
}

/// One database of the sync, connected and looked at.
pub(super) struct Site<'a> {
    pub(super) db: &'a Db,
    role: Role,
    pub(super) conn: Connection,
    /// The goats by the names that they have here, and what these names stand for.
    goats: Vec<Goat>,
    pub(super) relations: Vec<Relation>,
    may_create: bool,
    may_temp: bool,
    role_name: String,
    database: String,
    is_standby: bool,
    system_id: i64,
    server_start: String,
}

impl Site<'_> {
    /// Two entries of the catalog may reach one database.
    pub(super) fn is_same_database(&self, other: &Self) -> bool {
        (self.system_id, &self.server_start, &self.database) == (other.system_id, &other.server_start, &other.database)
    }
}

/// Checks that `sync` can run and installs what it needs: capture on its source, positions on its targets. A
/// source of which only whole copies are made is read and gets nothing.
///
/// May be run again at any time, also while the sync runs: what is in place is left alone.
///
/// # Errors
///
/// See [`ValidateError`].
pub async fn validate_sync(sync: &SyncDetail) -> Result<Validated, ValidateError> {
    check_shape(sync)?;
    let sites = sync.members.iter().filter(|member| member.db.active).map(|member| open(sync, &member.db, member.role));
    let mut sites = try_join_all(sites).await?;
    let mut validated = Validated::default();
    let mut problems = Vec::new();
    // Members are sorted: the source is first.
    if let Some((source, targets)) = sites.split_first() {
        check_site(sync, source, &mut problems);
        for target in targets {
            check_site(sync, target, &mut problems);
            check_columns(sync, source, target, &mut problems, &mut validated.warnings);
            mapped::check_clauses(sync, source, target, &mut problems, &mut validated.warnings).await?;
            check_replica_role(target, &mut problems).await?;
        }
    }
    mapped::check_places(sync, &sites, &mut problems);
    if !problems.is_empty() {
        return Err(ValidateError::Problems { problems });
    }
    if sync.goats.is_empty() {
        validated
            .warnings
            .push(format!("the relgroup of sync \"{}\" is empty: there is nothing to replicate", sync.name));
    }
    if let Some((source, targets)) = sites.split_first_mut() {
        let name = source.db.name.clone();
        let installed = if sync.is_fullcopy() {
            uncaptured(sync, source).await?
        } else {
            install::source(&mut source.conn, &name, sync, &source.relations).await?
        };
        validated.warnings.extend(installed.warnings);
        for target in targets {
            let pair = Pair { sync: sync.name.clone(), source: name.clone(), target: target.db.name.clone() };
            let (baseline, system_id) = (&installed.baseline, source.system_id);
            let registered = match target.role {
                Role::Fullcopy => install::copy_target(&mut target.conn, &pair, baseline, system_id).await,
                _ => {
                    install::target(&source.conn, &mut target.conn, &pair, baseline, system_id, sync.onetimecopy == 1)
                        .await
                }
            };
            registered
                .map_err(|error| ValidateError::sql(&target.db.name, "registering the position".to_owned(), error))?;
        }
    }
    Ok(validated)
}

/// A source that is only copied whole gets nothing, and loses what it had when changes were captured for this sync.
async fn uncaptured(sync: &SyncDetail, source: &mut Site<'_>) -> Result<install::Installed, ValidateError> {
    let name = &source.db.name;
    if !source.is_standby {
        install::forget_source(&mut source.conn, &sync.name).await.map_err(|error| {
            ValidateError::sql(name, format!("forgetting what sync \"{}\" captured", sync.name), error)
        })?;
    }
    install::Installed::nothing(&source.conn)
        .await
        .map_err(|error| ValidateError::sql(name, "reading a snapshot".to_owned(), error))
}

/// Takes a removed sync out of its databases, so that nothing is kept for it. A database that cannot be reached is
/// named in the answer; the others are done.
pub async fn forget_sync(sync: &SyncDetail) -> Vec<String> {
    let mut left = Vec::new();
    for member in sync.members.iter().filter(|member| member.db.active) {
        if let Err(error) = forget(&sync.name, &member.db, member.role).await {
            left.push(format!(
                "sync \"{}\" is still registered in database \"{}\": {}",
                sync.name,
                member.db.name,
                causes(&error)
            ));
        }
    }
    left
}

async fn forget(sync: &SyncName, db: &Db, role: Role) -> Result<(), ValidateError> {
    let mut conn = dial(db).await?;
    let done = match role {
        Role::Source => install::forget_source(&mut conn, sync).await,
        Role::Target | Role::Fullcopy => install::forget_target(&conn, sync).await,
    };
    done.map_err(|error| ValidateError::sql(&db.name, format!("forgetting sync \"{sync}\""), error))
}

/// What can be said of a sync without looking at its databases.
pub(crate) fn check_shape(sync: &SyncDetail) -> Result<(), ValidateError> {
    let name = &sync.name;
    let (sources, targets): (Vec<_>, Vec<_>) =
        sync.members.iter().filter(|member| member.db.active).partition(|member| member.role == Role::Source);
    let (sources, targets) = (sources.len(), targets.len());
    if sources == 0 {
        return Err(ValidateError::problem(format!("sync \"{name}\" has no active source database")));
    }
    if sources > 1 {
        return Err(ValidateError::problem(format!(
            "sync \"{name}\" has {sources} source databases: several sources are not supported yet, use one source and targets"
        )));
    }
    if targets == 0 {
        return Err(ValidateError::problem(format!("sync \"{name}\" has no active target database")));
    }
    let mut problems = Vec::new();
    for member in &sync.members {
        if member.db.kind != "postgres" {
            problems.push(format!(
                "database \"{}\" is of type {}, only postgres is supported yet",
                member.db.name, member.db.kind
            ));
        }
    }
    for goat in sync.tables().filter(|goat| goat.key.is_empty() && !sync.is_fullcopy()) {
        problems.push(format!("Table \"{}.{}\" must specify a primary key!", goat.schema, goat.name));
    }
    if problems.is_empty() { Ok(()) } else { Err(ValidateError::Problems { problems }) }
}

async fn dial(db: &Db) -> Result<Connection, ValidateError> {
    connect(&db.access, "bucardo validate")
        .await
        .map_err(|source| ValidateError::Connect { db: db.name.clone(), source })
}

async fn open<'a>(sync: &SyncDetail, db: &'a Db, role: Role) -> Result<Site<'a>, ValidateError> {
    let conn = dial(db).await?;
    let at = |what: &str| {
        let what = what.to_owned();
        move |error| ValidateError::sql(&db.name, what, error)
    };
    let rights = conn.query_one(RIGHTS.text(), &[]).await.map_err(at("reading the role's rights"))?;
    let goats: Vec<Goat> = match role {
        Role::Source => sync.goats.clone(),
        Role::Target | Role::Fullcopy => sync.goats.iter().map(|goat| sync.goat_on(goat, &db.name)).collect(),
    };
    let relations = relations(&conn, &goats).await.map_err(at("reading tables and columns"))?;
    Ok(Site {
        db,
        role,
        goats,
        relations,
        may_create: rights.get("may_create"),
        may_temp: rights.get("may_temp"),
        role_name: rights.get("role"),
        database: rights.get("database"),
        is_standby: rights.get("is_standby"),
        system_id: rights.get("system_id"),
        server_start: rights.get("server_start"),
        conn,
    })
}

fn check_site(sync: &SyncDetail, site: &Site<'_>, problems: &mut Vec<String>) {
    let db = &site.db.name;
    let is_only_read = site.role == Role::Source && sync.is_fullcopy();
    if site.is_standby && !is_only_read {
        problems.push(format!("database \"{db}\" is a standby and cannot be written to"));
    }
    if !site.may_create && !is_only_read {
        problems.push(format!(
            "role \"{}\" may not create in database \"{db}\": run GRANT CREATE ON DATABASE \"{}\" TO \"{}\", or make it the owner of schema bucardo",
            site.role_name, site.database, site.role_name
        ));
    }
    if !site.may_temp && !is_only_read {
        problems.push(format!(
            "role \"{}\" may not make temporary tables in database \"{db}\": run GRANT TEMPORARY ON DATABASE \"{}\" TO \"{}\"",
            site.role_name, site.database, site.role_name
        ));
    }
    for (goat, relation) in site.goats.iter().zip(&site.relations) {
        check_relation(goat, relation, site, is_only_read, problems);
    }
}

fn check_relation(goat: &Goat, relation: &Relation, site: &Site<'_>, is_only_read: bool, problems: &mut Vec<String>) {
    let (db, schema, name, role) = (&site.db.name, &goat.schema, &goat.name, &site.role_name);
    if !relation.schema_exists {
        problems.push(format!("Could not find schema \"{schema}\" in database \"{db}\"!"));
        return;
    }
    if relation.oid.is_none() {
        problems.push(format!("Could not find \"{name}\" inside the \"{schema}\" schema on database \"{db}\"!"));
        return;
    }
    let (fits, expected) = match goat.kind {
        GoatKind::Table => (relation.is_table(), "table"),
        GoatKind::Sequence => (relation.kind == "S", "sequence"),
    };
    if !fits {
        let kind = relation.kind_words();
        problems.push(format!("\"{schema}.{name}\" on database \"{db}\" is a {kind}, not a {expected}!"));
        return;
    }
    for column in goat.key.iter().filter(|_| goat.kind == GoatKind::Table) {
        if relation.column(column).is_none() {
            problems.push(format!("table \"{schema}.{name}\" on database \"{db}\" has no key column \"{column}\""));
        }
    }
    if relation.is_policed {
        problems.push(format!(
            "row-level security hides rows of \"{schema}.{name}\" in database \"{db}\" from role \"{role}\": run ALTER ROLE \"{role}\" BYPASSRLS"
        ));
    }
    let mut wants: Vec<&str> = Vec::new();
    if !relation.may_select {
        wants.push("SELECT");
    }
    match site.role {
        Role::Source if goat.kind == GoatKind::Table && !relation.may_trigger && !is_only_read => wants.push("TRIGGER"),
        Role::Target | Role::Fullcopy if !relation.may_write => {
            wants.push(if goat.kind == GoatKind::Table { "INSERT, UPDATE, DELETE, TRUNCATE" } else { "UPDATE" });
        }
        Role::Source | Role::Target | Role::Fullcopy => {}
    }
    if !wants.is_empty() {
        let (wants, kind) = (wants.join(", "), if goat.kind == GoatKind::Table { "TABLE" } else { "SEQUENCE" });
        problems.push(format!(
            "role \"{role}\" lacks rights on \"{schema}.{name}\" in database \"{db}\": run GRANT {wants} ON {kind} \"{schema}\".\"{name}\" TO \"{role}\""
        ));
    }
}

fn check_columns(
    sync: &SyncDetail,
    source: &Site<'_>,
    target: &Site<'_>,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) {
    for (place, goat) in sync.goats.iter().enumerate() {
        let (from, to) = (&source.relations[place], &target.relations[place]);
        if !from.is_table() || !to.is_table() {
            continue;
        }
        let mapping = sync.mapping(goat, &target.db.name);
        if mapping.is_some_and(|mapping| mapping.columns.is_some()) {
            continue;
        }
        // A table of another name is somebody's own: it may have more columns, and in another order.
        let renamed = mapping.is_some_and(|mapping| mapping.name.is_some());
        for difference in compare(from, to, sync.strict_checking && goat.strict_checking && !renamed) {
            let there = &target.goats[place];
            let place = format!("table \"{}.{}\" on database \"{}\"", there.schema, there.name, target.db.name);
            match difference {
                Difference::Fault(text) => problems.push(format!("{place}: {text} (source is \"{}\")", source.db.name)),
                Difference::Warning(text) => warnings.push(format!("{place}: {text}")),
            }
        }
    }
}

/// Rows are written with triggers, rules and foreign keys quiet; that takes a right of its own.
async fn check_replica_role(site: &Site<'_>, problems: &mut Vec<String>) -> Result<(), ValidateError> {
    let set = "SET session_replication_role = replica; RESET session_replication_role";
    match site.conn.batch_execute(set).await {
        Ok(()) => Ok(()),
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE) => {
            let (role, db) = (&site.role_name, &site.db.name);
            let how = if site.conn.server_version() >= 150_000 {
                format!("run GRANT SET ON PARAMETER session_replication_role TO \"{role}\"")
            } else {
                format!("servers before version 15 ask for a superuser: run ALTER ROLE \"{role}\" SUPERUSER")
            };
            problems.push(format!("role \"{role}\" may not set session_replication_role in database \"{db}\": {how}"));
            Ok(())
        }
        Err(error) => Err(ValidateError::sql(&site.db.name, "setting session_replication_role".to_owned(), error)),
    }
}
