//! From rows of the catalog to the syncs that the engine runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bucardo_actors::model::{DbName, SyncName};
use tokio_postgres::{GenericClient, Row};

use super::dbs::{self, DbRow};
use super::query::{Query, query};
use super::{
    Budget, CatalogError, CopyLimits, Db, DeleteMethod, Goat, GoatKind, LockMode, MakeDelta, Mapping, Member,
    QueuePolicy, Role, SyncDetail, settings,
};
use crate::custom::{Code, Hook, Language, Limits as CodeLimits};
use crate::pg::{Access, RelationName};

const SYNCS: Query = query!("read the syncs", "sync_load");
const MEMBERS: Query = query!("read the databases of the syncs", "sync_load_members");
const GOATS: Query = query!("read the tables of the syncs", "sync_load_goats");
const MAPPINGS: Query = query!("read the names, columns and filters of the syncs", "sync_load_mappings");
const CODES: Query = query!("read the custom codes of the syncs", "sync_load_codes");
const BATCH_ROWS_MAX: i64 = 500_000;
/// Seconds.
const ENDSYNC_SLEEP: f64 = 1.0;
const CONFLICT_STRATEGY: &str = "bucardo_latest";

/// Every sync with all that the engine needs, in processing order.
///
/// # Errors
///
/// [`CatalogError::Sql`], or a setting that makes no sense. A sync whose own rows make no sense is no error: it
/// carries a `problem`, so that it does not keep the others from running.
pub async fn load_syncs(client: &impl GenericClient) -> Result<Vec<SyncDetail>, CatalogError> {
    load(client, None).await
}

/// One sync, if it exists.
///
/// # Errors
///
/// As [`load_syncs`].
pub async fn load_sync(client: &impl GenericClient, name: &SyncName) -> Result<Option<SyncDetail>, CatalogError> {
    Ok(load(client, Some(name.as_str())).await?.pop())
}

async fn load(client: &impl GenericClient, name: Option<&str>) -> Result<Vec<SyncDetail>, CatalogError> {
    let settings = settings::load(client).await?;
    let usual = Usual::of(&settings)?;
    let rows = dbs::rows(client, None).await?;
    let budget = budget(&settings)?;
    let dbs: Databases = rows.iter().map(|row| (row.name.clone(), database(row, budget))).collect();
    let members = by_sync(MEMBERS.rows(client, &[&name]).await?);
    let goats = by_sync(GOATS.rows(client, &[&name]).await?);
    let mappings = by_sync(MAPPINGS.rows(client, &[&name]).await?);
    let codes = by_sync(CODES.rows(client, &[&name]).await?);
    let mut syncs = Vec::new();
    for row in SYNCS.rows(client, &[&name]).await? {
        let sync: String = row.get("name");
        let (mut detail, code_limits) = match Usual::of(&settings.for_sync(&sync)) {
            Ok(own) => (sync_of(&row, &own), own.codes),
            Err(error) => {
                let problem = Some(format!("{error}, for this sync"));
                (SyncDetail { problem, ..sync_of(&row, &usual) }, usual.codes)
            }
        };
        for row in members.get(&sync).into_iter().flatten() {
            add_member(&mut detail, row, &dbs);
        }
        detail.goats = goats.get(&sync).into_iter().flatten().map(goat_of).collect();
        detail.mappings = mappings.get(&sync).into_iter().flatten().map(mapping_of).collect();
        for row in codes.get(&sync).into_iter().flatten() {
            add_code(&mut detail, row, code_limits);
        }
        complain_of_missing(&mut detail, &row);
        syncs.push(detail);
    }
    Ok(syncs)
}

/// What a sync gets that says nothing else.
struct Usual<'a> {
    batch_rows_max: i64,
    endsync_sleep: Duration,
    strategy: &'a str,
    isolation_level: String,
    copy: CopyLimits,
    codes: CodeLimits,
}

impl<'a> Usual<'a> {
    fn of(settings: &'a settings::Settings) -> Result<Self, CatalogError> {
        let strategy = settings.text("default_conflict_strategy").map(str::trim).filter(|words| !words.is_empty());
        Ok(Self {
            batch_rows_max: settings.number("batch_rows_max")?.filter(|rows| *rows > 0).unwrap_or(BATCH_ROWS_MAX),
            endsync_sleep: endsync_sleep(settings)?,
            strategy: strategy.unwrap_or(CONFLICT_STRATEGY),
            isolation_level: settings.text("isolation_level").unwrap_or_default().to_lowercase(),
            copy: copy_limits(settings)?,
            codes: code_limits(settings)?,
        })
    }
}

