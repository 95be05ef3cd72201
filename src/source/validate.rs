//! Can this sync run, and if so: put what it needs into its databases.
//!
//! Everything is checked first, in all databases, and every problem found is told; only then is anything changed.

use futures_util::future::{join_all, try_join_all};

use bucardo_actors::model::{DbName, Failure, SyncName};

use super::compare::{Difference, compare};
use super::lacking_indexes::{self, LackingIndexes};
use super::site::{self, Site};
use super::{codes, forget, install, mapped, registry, strategies};
use crate::catalog::{Db, Role, SyncDetail};
use crate::pg::{ConnectError, causes, classify};
use crate::progress;

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

/// Checks that `sync` can run and installs what it needs: capture on its sources, positions on its targets and on every
/// source that reads others. A source of which only whole copies are made is read and gets nothing.
///
/// A database of a sync with several sources may be away, as long as two sources are there: a warning names it, the
/// others keep what it will have to read, and [`join`] puts it in when it is back.
///
/// May be run again at any time, also while the sync runs: what is in place is left alone.
///
/// # Errors
///
/// See [`ValidateError`].
pub async fn validate_sync(sync: &SyncDetail) -> Result<Validated, ValidateError> {
    check_shape(sync)?;
    let mut validated = Validated::default();
    let mut away = Vec::new();
    let (mut sites, absent) = reach(sync).await?;
    for (db, error) in absent {
        if sync.is_merging() && error.failure() == Failure::Transient {
            away.push((db, error));
        } else {
            return Err(error);
        }
    }
    check_enough(sync, &sites, &mut away)?;
    for (db, error) in &away {
        validated.warnings.push(format!(
            "database \"{db}\" is away: {}; sync \"{}\" runs without it, keeps what it will have to read, and installs it when it is back",
            causes(error),
            sync.name
        ));
    }
    let problems = check_whole(sync, &sites, &mut validated.warnings).await?;
    if !problems.is_empty() {
        return Err(ValidateError::Problems { problems });
    }
    if sync.goats.is_empty() {
        validated
            .warnings
            .push(format!("the relgroup of sync \"{}\" is empty: there is nothing to replicate", sync.name));
    }
    put(sync, &mut sites, &mut validated.warnings).await?;
    Ok(validated)
}

/// What was found wrong with a sync, and what should be known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Each keeps the sync, or one of its databases, from working.
    pub problems: Vec<String>,
    /// Things that a person should know.
    pub warnings: Vec<String>,
}

/// The checks of [`validate_sync`], of all that can be reached. Nothing is changed.
///
/// # Errors
///
/// See [`ValidateError`]; databases that cannot be reached are problems.
pub async fn check_sync(sync: &SyncDetail) -> Result<Checked, ValidateError> {
    check_shape(sync)?;
    let mut checked = Checked::default();
    let (sites, away) = reach(sync).await?;
    checked.problems.extend(away.iter().map(|(_, error)| causes(error)));
    checked.problems.extend(check_whole(sync, &sites, &mut checked.warnings).await?);
    Ok(checked)
}

/// The checks of [`validate_present`]: as [`check_sync`], but a database that is away is no problem unless it is a source.
///
/// # Errors
///
/// See [`ValidateError`].
pub async fn check_present(sync: &SyncDetail) -> Result<Checked, ValidateError> {
    check_shape(sync)?;
    let mut checked = Checked::default();
    let (sites, away) = reach(sync).await?;
    for (db, error) in &away {
        let told = causes(error);
        let list = if sync.role(db) == Some(Role::Source) { &mut checked.problems } else { &mut checked.warnings };
        list.push(told);
    }
    checked.problems.extend(check_whole(sync, &sites, &mut checked.warnings).await?);
    Ok(checked)
}

/// As [`validate_sync`], where the sources keep changes for those that are away: these may be targets, too, and are put
/// in when they are back.
///
/// # Errors
///
/// See [`ValidateError`].
pub async fn validate_present(sync: &SyncDetail) -> Result<Validated, ValidateError> {
    check_shape(sync)?;
    let mut validated = Validated::default();
    let (mut sites, mut away) = reach(sync).await?;
    if let Some(place) = away.iter().position(|(db, _)| sync.role(db) == Some(Role::Source)) {
        return Err(away.swap_remove(place).1);
    }
    for (db, error) in &away {
        validated.warnings.push(format!(
            "database \"{db}\" is away: {}; sync \"{}\" keeps what it will have to read, and installs it when it is back",
            causes(error),
            sync.name
        ));
    }
    let problems = check_whole(sync, &sites, &mut validated.warnings).await?;
    if !problems.is_empty() {
        return Err(ValidateError::Problems { problems });
    }
    put(sync, &mut sites, &mut validated.warnings).await?;
    Ok(validated)
}

