//! From a sync to its KIDs. Pure.

use std::collections::BTreeSet;

use crate::model::{Fault, KidId, Pair, SyncPlan};

/// The KIDs that a sync needs: one per target, and one per database that gets whole copies.
///
/// # Errors
///
/// The sync's own problem, or a set of databases that cannot be replicated.
pub fn kids(plan: &SyncPlan) -> Result<BTreeSet<KidId>, Fault> {
    if let Some(problem) = &plan.problem {
        return Err(problem.clone());
    }
    let name = &plan.name;
    let source = match plan.sources.as_slice() {
        [source] => source,
        [] => {
            return Err(Fault::permanent(format!("sync \"{name}\" has no active source"))
                .with_hint("give a database of its dbgroup the role source, or set the source active"));
        }
        several => {
            let list = several.iter().map(|db| format!("\"{db}\"")).collect::<Vec<_>>().join(", ");
            return Err(Fault::permanent(format!(
                "sync \"{name}\" has the sources {list}, but several sources are not supported yet"
            ))
            .with_hint("leave one database of its dbgroup with the role source and make the others targets"));
        }
    };
    let kids: BTreeSet<KidId> = plan
        .targets
        .iter()
        .chain(&plan.fullcopies)
        .filter(|target| *target != source)
        .map(|target| Pair { sync: name.clone(), source: source.clone(), target: target.clone() })
        .map(KidId::from)
        .collect();
    if kids.is_empty() {
        return Err(Fault::permanent(format!("sync \"{name}\" has no active target"))
            .with_hint("add a database with the role target to its dbgroup, or set the target active"));
    }
    Ok(kids)
}
