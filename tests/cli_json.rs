//! What `--json` prints is what `deploy/json.md` says.

use serde_json::Value;

use crate::cli_lab::CliLab;

const DOCUMENT: &str = include_str!("../deploy/json.md");
/// The columns of the catalog are described by the catalog.
const OF_THE_CATALOG: [&str; 8] = [
    "list dbs",
    "list dbgroups",
    "list tables",
    "list sequences",
    "list relgroups",
    "list syncs",
    "list codes",
    "list customnames",
];

/// The keys of an object, and of what it holds, that are no names of the operator's.
fn keys(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                found.push(key.clone());
                if !["key", "rows", "versions", "found", "sync", "columns"].contains(&key.as_str()) {
                    keys(value, found);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_key_is_in_the_document() {
    let lab = CliLab::start().await;
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let (_a, _b) = (lab.db("A", table).await, lab.db("B", table).await);
    lab.bucardo.run("add sync s tables=t dbs=A:source,B:source");
    let mut wrong = Vec::new();
    for words in
        ["status s", "delta", "inspect table t", "doctor", "list conflicts", "list deadletters", "list orphans"]
    {
        let printed = lab.bucardo.run(&format!("{words} --json"));
        let value: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{words}: {error}: {printed}"));
        let mut found = Vec::new();
        keys(&value, &mut found);
        wrong.extend(
            found
                .into_iter()
                .filter(|key| !DOCUMENT.contains(&format!("`{key}`")))
                .map(|key| format!("{words}: {key}")),
        );
    }
    assert_eq!(wrong, [""; 0]);
    for words in OF_THE_CATALOG {
        let value: Value = serde_json::from_str(&lab.bucardo.run(&format!("{words} --json"))).unwrap();
        assert!(value.is_array(), "{words}: {value}");
    }
    let all: Value = serde_json::from_str(&lab.bucardo.run("list all --json")).unwrap();
    let parts: Vec<&String> = all.as_object().unwrap().keys().collect();
    assert!(parts.iter().all(|part| DOCUMENT.contains(&format!("`{part}`"))), "{parts:?}");
}
