//! What a daemon that has ended, or was killed, must not leave behind on a server.

use std::time::Duration;

use super::{Database, wait};

/// A server notices the end of a killed client when it next reads or writes.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// Each thing that could stand in the way of the next start, or of anybody else.
const LEFT: [(&str, &str); 5] = [
    (
        "sessions",
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'bucardo %' AND datname = current_database()",
    ),
    (
        "advisory locks",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    ),
    (
        "locks on tables",
        "SELECT count(*) FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation \
         JOIN pg_stat_activity AS s ON s.pid = l.pid AND s.application_name LIKE 'bucardo %' \
         WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    ),
    ("temporary tables", "SELECT count(*) FROM pg_class WHERE relpersistence = 't'"),
    ("prepared transactions", "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"),
];

/// Waits until nothing of a daemon is left in these databases; panics with what stays.
pub(crate) async fn assert_nothing_left(databases: &[&Database]) {
    for database in databases {
        for (what, count) in LEFT {
            let name = format!("{what} of the daemon on {}", database.name);
            wait::until_equal(&name, GONE_WITHIN, &0, async || database.number(count).await).await;
        }
    }
}