fn endsync_sleep(settings: &settings::Settings) -> Result<Duration, CatalogError> {
    let seconds = settings.number::<f64>("endsync_sleep")?.unwrap_or(ENDSYNC_SLEEP);
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// What custom codes may take.
///
/// # Errors
///
/// [`CatalogError::Value`].
pub fn code_limits(settings: &settings::Settings) -> Result<CodeLimits, CatalogError> {
    let shipped = CodeLimits::default();
    let seconds = |name: &str, shipped: Duration| {
        let seconds = settings.number::<f64>(name)?.and_then(|some| Duration::try_from_secs_f64(some).ok());
        Ok::<_, CatalogError>(seconds.filter(|some| !some.is_zero()).unwrap_or(shipped))
    };
    Ok(CodeLimits {
        timeout: seconds("customcode_timeout", shipped.timeout)?,
        run: seconds("customcode_run_timeout", shipped.run)?,
        memory_mb: settings.number("customcode_memory_mb")?.filter(|mb| *mb > 0).unwrap_or(shipped.memory_mb),
    })
}

fn copy_limits(settings: &settings::Settings) -> Result<CopyLimits, CatalogError> {
    let shipped = CopyLimits::default();
    let bytes = |name: &str, shipped: i64| {
        let megabytes = settings.number::<u32>(name)?;
        Ok::<i64, CatalogError>(megabytes.map_or(shipped, |megabytes| i64::from(megabytes) << 20))
    };
    Ok(CopyLimits {
        workers: settings.number("copy_workers")?.unwrap_or(shipped.workers).max(1),
        chunk_bytes: bytes("copy_chunk_mb", shipped.chunk_bytes)?.max(1 << 20),
        atomic_bytes: bytes("copy_atomic_mb", shipped.atomic_bytes)?,
    })
}

fn by_sync(rows: Vec<Row>) -> BTreeMap<String, Vec<Row>> {
    let mut sorted: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows {
        sorted.entry(row.get("sync")).or_default().push(row);
    }
    sorted
}

/// Databases by name.
type Databases = BTreeMap<String, Database>;

/// A database of the catalog.
struct Database {
    db: Arc<Db>,
    makedelta: bool,
    /// What is wrong with its row.
    problem: Option<String>,
}

/// What databases may keep that say nothing else.
fn budget(settings: &settings::Settings) -> Result<Budget, CatalogError> {
    let policy = settings.text("queue_policy").map_or("warn", str::trim);
    let seconds: Option<f64> = settings.number("queue_age_max")?;
    Ok(Budget {
        rows_max: settings.number("queue_rows_max")?.filter(|rows| *rows > 0),
        bytes_max: settings.number::<u32>("queue_mb_max")?.map(|mb| i64::from(mb) << 20).filter(|bytes| *bytes > 0),
        age_max: age(seconds),
        policy: QueuePolicy::parse(policy).ok_or_else(|| CatalogError::Value {
            what: "setting \"queue_policy\"".to_owned(),
            why: format!("\"{policy}\" is none of warn, stall, copy"),
        })?,
    })
}

fn age(seconds: Option<f64>) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds?).ok().filter(|age| !age.is_zero())
}

fn database(row: &DbRow, usual: Budget) -> Database {
    let (access, problem) = match row.access() {
        Ok(access) => (access, None),
        Err(error) => (Access::new(), Some(format!("database \"{}\" of the catalog: {error}", row.name))),
    };
    let name = DbName::from(row.name.as_str());
    let queue = &row.queue;
    let budget = Budget {
        rows_max: queue.rows_max.map_or(usual.rows_max, |rows| Some(rows).filter(|rows| *rows > 0)),
        bytes_max: queue.mb_max.map_or(usual.bytes_max, |mb| mb.checked_shl(20).filter(|bytes| *bytes > 0)),
        age_max: queue.age_max.map_or(usual.age_max, |seconds| age(Some(seconds))),
        policy: queue.policy.as_deref().and_then(QueuePolicy::parse).unwrap_or(usual.policy),
    };
    let db = Arc::new(Db {
        name,
        access,
        kind: row.kind.clone(),
        active: row.status != "inactive",
        budget,
        sourcelimit: limit(row.sourcelimit),
        targetlimit: limit(row.targetlimit),
    });
    Database { db, makedelta: row.makedelta, problem }
}

/// 0: none.
fn limit(value: i16) -> Option<usize> {
    usize::try_from(value).ok().filter(|limit| *limit > 0)
}

