//! One database of a sync as a validation finds it: who we are there, what the tables are, whether we may do what is
//! needed.

use std::collections::HashMap;

use postgres_types::Oid;

use super::install::exists;
use super::relation::{Relation, relations};
use super::validate::ValidateError;
use crate::catalog::{Db, Goat, GoatKind, Role, SyncDetail};
use crate::pg::{Connection, Sql, SqlFile, connect};

const RIGHTS: SqlFile = SqlFile::new(include_str!("../../sql/source/rights.sql"));
const NESTED: SqlFile = SqlFile::new(include_str!("../../sql/source/nested.sql"));
const OTHERS_CAPTURED: SqlFile = SqlFile::new(include_str!("../../sql/source/others_captured.sql"));

/// One database of the sync, connected and looked at.
pub(super) struct Site<'a> {
    pub(super) db: &'a Db,
    pub(super) role: Role,
    pub(super) conn: Connection,
    /// Changes are captured here.
    is_captured: bool,
    /// Rows are written here.
    is_written: bool,
    /// The goats by the names that they have here, and what these names stand for.
    pub(super) goats: Vec<Goat>,
    pub(super) relations: Vec<Relation>,
    may_create: bool,
    /// Whose the schema `bucardo` is, quoted; `None`: there is none yet.
    schema_owner: Option<String>,
    may_temp: bool,
    role_name: String,
    /// The role of those who administer a server that somebody else runs.
    administrators: Option<String>,
    database: String,
    pub(super) is_standby: bool,
    /// Its cluster.
    pub(super) system_id: i64,
    server_start: String,
}

impl Site<'_> {
    /// Nothing is put here.
    fn is_only_read(&self) -> bool {
        !self.is_captured && !self.is_written
    }

    /// Two entries of the catalog may reach one database.
    pub(super) fn is_same_database(&self, other: &Self) -> bool {
        (self.system_id, &self.server_start, &self.database) == (other.system_id, &other.server_start, &other.database)
    }
}

pub(super) async fn dial(db: &Db) -> Result<Connection, ValidateError> {
    connect(&db.access, "bucardo validate")
        .await
        .map_err(|source| ValidateError::Connect { db: db.name.clone(), source })
}

/// Connects, and reads what the checks need.
pub(super) async fn open<'a>(sync: &SyncDetail, db: &'a Db, role: Role) -> Result<Site<'a>, ValidateError> {
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
        is_captured: role == Role::Source && !sync.is_fullcopy(),
        is_written: role != Role::Source || sync.is_merging(),
        goats,
        relations,
        may_create: rights.get("may_create"),
        schema_owner: rights.get("schema_owner"),
        may_temp: rights.get("may_temp"),
        role_name: rights.get("role"),
        administrators: rights.get("administrators"),
        database: rights.get("database"),
        is_standby: rights.get("is_standby"),
        system_id: rights.get("system_id"),
        server_start: rights.get("server_start"),
        conn,
    })
}

/// Adds to `problems` what keeps the sync from using this database.
pub(super) async fn check_site(
    sync: &SyncDetail,
    site: &Site<'_>,
    problems: &mut Vec<String>,
) -> Result<(), ValidateError> {
    let db = &site.db.name;
    let is_only_read = site.is_only_read();
    if site.is_standby && !is_only_read {
        problems.push(format!("database \"{db}\" is a standby and cannot be written to"));
    }
    if !site.may_create && !is_only_read {
        let (role, role_ident) = (&site.role_name, Sql::ident(&site.role_name));
        problems.push(match &site.schema_owner {
            Some(owner) => format!(
                "role \"{role}\" may not create in schema bucardo of database \"{db}\": run GRANT {owner} TO {role_ident}, or connect as {owner}, whose schema it is"
            ),
            None => format!(
                "role \"{role}\" may not create in database \"{db}\": run GRANT CREATE ON DATABASE {} TO {role_ident}",
                Sql::ident(&site.database)
            ),
        });
    }
    if !site.may_temp && !is_only_read {
        problems.push(format!(
            "role \"{}\" may not make temporary tables in database \"{db}\": run GRANT TEMPORARY ON DATABASE {} TO {}",
            site.role_name,
            Sql::ident(&site.database),
            Sql::ident(&site.role_name)
        ));
    }
    for (goat, relation) in site.goats.iter().zip(&site.relations) {
        check_relation(goat, relation, site, problems);
    }
    if site.is_captured {
        check_nested(sync, site, problems).await?;
    }
    if site.is_written {
        check_replica_role(site, problems).await?;
    }
    Ok(())
}

