//! What codes say of rows that a database refuses, in pairs, merges and whole copies: the same outputs have the same effect
//! in every language.

use bucardo::custom::{Code, Hook, Language};
use serde_json::{Value, json};

use crate::support::SyncLab;
use crate::support::languages::{LANGUAGES, code_in, runs, says};
use crate::support::ways::Way;
use crate::support::witness::{Heard, Witness};

/// What became of a round with a row that is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// All rows are there, one of them mended.
    Mended,
    /// Nothing of the table is there.
    Refused,
    /// It failed as the code asked for.
    Failed,
    /// It was left as the code asked for.
    Left,
    /// What is refused waits, the rest is there.
    Waits,
}

/// The codes of a case: one that says something and one that mends something, too.
struct Case {
    says: Option<Value>,
    mends: Option<Value>,
    deadletter: bool,
    end: End,
    /// Those that are asked.
    asked: &'static [&'static str],
}

fn cases(way: Way) -> Vec<Case> {
    let again = || Some(json!({"runagain": 1}));
    let case = |says, mends, end, asked| Case { says, mends, deadletter: false, end, asked };
    // A merge asks when its transactions are over: what codes do is done, and the next try comes anyway.
    let unasked = if way == Way::Merge { End::Mended } else { End::Refused };
    vec![
        case(None, again(), End::Mended, &["mends"]),
        case(None, Some(json!({"retry": "yes"})), End::Mended, &["mends"]),
        case(None, Some(json!({"runagain": "0", "retry": ""})), unasked, &["mends"]),
        case(Some(json!({})), None, End::Refused, &["says"]),
        case(again(), None, End::Refused, &["says"]),
        case(Some(json!({"error": "no", "runagain": 1})), None, End::Failed, &["says"]),
        case(Some(json!({"endsync": 1, "runagain": 1})), None, End::Left, &["says"]),
        case(Some(json!({"lastcode": 1})), again(), End::Refused, &["says"]),
        case(
            Some(json!({"message": "m", "warning": "w", "sendmail": {"body": "x"}, "nextcode": 1, "skip": 1})),
            again(),
            End::Mended,
            &["says", "mends"],
        ),
        Case { deadletter: true, ..case(Some(json!({})), None, End::Waits, &["says"]) },
    ]
}

struct Stage {
    way: Way,
    lab: SyncLab,
    witness: Witness,
    heard: Heard,
    /// Of cases so far.
    number: i32,
}

impl Stage {
    async fn of(way: Way) -> Self {
        let mut lab = way.lab("CREATE TABLE people (id int PRIMARY KEY, email text UNIQUE)", &["people:id"]).await;
        if way == Way::Copy {
            lab.on("a").run("ALTER TABLE people DROP CONSTRAINT people_email_key").await;
        }
        let witness = Witness::of(&mut lab);
        Self { way, lab, witness, heard: Heard::begin(), number: 0 }
    }

    /// Where the row is that stands in the way.
    fn other(&self) -> &'static str {
        if self.way == Way::Copy { "a" } else { "b" }
    }

    fn codes(&self, case: &Case, language: Language) -> Vec<Code> {
        let named = |id: i32, name: &str, source: &str| Code {
            name: name.to_owned(),
            ..code_in(id, language, Hook::Exception, source)
        };
        let says = case.says.as_ref().map(|outputs| named(1, "says", &says(language, outputs)));
        let sql = format!("UPDATE people SET email = email || '-2' WHERE id = {}9", self.number);
        let mends = case.mends.as_ref().map(|outputs| named(2, "mends", &runs(language, self.other(), &sql, outputs)));
        says.into_iter().chain(mends).collect()
    }

    /// Row 1 has an address that row 9 has, too; row 2 has its own. What becomes of them, how often each code is asked, and
    /// what they say.
    async fn play(&mut self, case: &Case, language: Language) -> (End, Vec<String>, Vec<String>) {
        self.number += 1;
        let n = self.number;
        self.lab.on(self.other()).run(&format!("INSERT INTO people VALUES ({n}9, 'taken {n}')")).await;
        self.lab.on("a").run(&format!("INSERT INTO people VALUES ({n}1, 'taken {n}'), ({n}2, 'free {n}')")).await;
        (self.lab.sync.codes, self.lab.sync.deadletter) = (self.codes(case, language), case.deadletter);
        self.lab.renew();
        let ended = self.way.run(&mut self.lab).await;
        let rows = format!("SELECT id % 10 || replace(email, ' {n}', '') FROM people WHERE id / 10 = {n} ORDER BY id");
        let rows = self.lab.on("b").rows(&rows).await;
        let there: &[&str] = if self.way == Way::Copy { &[] } else { &["9taken"] };
        let end = match &ended {
            Ok(report) if !report.quarantined.is_empty() => {
                assert!(report.quarantined[0].why.contains(&format!("(refused: id={n}1)")), "{report:?}");
                End::Refused
            }
            Ok(report) if report.is_empty() => End::Left,
            Ok(_) if rows == ["2free", "9taken"] => End::Waits,
            Ok(_) => End::Mended,
            Err(fault) if fault.message == "custom code \"says\" asked to end: no" => End::Failed,
            Err(fault) => {
                assert!(fault.message.contains("people_email_key"), "{fault}");
                End::Refused
            }
        };
        match end {
            End::Mended => assert_eq!(rows, ["1taken", "2free", "9taken-2"]),
            End::Waits => {}
            End::Refused | End::Failed | End::Left => assert_eq!(rows, there, "{end:?}"),
        }
        let said = self.heard.lines().into_iter().filter(|line| line.contains("code=")).collect();
        (end, self.witness.names(), said)
    }

    /// As if the case had not been.
    async fn mend(&mut self) {
        self.lab.sync.codes.clear();
        self.lab.renew();
        let mend = "UPDATE people SET email = email || '-2' WHERE id % 10 = 9 AND email NOT LIKE '%-2'";
        self.lab.on(self.other()).run(mend).await;
        self.way.settle(&mut self.lab).await;
    }
}

async fn play(way: Way) {
    let mut stage = Stage::of(way).await;
    for case in cases(way) {
        let mut calls = Vec::new();
        for language in LANGUAGES {
            let what = format!("{way:?} {language:?} {:?} {:?}", case.says, case.mends);
            let (end, mut asked, mut said) = stage.play(&case, language).await;
            calls.push(asked.len());
            asked.dedup();
            said.dedup();
            let expected = match &case.says {
                Some(says) if says.get("message").is_some() => {
                    let [mail] = stage.witness.mails().try_into().unwrap();
                    assert_eq!((mail.code.as_str(), mail.body.as_str()), ("says", "x"), "{what}");
                    let of = "sync=\"s\" code=\"says\" whenrun=\"exception\"";
                    vec![format!("INFO m {of}"), format!("WARN w {of}")]
                }
                _ => Vec::new(),
            };
            assert_eq!(
                (end, asked, said),
                (case.end, case.asked.iter().map(|&name| name.to_owned()).collect(), expected),
                "{what}"
            );
            if !case.deadletter {
                stage.mend().await;
            }
        }
        assert!(calls.iter().all(|count| *count == calls[0]), "{way:?}: {calls:?} {:?}", case.says);
    }
}

#[tokio::test]
async fn codes_of_pairs_are_heard_about_refused_rows() {
    play(Way::Pair).await;
}

#[tokio::test]
async fn codes_of_merges_are_heard_about_refused_rows() {
    play(Way::Merge).await;
}

#[tokio::test]
async fn codes_of_whole_copies_are_heard_about_refused_rows() {
    play(Way::Copy).await;
}
