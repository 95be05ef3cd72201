//! What codes decide about conflicts, in the words of every version: the same in every language, and what the databases
//! have in the end.

use std::collections::BTreeMap;

use bucardo::custom::{Code, Hook, Language};
use serde_json::{Value, json};

use crate::support::SyncLab;
use crate::support::languages::{LANGUAGES, code_in, says, says_of};
use crate::support::sync_lab::Told;
use crate::support::witness::{Heard, Witness};

const DDL: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text); \
    CREATE TABLE lines (id int, part text, note text, PRIMARY KEY (id, part))";
const ALL: [&str; 3] = ["a", "b", "c"];

/// What three databases have of a key.
type There = [&'static str; 3];
const NOBODY: There = ["-", "-", "-"];

const fn all(note: &'static str) -> There {
    [note, note, note]
}

struct Case {
    says: Value,
    there: There,
    /// How it was decided, and who won.
    told: (&'static str, &'static str),
}

/// `a` and `b` have changed the row, from `old` to their names; `b` last. What is decided is the latest change, where
/// nothing is.
fn both_changed() -> Vec<Case> {
    let picked = |says, name| Case { says, there: all(name), told: ("picked", name) };
    let edited = |says, note| Case { says, there: all(note), told: ("edited", "") };
    let deleted = |says| Case { says, there: NOBODY, told: ("deleted", "") };
    let skipped = |says| Case { says, there: ["a", "b", "old"], told: ("skipped", "") };
    let open = |says| Case { says, there: all("b"), told: ("bucardo_latest", "b") };
    let of = |case: Case, key: &str, value: Value| {
        let mut case = case;
        case.says[key] = value;
        case
    };
    vec![
        picked(json!({"winner": "a"}), "a"),
        picked(json!({"winner": "b a"}), "b"),
        picked(json!({"winner": "c, a"}), "a"),
        // It has changed nothing; a single name wins nevertheless.
        Case { says: json!({"winner": "c"}), there: all("old"), told: ("picked", "c") },
        edited(json!({"row": {"id": 0, "note": "made"}}), "made"),
        edited(json!({"row": {"id": "0", "note": "it's \"ü\" \\N\t"}}), "it's \"ü\" \\N\t"),
        edited(json!({"row": {"id": 0, "note": null}}), ""),
        edited(json!({"row": {"id": 0, "note": 7}}), "7"),
        edited(json!({"row": {"id": 0, "note": ""}}), ""),
        picked(json!({"row": {"id": 0, "note": "a"}}), "a"),
        edited(json!({"winner": "b", "rows": {"b": {"note": "edited"}}}), "edited"),
        edited(json!({"winner": "a", "rows": {"a": {"note": null}}}), ""),
        picked(json!({"winner": "b", "rows": {"a": {"note": "of no use"}}}), "b"),
        deleted(json!({"winner": "b", "rows": {"b": null}})),
        deleted(json!({"delete": true})),
        of(deleted(json!({"delete": 1})), "winner", json!("a")),
        skipped(json!({"skip": true})),
        picked(json!({"conflicts": {"0": "a"}}), "a"),
        picked(json!({"conflicts": {"0": "c a b"}}), "a"),
        picked(json!({"rowinfo": {"action": 1}}), "a"),
        picked(json!({"rowinfo": {"action": "2"}}), "b"),
        picked(json!({"rowinfo": {"action": 4}}), "a"),
        picked(json!({"rowinfo": {"action": 8}}), "b"),
        edited(json!({"rowinfo": {"action": 5, "sourcerow": {"note": "from a"}}}), "from a"),
        edited(json!({"rowinfo": {"action": 10, "targetrow": {"note": "from b"}}}), "from b"),
        deleted(json!({"rowinfo": {"action": 1, "sourcerow": null}})),
        skipped(json!({"rowinfo": {"action": 0}})),
        open(json!({})),
        open(json!({"winner": "", "delete": 0, "abort": "", "conflicts": {"0": ""}, "rowinfo": {"action": null}})),
        open(json!({"row": {"id": null, "note": null}})),
        open(json!({"rows": {"a": {"note": "of no use"}}, "message": "", "nextcode": 1})),
    ]
}

/// `b` has deleted the row.
fn one_deleted() -> Vec<Case> {
    let picked = |says, note| Case { says, there: all(note), told: ("picked", if note == "-" { "b" } else { note }) };
    vec![
        picked(json!({"winner": "a"}), "a"),
        picked(json!({"winner": "b"}), "-"),
        picked(json!({"rowinfo": {"action": 1}}), "a"),
        picked(json!({"rowinfo": {"action": 2}}), "-"),
        picked(json!({"conflicts": {"0": "b"}}), "-"),
        Case { says: json!({"row": {"id": 0, "note": "made"}}), there: all("made"), told: ("edited", "") },
        Case { says: json!({"delete": true}), there: NOBODY, told: ("deleted", "") },
        Case { says: json!({"skip": true}), there: ["a", "-", "old"], told: ("skipped", "") },
        Case { says: json!({}), there: NOBODY, told: ("bucardo_latest", "b") },
    ]
}

async fn lab(codes: Vec<Code>) -> (SyncLab, Witness) {
    let mut lab = SyncLab::masters(&ALL, &[], DDL, &["orders:id", "lines:id,part"]).await;
    lab.sync.codes = codes;
    let witness = Witness::of(&mut lab);
    (lab, witness)
}

/// With the key of the case in the place of 0.
fn keyed(says: &Value, id: &str) -> Value {
    let mut says = says.clone();
    if let Some(key) = says.pointer_mut("/row/id").filter(|key| !key.is_null()) {
        *key = if key.is_string() { json!(id) } else { json!(id.parse::<i32>().unwrap()) };
    }
    if let Some(winner) = says.pointer("/conflicts/0").cloned() {
        says["conflicts"] = json!({id: winner});
    }
    says
}

/// A code of version 5 that names nobody hands on to the next one.
fn of_perl(case: &Case, is_deleted: bool) -> (There, String, &str) {
    if case.says["skip"] == json!(true) {
        return (if is_deleted { NOBODY } else { all("b") }, "bucardo_latest".to_owned(), "b");
    }
    of_all(case)
}

fn of_all(case: &Case) -> (There, String, &str) {
    let (how, winner) = case.told;
    let by = if how.contains('_') { how.to_owned() } else { format!("custom code judge: {how}") };
    (case.there, by, winner)
}

/// Every decision, in every language: what each database has then, and what is told of it.
#[tokio::test]
async fn decisions() {
    let (changed, deleted) = (both_changed(), one_deleted());
    let first_deleted = changed.len() + 1;
    let cases: Vec<Case> = changed.into_iter().chain(deleted).collect();
    let ids: Vec<String> = (1..=cases.len()).map(|id| id.to_string()).collect();
    let judged: Vec<Value> = cases.iter().zip(&ids).map(|(case, id)| keyed(&case.says, id)).collect();
    for language in LANGUAGES {
        let source = says_of(language, "id", ids.iter().map(String::as_str).zip(&judged));
        let judge = Code { name: "judge".to_owned(), ..code_in(1, language, Hook::Conflict, &source) };
        let (mut lab, witness) = lab(vec![judge]).await;
        let fill = format!("INSERT INTO orders SELECT n, 'old' FROM generate_series(1, {}) n", cases.len());
        lab.on("a").run(&fill).await;
        lab.settle().await;
        lab.on("a").run("UPDATE orders SET note = 'a'").await;
        lab.on("b").run(&format!("UPDATE orders SET note = 'b' WHERE id < {first_deleted}; DELETE FROM orders WHERE id >= {first_deleted}")).await;
        let report = lab.merge().await.unwrap();
        assert_eq!(report.conflicts, u64::try_from(cases.len()).unwrap());
        assert_eq!(witness.names().len(), cases.len(), "each is asked about once");
        assert!(lab.merge().await.unwrap().is_empty(), "a decision is taken once");
        let mut there: Vec<BTreeMap<String, String>> = Vec::new();
        for name in ALL {
            let rows = lab.on(name).rows("SELECT id, note FROM orders").await;
            there.push(
                rows.iter()
                    .map(|row| row.split_once('|').unwrap())
                    .map(|(id, note)| (id.to_owned(), note.to_owned()))
                    .collect(),
            );
        }
        let told = lab.conflicts.all();
        for ((case, id), at) in cases.iter().zip(&ids).zip(1..) {
            let is_perl = language == Language::Perl;
            let expected = if is_perl { of_perl(case, at >= first_deleted) } else { of_all(case) };
            let found = [0, 1, 2].map(|place: usize| there[place].get(id).map_or("-", String::as_str));
            let told = told.iter().find(|it| it.key["id"] == json!(id)).unwrap();
            let found = (found, told.strategy.clone(), told.winner.as_str());
            assert_eq!(found, expected, "{language:?} {}", case.says);
        }
    }
}

/// Conflicts of two rows each of two tables, of which one has a key of two columns. The first table comes first.
struct Clashes {
    lab: SyncLab,
    witness: Witness,
    heard: Heard,
}

impl Clashes {
    async fn begin() -> Self {
        // Of two sources none is left out for being slow to answer.
        let mut lab = SyncLab::masters(&ALL[..2], &[], DDL, &["orders:id", "lines:id,part"]).await;
        let witness = Witness::of(&mut lab);
        let fill = "INSERT INTO orders VALUES (1, 'old'), (2, 'old'); INSERT INTO lines VALUES (1, 'x', 'old'), (1, 'y', 'old')";
        lab.on("a").run(fill).await;
        lab.settle().await;
        Self { lab, witness, heard: Heard::begin() }
    }

    /// Rows clash, and these codes are asked.
    async fn among(&mut self, codes: Vec<Code>) {
        (self.lab.sync.codes, self.lab.conflicts) = (codes, Told::default());
        self.lab.renew();
        self.witness.calls();
        self.heard.lines();
        self.clash().await;
    }

    async fn clash(&self) {
        for name in ["a", "b"] {
            let both = format!("UPDATE orders SET note = '{name}'; UPDATE lines SET note = '{name}'");
            self.lab.on(name).run(&both).await;
        }
    }

    /// What all have then, and which codes were asked.
    async fn merge(&mut self) -> Result<(Vec<String>, Vec<String>), String> {
        self.lab.merge().await.map_err(|fault| fault.message)?;
        self.lab.assert_same().await;
        let rows = "SELECT id || note FROM orders UNION ALL SELECT id || part || note FROM lines ORDER BY 1";
        Ok((self.lab.on("b").rows(rows).await, self.witness.names()))
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn judge(language: Language, goat: Option<i32>, outputs: &Value) -> Code {
    let name = if goat.is_some() { "of table" } else { "of sync" };
    let id = 1 + goat.unwrap_or_default();
    Code { name: name.to_owned(), goat, ..code_in(id, language, Hook::Conflict, &says(language, outputs)) }
}

/// A key of several columns is decided by its joined name.
#[tokio::test]
async fn keys_of_several_columns() {
    let mut clashes = Clashes::begin().await;
    for language in LANGUAGES {
        clashes.among(vec![judge(language, Some(2), &json!({"conflicts": {"1\0x": "a", "1": "a"}}))]).await;
        let (rows, _) = clashes.merge().await.unwrap();
        assert_eq!(rows, ["1b", "1xa", "1yb", "2b"], "{language:?}");
    }
}

/// Winners for all that follows: of a table or of the sync, whose other tables need no code, for this run or for always.
#[tokio::test]
async fn winners_of_tables_and_syncs() {
    let (table, sync) = (["1a", "1xb", "1yb", "2a"], ["1a", "1xa", "1ya", "2a"]);
    let twice = ["of table", "of table"];
    let mut clashes = Clashes::begin().await;
    for language in LANGUAGES {
        for (output, rows, again) in [
            ("tablewinner", table, &twice[..]),
            ("tablewinner_always", table, &[]),
            ("syncwinner", sync, &twice),
            ("syncwinner_always", sync, &[]),
        ] {
            clashes.among(vec![judge(language, Some(1), &json!({output: "a b"}))]).await;
            for asked in [&twice[..], again] {
                let merged = clashes.merge().await.unwrap();
                assert_eq!(merged, (owned(&rows), owned(asked)), "{language:?} {output}");
                clashes.clash().await;
            }
            let told = clashes.lab.conflicts.all();
            let picked = told.iter().filter(|it| it.strategy == "custom code: picked" && it.winner.as_str() == "a");
            let decided = rows.iter().filter(|row| row.ends_with('a')).count();
            assert_eq!(picked.count(), 2 * decided, "{language:?} {output}");
        }
    }
}

/// What ends a merge, and that nothing of it is done then.
#[tokio::test]
async fn answers_that_end_a_merge() {
    let garbage = |why: &str| format!("custom code \"of sync\" returned what cannot be understood: {why}");
    let of_key = |why: &str| garbage(&format!("key 1 of table \"public.orders\": {why}"));
    let cases = [
        (json!({"abort": "ask «them»"}), "custom code \"of sync\" aborts: ask «them»: key id=1 was changed".to_owned()),
        (
            json!({"abort": 1, "winner": "a"}),
            "custom code \"of sync\" aborts: a custom code says so: key id=1".to_owned(),
        ),
        (json!({"error": "no", "winner": "a"}), "custom code \"of sync\" asked to end: no".to_owned()),
        (json!({"winner": "z"}), garbage("\"z\" is no winner: the sources are a, b")),
        (json!({"rowinfo": {"action": 3}}), of_key("rowinfo.action 3 leaves source and target different")),
        (json!({"rowinfo": {"action": "x"}}), of_key("rowinfo.action is a sum of 1, 2, 4 and 8")),
        (json!({"row": {"id": 9, "note": "x"}}), of_key("row: the key column \"id\" may not be changed")),
        (json!({"row": {"id": 1, "no": "x"}}), of_key("row: the table has no column \"no\" that is copied")),
        (json!({"winner": "a", "rows": {"a": {"note": ["x"]}}}), of_key("rows: column \"note\" is no plain value")),
    ];
    let mut clashes = Clashes::begin().await;
    let notes = "SELECT DISTINCT note FROM orders";
    for language in LANGUAGES {
        for (outputs, why) in &cases {
            clashes.among(vec![judge(language, None, outputs)]).await;
            let failed = clashes.merge().await.unwrap_err();
            assert!(failed.contains(why), "{language:?} {outputs}: {failed}");
            assert_eq!(clashes.lab.on("b").rows(notes).await, ["b"], "{language:?} {outputs}");
        }
        clashes.among(vec![judge(language, None, &json!({"endsync": 1, "winner": "a"}))]).await;
        assert!(clashes.lab.merge().await.unwrap().is_empty(), "{language:?}");
        assert_eq!(clashes.lab.on("b").rows(notes).await, ["b"], "{language:?}");
    }
}

/// Other codes are asked about what is open, and about nothing else; what is said of each of many conflicts is logged once.
#[tokio::test]
async fn answers_that_leave_it_to_others() {
    let (all, others) = (["1a", "1xa", "1ya", "2a"], ["1b", "1xa", "1ya", "2b"]);
    let (both, first) = (
        ["of table", "of table", "of sync", "of sync", "of sync", "of sync"],
        ["of table", "of table", "of sync", "of sync"],
    );
    let mut clashes = Clashes::begin().await;
    for language in LANGUAGES {
        for (outputs, rows, asked) in [
            (json!({}), all, &both[..]),
            (json!({"nextcode": 1}), all, &both),
            (json!({"lastcode": 1}), others, &first),
            (json!({"winner": "b"}), others, &first),
        ] {
            clashes
                .among(vec![judge(language, Some(1), &outputs), judge(language, None, &json!({"winner": "a"}))])
                .await;
            let merged = clashes.merge().await.unwrap();
            assert_eq!(merged, (owned(&rows), owned(asked)), "{language:?} {outputs}");
        }
        let said = json!({"message": "seen", "warning": "hm", "sendmail": [{"body": "x"}], "runagain": 1});
        clashes.among(vec![judge(language, Some(1), &said)]).await;
        assert!(clashes.lab.merge().await.unwrap().more, "{language:?}");
        let of = "sync=\"s\" code=\"of table\" whenrun=\"conflict\"";
        let mails: Vec<_> = clashes.witness.mails().into_iter().map(|mail| (mail.code, mail.body)).collect();
        assert_eq!(mails, vec![("of table".to_owned(), "x".to_owned()); 2], "{language:?}");
        // Clocks of a busy machine may be told of, too.
        let lines: Vec<String> = clashes.heard.lines().into_iter().filter(|line| line.contains(" code=")).collect();
        assert_eq!(lines, [format!("INFO seen {of}"), format!("WARN hm {of}")], "{language:?}");
    }
}