fn sync_of(row: &Row, usual: &Usual<'_>) -> SyncDetail {
    let isolation_level = row.get::<_, Option<&str>>("isolation_level").unwrap_or(&usual.isolation_level);
    let (lock, problem) = match row.get::<_, Option<&str>>("lock_table_force") {
        None => (None, None),
        Some(words) => match LockMode::parse(words) {
            Some(mode) => (Some(mode), None),
            None => (None, Some(format!("\"{words}\" is no lock mode (lock_table_force)"))),
        },
    };
    let interval = |column: &str| {
        let seconds: Option<f64> = row.get(column);
        seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).filter(|time| !time.is_zero())
    };
    let deletemethod = match row.get::<_, &str>("deletemethod") {
        "truncate" => DeleteMethod::Truncate,
        "truncate_cascade" => DeleteMethod::TruncateCascade,
        _ => DeleteMethod::Delete,
    };
    SyncDetail {
        name: SyncName::from(row.get::<_, &str>("name")),
        status: row.get("status"),
        dbgroup: row.get("dbs"),
        members: Vec::new(),
        goats: Vec::new(),
        mappings: Vec::new(),
        codes: Vec::new(),
        autokick: row.get("autokick"),
        do_listen: row.get("do_listen"),
        limitdbs: limit(row.get("limitdbs")),
        priority: i32::from(row.get::<_, i16>("priority")),
        checktime: interval("checktime"),
        lifetime: interval("lifetime"),
        maxkicks: u32::try_from(row.get::<_, i32>("maxkicks")).ok().filter(|most| *most > 0),
        stayalive: row.get("stayalive"),
        kidsalive: row.get("kidsalive"),
        onetimecopy: row.get("onetimecopy"),
        copy_request: row.get("copy_request"),
        deletemethod,
        analyze_after_copy: row.get("analyze_after_copy"),
        vacuum_after_copy: row.get("vacuum_after_copy"),
        rebuild_index: row.get("rebuild_index"),
        copyextra: row.get("copyextra"),
        strict_checking: row.get("strict_checking"),
        conflict_strategy: row
            .get::<_, Option<String>>("conflict_strategy")
            .unwrap_or_else(|| usual.strategy.to_owned()),
        makedelta: row.get("makedelta"),
        deadletter: row.get("deadletter"),
        serializable: isolation_level == "serializable",
        lock,
        batch_rows_max: usual.batch_rows_max,
        endsync_sleep: usual.endsync_sleep,
        copy: usual.copy,
        problem,
    }
}

fn add_member(detail: &mut SyncDetail, row: &Row, dbs: &Databases) {
    let (name, role): (&str, &str) = (row.get("db"), row.get("role"));
    let role = match role {
        "source" => Role::Source,
        "target" => Role::Target,
        "fullcopy" => Role::Fullcopy,
        other => {
            let group: &str = row.get("sync");
            detail.problem = Some(format!("database \"{name}\" has the unknown role \"{other}\" in sync \"{group}\""));
            return;
        }
    };
    if let Some(known) = dbs.get(name) {
        if known.db.active && known.problem.is_some() {
            detail.problem.clone_from(&known.problem);
        }
        let makedelta = row.get::<_, Option<bool>>("makedelta").unwrap_or(known.makedelta || detail.makedelta);
        let priority = i32::from(row.get::<_, i16>("priority"));
        detail.members.push(Member { db: known.db.clone(), role, priority, makedelta });
    }
}

fn goat_of(row: &Row) -> Goat {
    Goat {
        id: row.get("id"),
        schema: row.get("schemaname"),
        name: row.get("tablename"),
        kind: if row.get::<_, &str>("reltype") == "sequence" { GoatKind::Sequence } else { GoatKind::Table },
        key: row.get("key_columns"),
        autokick: row.get("autokick"),
        strict_checking: row.get("strict_checking"),
        analyze_after_copy: row.get("analyze_after_copy"),
        vacuum_after_copy: row.get("vacuum_after_copy"),
        rebuild_index: row.get("rebuild_index"),
        ghost: row.get("ghost"),
        conflict_strategy: row.get("conflict_strategy"),
        makedelta: row.get::<_, Option<&str>>("makedelta").and_then(MakeDelta::parse),
    }
}

fn mapping_of(row: &Row) -> Mapping {
    Mapping {
        goat: row.get("goat"),
        db: row.get::<_, &str>("db").into(),
        name: row.get::<_, Option<&str>>("newname").map(RelationName::parse),
        columns: row.get("columns"),
        filter: row.get("filter"),
    }
}

fn add_code(detail: &mut SyncDetail, row: &Row, limits: CodeLimits) {
    let (name, whenrun, language): (String, &str, &str) = (row.get("name"), row.get("whenrun"), row.get("language"));
    let (Some(hook), Some(language)) = (Hook::parse(whenrun), Language::parse(language)) else {
        detail.problem =
            Some(format!("custom code \"{name}\" is for \"{whenrun}\" in \"{language}\", which is unknown"));
        return;
    };
    detail.codes.push(Code {
        id: row.get("id"),
        name,
        hook,
        language,
        source: row.get("src_code"),
        getdbh: row.get("getdbh"),
        getrows: row.get("getrows"),
        goat: row.get("goat"),
        limits,
    });
}

fn complain_of_missing(detail: &mut SyncDetail, row: &Row) {
    let name = &detail.name;
    for (column, what) in [("herd", "relgroup"), ("dbs", "dbgroup")] {
        if row.get::<_, &str>(column).is_empty() {
            detail.problem = Some(format!("sync \"{name}\" has no {what}"));
        }
    }
}
