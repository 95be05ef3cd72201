//! From a sync to its KIDs. Pure.

use std::collections::BTreeSet;

use crate::model::{DbName, Fault, KidId, SyncPlan, Work};

/// The KIDs that a sync needs.
///
/// With one source: a pair for each target. With several: one that merges the sources, and for each target one that
/// follows them. Each database that gets whole copies has a pair with the first source.
///
/// # Errors
///
/// The sync's own problem, or a set of databases that cannot be replicated.
pub fn kids(plan: &SyncPlan) -> Result<BTreeSet<KidId>, Fault> {
    if let Some(problem) = &plan.problem {
        return Err(problem.clone());
    }
    let name = &plan.name;
    let Some((first, others)) = plan.sources.split_first() else {
        return Err(Fault::permanent(format!("sync \"{name}\" has no active source"))
            .with_hint("give a database of its dbgroup the role source, or set the source active"));
    };
    let merges = !others.is_empty();
    let pair = |target: &DbName| Work::Pair { source: first.clone(), target: target.clone() };
    let follow = |target: &DbName| Work::Follow { target: target.clone() };
    let mut works = BTreeSet::new();
    works.extend(merges.then_some(Work::Merge));
    works.extend(reached(plan, &plan.targets).map(|target| if merges { follow(target) } else { pair(target) }));
    works.extend(reached(plan, &plan.fullcopies).map(pair));
    if works.is_empty() {
        return Err(Fault::permanent(format!("sync \"{name}\" has no active target"))
            .with_hint("add a database with the role target to its dbgroup, or set the target active"));
    }
    Ok(works.into_iter().map(|work| KidId { sync: name.clone(), work }).collect())
}

/// Those that are not read from.
fn reached<'a>(plan: &'a SyncPlan, dbs: &'a [DbName]) -> impl Iterator<Item = &'a DbName> {
    dbs.iter().filter(|db| !plan.sources.contains(db))
}