/// A partition is captured with its table: twice is once too often, in one sync or in two.
async fn check_nested(sync: &SyncDetail, site: &Site<'_>, problems: &mut Vec<String>) -> Result<(), ValidateError> {
    let failed = |error| ValidateError::sql(&site.db.name, "looking for partitions".to_owned(), error);
    // Each with its name, and whether it is in this sync.
    let mut tables: HashMap<Oid, (String, bool)> = HashMap::new();
    if exists(&site.conn, "bucardo.captured").await.map_err(failed)? {
        for row in site.conn.query(OTHERS_CAPTURED.text(), &[&sync.name.as_str()]).await.map_err(failed)? {
            let name = format!("{}.{}", row.get::<_, &str>("schemaname"), row.get::<_, &str>("tablename"));
            tables.insert(row.get("relation"), (name, false));
        }
    }
    for (goat, relation) in site.goats.iter().zip(&site.relations).filter(|(_, relation)| relation.is_table()) {
        if let Some(oid) = relation.oid {
            tables.insert(oid, (goat.label(), true));
        }
    }
    let oids: Vec<Oid> = tables.keys().copied().collect();
    for row in site.conn.query(NESTED.text(), &[&oids]).await.map_err(failed)? {
        let (oid, parent): (Oid, Oid) = (row.get("oid"), row.get("parent"));
        let (Some((name, is_own)), Some((above, has_own))) = (tables.get(&oid), tables.get(&parent)) else { continue };
        let whose = match (is_own, has_own) {
            (true, true) => format!("both are in sync \"{}\"", sync.name),
            (true, false) => format!("\"{above}\" is in another sync"),
            (false, true) => format!("\"{name}\" is in another sync"),
            (false, false) => continue,
        };
        problems.push(format!(
            "\"{name}\" is a partition of \"{above}\" in database \"{}\", and {whose}: replicate the whole table, or its partitions without it",
            site.db.name
        ));
    }
    Ok(())
}

fn check_relation(goat: &Goat, relation: &Relation, site: &Site<'_>, problems: &mut Vec<String>) {
    let (db, schema, name, role) = (&site.db.name, &goat.schema, &goat.name, &site.role_name);
    let grantee = Sql::ident(role);
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
            "row-level security hides rows of \"{schema}.{name}\" in database \"{db}\" from role \"{role}\": run ALTER ROLE {grantee} BYPASSRLS"
        ));
    }
    if site.is_captured {
        check_pieces(goat, relation, site, problems);
    }
    let mut wants: Vec<&str> = Vec::new();
    if !relation.may_select {
        wants.push("SELECT");
    }
    if site.is_captured && goat.kind == GoatKind::Table && !relation.may_trigger {
        wants.push("TRIGGER");
    }
    if site.is_written && !relation.may_write {
        wants.push(if goat.kind == GoatKind::Table { "INSERT, UPDATE, DELETE, TRUNCATE" } else { "UPDATE" });
    }
    if !wants.is_empty() {
        let (wants, kind) = (wants.join(", "), if goat.kind == GoatKind::Table { "TABLE" } else { "SEQUENCE" });
        problems.push(format!(
            "role \"{role}\" lacks rights on \"{schema}.{name}\" in database \"{db}\": run GRANT {wants} ON {kind} {} TO {grantee}",
            Sql::qualified(schema, name)
        ));
    }
}

/// Partitions are captured each on its own, since they may be written to directly.
fn check_pieces(goat: &Goat, relation: &Relation, site: &Site<'_>, problems: &mut Vec<String>) {
    let (db, table, role, grantee) = (&site.db.name, goat.label(), &site.role_name, Sql::ident(&site.role_name));
    if !relation.pieces_denied.is_empty() {
        problems.push(format!(
            "role \"{role}\" lacks rights on partitions of \"{table}\" in database \"{db}\": run GRANT SELECT, TRIGGER ON TABLE {} TO {grantee}",
            relation.pieces_denied.join(", ")
        ));
    }
    if !relation.pieces_policed.is_empty() {
        problems.push(format!(
            "row-level security hides rows of {}, partitions of \"{table}\", in database \"{db}\" from role \"{role}\": run ALTER ROLE {grantee} BYPASSRLS",
            relation.pieces_policed.join(", ")
        ));
    }
}

/// Rows are written with triggers, rules and foreign keys quiet; that takes a right of its own.
async fn check_replica_role(site: &Site<'_>, problems: &mut Vec<String>) -> Result<(), ValidateError> {
    let set = "SET session_replication_role = replica; RESET session_replication_role";
    match site.conn.batch_execute(set).await {
        Ok(()) => Ok(()),
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE) => {
            let (role, db) = (&site.role_name, &site.db.name);
            let grantee = Sql::ident(role);
            let how = if let Some(group) = &site.administrators {
                // Amazon RDS, Google Cloud SQL and Azure give that right to the members of this role.
                format!(
                    "this server is a managed one: run GRANT {} TO {grantee} as its administrator",
                    Sql::ident(group)
                )
            } else if site.conn.server_version() >= 150_000 {
                format!("run GRANT SET ON PARAMETER session_replication_role TO {grantee}")
            } else {
                format!("servers before version 15 ask for a superuser: run ALTER ROLE {grantee} SUPERUSER")
            };
            problems.push(format!("role \"{role}\" may not set session_replication_role in database \"{db}\": {how}"));
            Ok(())
        }
        Err(error) => Err(ValidateError::sql(&site.db.name, "setting session_replication_role".to_owned(), error)),
    }
}
