//! `log_conflict_file`: the rows of conflicts as comma-separated values, a line for each row, for other programs.
//!
//! The history in the control database is the record; a line is lost when the daemon dies between the two.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt;

use crate::catalog::Conflict;

const HEADING: &str = "time,id,sync,schema,table,key,strategy,winner,db,version,row\n";

/// Appends conflicts; a new file is for its owner's eyes only, and begins with a heading. The file is opened anew each
/// time, so that it may be moved away.
pub(super) async fn append(path: &Path, conflicts: &[Cow<'_, Conflict>]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).await?;
    let mut text = if file.metadata().await?.len() == 0 { HEADING.to_owned() } else { String::new() };
    conflicts.iter().for_each(|conflict| lines(conflict, &mut text));
    file.write_all(text.as_bytes()).await?;
    file.flush().await
}

fn lines(conflict: &Conflict, text: &mut String) {
    let key = conflict.key.to_string();
    let time = conflict.time.to_rfc3339();
    for (db, row) in &conflict.rows {
        let version = conflict.versions.get(db.as_str()).map(ToString::to_string).unwrap_or_default();
        let fields = [
            time.as_str(),
            &conflict.id,
            conflict.sync.as_str(),
            &conflict.schema,
            &conflict.table,
            &key,
            &conflict.strategy,
            conflict.winner.as_str(),
            db.as_str(),
            &version,
            row.as_deref().unwrap_or_default(),
        ];
        text.push_str(&fields.map(field).join(","));
        text.push('\n');
    }
}

/// Quoted where it has to be. A line break in a name stays within its quotes.
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;
    use serde_json::json;

    use super::*;

    #[test]
    fn names_and_rows_cannot_break_out_of_their_fields() {
        let conflict = Conflict {
            id: "1".to_owned(),
            sync: "s".into(),
            schema: "a,b".to_owned(),
            table: "say \"hi\"\n".to_owned(),
            key: json!({"id": "7"}),
            strategy: "bucardo_latest".to_owned(),
            winner: "A".into(),
            versions: json!({"A": {"serial": 0}}),
            rows: BTreeMap::from([("A".into(), Some("{\"x\": 1}".to_owned())), ("B".into(), None)]),
            time: DateTime::from_timestamp(0, 0).unwrap(),
        };
        let mut text = String::new();
        lines(&conflict, &mut text);
        let common =
            "1970-01-01T00:00:00+00:00,1,s,\"a,b\",\"say \"\"hi\"\"\n\",\"{\"\"id\"\":\"\"7\"\"}\",bucardo_latest,A";
        assert_eq!(text, format!("{common},A,\"{{\"\"serial\"\":0}}\",\"{{\"\"x\"\": 1}}\"\n{common},B,,\n"));
    }
}