/// Installs `db`, which was away or unfit when the sync was validated. Other databases that are away or unfit are left
/// for later. `None`: the sync has one source, and that does not keep changes for `db`.
///
/// May be run by several at once. Stopped half-way, it is done by the next call.
///
/// # Errors
///
/// See [`ValidateError`]; problems of other databases are no error.
pub async fn join(sync: &SyncDetail, db: &DbName) -> Result<Option<Validated>, ValidateError> {
    check_shape(sync)?;
    let mut validated = Validated::default();
    let (mut sites, mut away) = reach(sync).await?;
    if !sync.is_merging() && !is_expected(sync, db, &sites).await? {
        return Ok(None);
    }
    if let Some(place) = away.iter().position(|(absent, _)| absent == db) {
        return Err(away.swap_remove(place).1);
    }
    let problems = check(sync, &sites, &mut validated.warnings).await?;
    let own: Vec<String> = problems.iter().filter(|(of, _)| of == db).map(|(_, problem)| problem.clone()).collect();
    if !own.is_empty() {
        return Err(ValidateError::Problems { problems: own });
    }
    sites.retain(|site| !problems.iter().any(|(of, _)| *of == site.db.name));
    check_enough(sync, &sites, &mut away)?;
    put(sync, &mut sites, &mut validated.warnings).await?;
    Ok(Some(validated))
}

