//! Comparing the databases by what is in them.

use futures_util::future::try_join_all;

use crate::pg::{Connection, Sql, SqlFile};

use super::DemoError;
use super::screen::Screen;
use super::stage::{Relation, SOURCE, Stage, TARGETS};

const DIGEST: SqlFile = SqlFile::new(include_str!("../../sql/demo/digest.sql"));
const SEQUENCE: SqlFile = SqlFile::new(include_str!("../../sql/demo/sequence.sql"));

/// What a table or sequence holds: rows, where it has any, and a digest of all contents.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    rows: Option<i64>,
    digest: String,
}

/// Compares every table and sequence on all three, and says for each whether it is the same.
pub(super) async fn all(stage: &Stage, screen: &Screen, relations: &[Relation]) -> Result<(), DemoError> {
    let mut connections = Vec::new();
    for name in std::iter::once(SOURCE).chain(TARGETS) {
        connections.push((name, stage.connect(name).await?));
    }
    let mut count = 0;
    for relation in relations {
        screen.check()?;
        let all = try_join_all(connections.iter().map(|(name, connection)| read(connection, name, relation))).await?;
        let same = all.windows(2).all(|pair| pair[0] == pair[1]);
        count += usize::from(!same);
        screen.note(&verdict(relation, &all, same));
    }
    if count > 0 { Err(DemoError::Different { count }) } else { Ok(()) }
}

async fn read(connection: &Connection, cluster: &'static str, relation: &Relation) -> Result<Contents, DemoError> {
    // The server itself quoted the name.
    let name = Sql::trusted(relation.name.as_str());
    let sql =
        if relation.is_sequence { SEQUENCE.fill(&[("sequence", &name)]) } else { DIGEST.fill(&[("table", &name)]) };
    let row = connection.query_one(&sql, &[]).await;
    let row = row.map_err(|source| DemoError::Sql { what: "compare contents", cluster, source })?;
    let rows = if relation.is_sequence { None } else { Some(row.get("rows")) };
    Ok(Contents { rows, digest: row.get("digest") })
}

fn verdict(relation: &Relation, all: &[Contents], same: bool) -> String {
    let told: Vec<String> = all
        .iter()
        .map(|contents| contents.rows.map_or_else(|| contents.digest.clone(), |rows| format!("{rows} rows")))
        .collect();
    match told.first() {
        Some(first) if same => format!("{:<30} equal on A, B and C   {first}", relation.name),
        _ => format!("{:<30} DIFFERENT             {}", relation.name, told.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_counts_with_other_contents_are_different() {
        let relation = Relation { name: "t".to_owned(), is_sequence: false };
        let contents = |digest: &str| Contents { rows: Some(2), digest: digest.to_owned() };
        let all = [contents("1:2"), contents("1:3")];
        assert_ne!(all[0], all[1]);
        assert!(verdict(&relation, &all, false).contains("DIFFERENT"));
        assert!(verdict(&relation, &all[..1], true).contains("equal"));
    }
}
