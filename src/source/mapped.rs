//! The checks of what a target has differently: another name, other columns, some of the rows, the same database.

use std::collections::HashMap;

use bucardo_actors::model::DbName;

use super::clause::{ClauseError, Listed, check_filter, filter_limit, filter_reads, list_columns};
use super::compare::{Difference, compare};
use super::relation::{Column, Relation};
use super::site::Site;
use super::validate::ValidateError;
use crate::catalog::{Goat, Mapping, Role, SyncDetail};
use crate::pg::SqlFile;

const TYPE_NAMES: SqlFile = SqlFile::new(include_str!("../../sql/source/type_names.sql"));

/// Tries the clauses that the mappings of `target` name on the source, and compares what they make with its tables.
pub(super) async fn check_clauses(
    sync: &SyncDetail,
    source: &Site<'_>,
    target: &Site<'_>,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Result<(), ValidateError> {
    for (place, goat) in sync.goats.iter().enumerate() {
        let (from, to) = (&source.relations[place], &target.relations[place]);
        let Some(mapping) = sync.mapping(goat, &target.db.name).filter(|_| from.is_table()) else { continue };
        let told = |kind: &str, clause: &str, why: String| {
            format!(
                "{kind} of table \"{}.{}\" for database \"{}\" cannot be used: {why}; it is: {clause}",
                goat.schema, goat.name, target.db.name
            )
        };
        let failed = |error| {
            let what = format!("trying the clauses of table \"{}.{}\"", goat.schema, goat.name);
            ValidateError::sql(&source.db.name, what, error)
        };
        let why = |error: ClauseError| match (error.told(), error) {
            (Some(why), _) | (None, ClauseError::Unfit(why)) => Ok(why),
            (None, ClauseError::Sql(error)) => Err(failed(error)),
        };
        if let Some(clause) = &mapping.filter {
            match check_filter(&source.conn, goat, clause).await {
                Ok(()) => {
                    let tables = filter_reads(&source.conn, goat, clause).await.map_err(failed)?;
                    if !tables.is_empty() {
                        let (schema, name, db, limit) =
                            (&goat.schema, &goat.name, &target.db.name, filter_limit(&tables));
                        warnings
                            .push(format!("customselect of table \"{schema}.{name}\" for database \"{db}\": {limit}"));
                    }
                }
                Err(error) => problems.push(told("customselect", clause, why(error)?)),
            }
        }
        let Some(clause) = &mapping.columns else { continue };
        match list_columns(&source.conn, goat, clause).await {
            Ok(listed) if to.is_table() => {
                let made = made(source, from, to, &listed).await.map_err(failed)?;
                compare_list(goat, mapping, (&made, to), &listed, problems, warnings);
            }
            Ok(_) => {}
            Err(error) => problems.push(told("customcols", clause, why(error)?)),
        }
    }
    Ok(())
}

/// The table that a select list makes, to compare it with the one that shall take it.
async fn made(
    source: &Site<'_>,
    from: &Relation,
    to: &Relation,
    listed: &[Listed],
) -> Result<Relation, tokio_postgres::Error> {
    let oids: Vec<postgres_types::Oid> = listed.iter().map(|column| column.type_oid).collect();
    let names = source.conn.query(TYPE_NAMES.text(), &[&oids]).await?;
    let columns = listed.iter().zip(&names).map(|(listed, row)| {
        let bare_type: String = row.get("name");
        let own = listed.own.as_ref().and_then(|own| from.column(own)).cloned();
        // An expression has no modifier of its own: those of the column that takes it are as good as any.
        let there = to.column(&listed.name).filter(|there| there.bare_type == bare_type);
        let type_name = there.map_or_else(|| bare_type.clone(), |there| there.type_name.clone());
        let expression = Column {
            name: String::new(),
            type_name,
            bare_type,
            not_null: false,
            default: None,
            base_type: None,
            narrow_base: None,
            equals: None,
            collation: there.and_then(|there| there.collation.clone()),
            folds: there.is_some_and(|there| there.folds),
            generated: false,
        };
        Column { name: listed.name.clone(), generated: false, ..own.unwrap_or(expression) }
    });
    Ok(Relation { kind: "r".to_owned(), columns: columns.collect(), ..Relation::default() })
}