async fn is_expected(sync: &SyncDetail, db: &DbName, sites: &[Site<'_>]) -> Result<bool, ValidateError> {
    let Some(source) = sites.iter().find(|site| site.role == Role::Source) else { return Ok(false) };
    let looked = registry::is_expected(&source.conn, &sync.name, db).await;
    looked.map_err(|error| ValidateError::sql(&source.db.name, format!("looking how far \"{db}\" has read"), error))
}

/// The databases that can be reached, in order, and why the others cannot.
async fn reach(sync: &SyncDetail) -> Result<(Vec<Site<'_>>, Vec<(DbName, ValidateError)>), ValidateError> {
    let opening =
        sync.members.iter().filter(|member| member.db.active).map(|member| async {
            (member.db.name.clone(), Box::pin(site::open(sync, &member.db, member.role)).await)
        });
    let (mut sites, mut away) = (Vec::new(), Vec::new());
    for (db, opened) in join_all(opening).await {
        match opened {
            Ok(site) => sites.push(site),
            Err(error) => away.push((db, error)),
        }
    }
    Ok((sites, away))
}

/// What is there of the sync can run.
fn check_enough(
    sync: &SyncDetail,
    sites: &[Site<'_>],
    away: &mut Vec<(DbName, ValidateError)>,
) -> Result<(), ValidateError> {
    let sources = sites.iter().filter(|site| site.role == Role::Source).count();
    if sources >= 2 || !sync.is_merging() {
        return Ok(());
    }
    let is_source = |(db, _): &(DbName, _)| sync.role(db) == Some(Role::Source);
    match away.iter().position(is_source) {
        Some(place) => Err(away.swap_remove(place).1),
        None => Err(ValidateError::problem(format!("fewer than two sources of sync \"{}\" can be used", sync.name))),
    }
}

/// What keeps the sync from running, as far as that can be seen.
async fn check_whole(
    sync: &SyncDetail,
    sites: &[Site<'_>],
    warnings: &mut Vec<String>,
) -> Result<Vec<String>, ValidateError> {
    progress::step(|| format!("sync \"{}\": comparing {} relations in its databases", sync.name, sync.goats.len()));
    let mut problems: Vec<String> =
        check(sync, sites, warnings).await?.into_iter().map(|(_, problem)| problem).collect();
    problems.extend(codes::problems(sync, sites, warnings).await);
    Ok(problems)
}

/// What keeps the sync from using its databases: the database that has to change, and a sentence.
type Problems = Vec<(DbName, String)>;

async fn check(sync: &SyncDetail, sites: &[Site<'_>], warnings: &mut Vec<String>) -> Result<Problems, ValidateError> {
    let mut problems = Problems::new();
    // Members are sorted: the sources are first.
    let Some((first, others)) = sites.split_first() else { return Ok(problems) };
    for site in sites {
        let mut found = Vec::new();
        site::check_site(sync, site, &mut found).await?;
        if site.role == Role::Source {
            mapped::check_source(sync, site, &mut found);
        }
        problems.extend(found.into_iter().map(|problem| (site.db.name.clone(), problem)));
    }
    for other in others {
        let mut found = Vec::new();
        check_columns(sync, first, other, &mut found, warnings);
        for source in sites.iter().filter(|site| site.role == Role::Source && other.role != Role::Source) {
            mapped::check_clauses(sync, source, other, &mut found, warnings).await?;
        }
        problems.extend(found.into_iter().map(|problem| (other.db.name.clone(), problem)));
    }
    problems.extend(mapped::check_places(sync, sites));
    Ok(problems)
}

/// Puts into the databases what the sync needs; nothing of it is there twice.
async fn put(sync: &SyncDetail, sites: &mut [Site<'_>], warnings: &mut Vec<String>) -> Result<(), ValidateError> {
    let name = &sync.name;
    let (sources, targets) = sites.split_at_mut(sites.iter().take_while(|site| site.role == Role::Source).count());
    if sync.is_fullcopy() {
        for source in &mut *sources {
            uncaptured(sync, source).await?;
        }
    } else {
        let installing = sources.iter_mut().map(|source| async {
            let db = source.db.name.clone();
            Box::pin(install::source(&mut source.conn, &db, sync, &source.relations)).await
        });
        try_join_all(installing).await?.into_iter().for_each(|found| warnings.extend(found));
    }
    for target in targets {
        let what = format!("forgetting that database \"{}\" was a source of sync \"{name}\"", target.db.name);
        if sources.iter().any(|source| source.is_same_database(target)) {
            continue;
        }
        let forgotten = registry::forget_captured(&mut target.conn, name).await;
        forgotten.map_err(|error| ValidateError::sql(&target.db.name, what, error))?;
    }
    registry::register(sync, sites).await
}

/// A source that is only copied whole gets nothing, and loses what it had when changes were captured for this sync.
async fn uncaptured(sync: &SyncDetail, source: &mut Site<'_>) -> Result<(), ValidateError> {
    if source.is_standby {
        return Ok(());
    }
    let what = || format!("forgetting what sync \"{}\" captured", sync.name);
    let forgotten = forget::source(&mut source.conn, &sync.name).await;
    forgotten.map_err(|error| ValidateError::sql(&source.db.name, what(), error))
}

/// Takes a removed sync out of its databases, so that nothing is kept for it. A database that cannot be reached is
/// named in the answer; the others are done. Indexes that a copy of it leaves behind dropped are named as well.
pub async fn forget_sync(sync: &SyncDetail) -> Vec<String> {
    let mut left = Vec::new();
    for member in sync.members.iter().filter(|member| member.db.active) {
        let (name, db) = (&sync.name, &member.db.name);
        match forget(name, &member.db, member.role).await {
            Ok(lacking) => {
                let lacking = lacking.iter().filter(|it| it.sync == name.as_str());
                left.extend(lacking.map(|it| format!("database \"{db}\": {}", it.told())));
            }
            Err(error) => {
                left.push(format!("sync \"{name}\" is still registered in database \"{db}\": {}", causes(&error)));
            }
        }
    }
    left
}

async fn forget(sync: &SyncName, db: &Db, role: Role) -> Result<Vec<LackingIndexes>, ValidateError> {
    let mut conn = site::dial(db).await?;
    let failed = |error| ValidateError::sql(&db.name, format!("forgetting sync \"{sync}\""), error);
    if role == Role::Source {
        forget::source(&mut conn, sync).await.map_err(failed)?;
    }
    registry::forget_positions(&conn, sync).await.map_err(failed)?;
    lacking_indexes::look(&conn).await.map_err(failed)
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
    if sources + targets < 2 {
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
    problems.extend(strategies::problems(sync));
    if problems.is_empty() { Ok(()) } else { Err(ValidateError::Problems { problems }) }
}

/// Compares the tables of `other` with those of the first source.
fn check_columns(
    sync: &SyncDetail,
    source: &Site<'_>,
    other: &Site<'_>,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) {
    let to = &other.db.name;
    for (place, goat) in sync.goats.iter().enumerate() {
        let (here, there) = (&source.relations[place], &other.relations[place]);
        if !here.is_table() || !there.is_table() {
            continue;
        }
        let mapping = sync.mapping(goat, to).filter(|_| other.role != Role::Source);
        if mapping.is_some_and(|mapping| mapping.columns.is_some()) {
            continue;
        }
        // A table of another name is somebody's own: it may have more columns, and in another order.
        let renamed = mapping.is_some_and(|mapping| mapping.name.is_some());
        let mut differences = compare(here, there, &goat.key, sync.strict_checking && goat.strict_checking && !renamed);
        let name = format!("table \"{}.{}\" on database", other.goats[place].schema, other.goats[place].name);
        let mut told = |(at, from): (&DbName, &DbName), difference| match difference {
            Difference::Fault(text) => problems.push(format!("{name} \"{at}\": {text} (source is \"{from}\")")),
            Difference::Warning(text) => warnings.push(format!("{name} \"{at}\": {text}")),
        };
        let is_same = !differences.iter().any(|difference| matches!(difference, Difference::Fault(_)));
        differences.drain(..).for_each(|difference| told((to, &source.db.name), difference));
        // Rows go both ways between sources.
        if is_same && other.role == Role::Source {
            compare(there, here, &goat.key, false)
                .into_iter()
                .for_each(|difference| told((&source.db.name, to), difference));
        }
    }
}
