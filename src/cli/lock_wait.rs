//! For whom a round waits that hangs on a lock at its target.

use std::time::Duration;

use tokio_postgres::Client;

use crate::catalog::{Db, runs};
use crate::pg::{SqlFile, connect};

const BLOCKERS: SqlFile = SqlFile::new(include_str!("../../sql/source/blockers.sql"));

/// What the database may take to tell.
const WITHIN: Duration = Duration::from_secs(2);

/// Whose lock the rounds of `sync` wait for at `db`, in words; `None`: they wait for none, or nobody can tell. It is asked
/// for only where a round lasts.
pub(super) async fn waits_for(control: &Client, sync: &str, db: &Db) -> Option<String> {
    let sessions = runs::sessions(control, sync, db.name.as_str()).await.ok().filter(|pids| !pids.is_empty())?;
    let ask = async {
        let connection = Box::pin(connect(&db.access, "bucardo CLI")).await.ok()?;
        let row = connection.query_opt(BLOCKERS.text(), &[&sessions]).await.ok()??;
        Some(told(row.get("pid"), row.get("role"), row.get("application"), row.get("state")))
    };
    tokio::time::timeout(WITHIN, ask).await.ok().flatten()
}

/// `waits for a lock of backend PID 123 (role app, psql, idle in transaction)`
fn told(pid: i32, role: &str, application: &str, state: &str) -> String {
    let who = if role.is_empty() { String::new() } else { format!("role {role}") };
    let about: Vec<&str> = [who.as_str(), application, state].into_iter().filter(|word| !word.is_empty()).collect();
    match about.as_slice() {
        [] => format!("waits for a lock of backend PID {pid}"),
        about => format!("waits for a lock of backend PID {pid} ({})", about.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_role_may_not_see_is_left_out() {
        let all = told(7, "app", "psql", "idle in transaction");
        assert_eq!(all, "waits for a lock of backend PID 7 (role app, psql, idle in transaction)");
        assert_eq!(told(7, "app", "", ""), "waits for a lock of backend PID 7 (role app)");
        assert_eq!(told(7, "", "", ""), "waits for a lock of backend PID 7");
    }
}