fn compare_list(
    goat: &Goat,
    mapping: &Mapping,
    (made, to): (&Relation, &Relation),
    listed: &[Listed],
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) {
    let is_expression = |text: &str| {
        let expressions = listed.iter().filter(|column| column.own.is_none());
        expressions.into_iter().any(|column| text.starts_with(&format!("column \"{}\" has type ", column.name)))
    };
    for difference in compare(made, to, &goat.key, false) {
        let place = format!("customcols of table \"{}.{}\" on database \"{}\"", goat.schema, goat.name, mapping.db);
        match difference {
            Difference::Fault(text) if !is_expression(&text) => problems.push(format!("{place}: {text}")),
            Difference::Fault(text) | Difference::Warning(text) => warnings.push(format!("{place}: {text}")),
        }
    }
}

/// A source that is written to has the tables whole, under their own names.
pub(super) fn check_source(sync: &SyncDetail, source: &Site<'_>, problems: &mut Vec<String>) {
    if !sync.is_merging() {
        return;
    }
    let db = &source.db.name;
    for goat in &sync.goats {
        let Some(mapping) = sync.mapping(goat, db) else { continue };
        let given = [("customcols", mapping.columns.is_some()), ("customselect", mapping.filter.is_some())];
        for (kind, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            problems.push(format!(
                "{kind} of table \"{}.{}\" for database \"{db}\" cannot be used: \"{db}\" is one of several sources of sync \"{}\", and these have the same rows and columns; remove it, or make \"{db}\" a target",
                goat.schema, goat.name, sync.name
            ));
        }
    }
}

/// No table may be copied onto itself, and no two onto one; a sync keeps one position in a database. Answers with the
/// databases that it concerns.
pub(super) fn check_places(sync: &SyncDetail, sites: &[Site<'_>]) -> Vec<(DbName, String)> {
    let mut problems = Vec::new();
    for (place, site) in sites.iter().enumerate() {
        // With one source that is how tables are replicated within a database.
        let may_be_same =
            |other: &Site<'_>| other.role == Role::Source && site.role != Role::Source && !sync.is_merging();
        let db = &site.db.name;
        if let Some(other) = sites[..place].iter().find(|other| other.is_same_database(site) && !may_be_same(other)) {
            let advice = if site.role == Role::Source {
                format!("take \"{db}\" out of the sync")
            } else {
                format!("add another sync for \"{db}\"")
            };
            let fault = format!(
                "databases \"{}\" and \"{db}\" are the same database: a sync writes to a database once, {advice}",
                other.db.name
            );
            problems.push((db.clone(), fault));
        }
    }
    let Some((source, others)) = sites.split_first() else { return problems };
    for target in others.iter().filter(|site| site.role != Role::Source) {
        let mut found = Vec::new();
        check_tables(sync, source, target, &mut found);
        problems.extend(found.into_iter().map(|problem| (target.db.name.clone(), problem)));
    }
    problems
}

fn check_tables(sync: &SyncDetail, source: &Site<'_>, target: &Site<'_>, problems: &mut Vec<String>) {
    let (from, to) = (&source.db.name, &target.db.name);
    let mut written: HashMap<u32, &Goat> = HashMap::new();
    for (number, goat) in sync.goats.iter().enumerate() {
        let Some(oid) = target.relations[number].oid else { continue };
        let name = goat.label();
        if target.is_same_database(source) && source.relations.iter().any(|it| it.oid == Some(oid)) {
            problems.push(format!(
                "\"{name}\" would be copied onto a table of its own sync, databases \"{from}\" and \"{to}\" are the same database: give it another name with \"bucardo add customname {name} NEWNAME db={to}\""
            ));
        }
        let other = written.insert(oid, goat);
        if let Some(other) = other.filter(|it| (&it.schema, &it.name) != (&goat.schema, &goat.name)) {
            problems.push(format!(
                "\"{}.{}\" and \"{name}\" would be copied to the same table on database \"{to}\": give one of them another name there (customname)",
                other.schema, other.name
            ));
        }
    }
}
