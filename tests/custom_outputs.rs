//! What codes say, at every hook of a pair, a merge and whole copies: the same outputs have the same effect in every
//! language.

use std::sync::Arc;

use bucardo::custom::input::{self, Counts};
use bucardo::custom::{Code, Codes, Forms, Hook, Language, Mail, Outcome};
use bucardo::engine::hooks::outside;
use serde_json::{Value, json};

use crate::support::SyncLab;
use crate::support::languages::{LANGUAGES, code_in, says, teller};
use crate::support::ways::Way;
use crate::support::witness::{Heard, Witness};

/// The hooks of a run, but for those of conflicts and exceptions, whose answers mean other things.
const HOOKS: [Hook; 8] = [
    Hook::BeforeTxn,
    Hook::BeforeCheckRows,
    Hook::BeforeTriggerDisable,
    Hook::AfterTriggerDisable,
    Hook::AfterTableSync,
    Hook::BeforeTriggerEnable,
    Hook::AfterTriggerEnable,
    Hook::AfterTxn,
];

/// A sync whose codes change from run to run.
struct Stage {
    lab: SyncLab,
    way: Way,
    witness: Witness,
    heard: Heard,
    rows: i32,
}

/// What became of a run.
#[derive(Debug, PartialEq)]
struct Played {
    /// Whether it did something, and whether another run follows at once; or why it failed.
    ended: Result<(bool, bool), String>,
    /// Whether the row that waited for it is there.
    arrived: bool,
    /// The codes that ran.
    ran: Vec<String>,
    log: Vec<String>,
}

impl Stage {
    async fn of(way: Way) -> Self {
        let mut lab = way.lab("CREATE TABLE orders (id int PRIMARY KEY, note text)", &["orders:id"]).await;
        let witness = Witness::of(&mut lab);
        Self { lab, way, witness, heard: Heard::begin(), rows: 0 }
    }

    /// A run with these codes, for which a row waits.
    async fn play(&mut self, codes: Vec<Code>) -> Played {
        self.lab.sync.codes = codes;
        self.lab.renew();
        self.rows += 1;
        self.lab.on("a").run(&format!("INSERT INTO orders VALUES ({}, 'x')", self.rows)).await;
        let ended = self.way.run(&mut self.lab).await;
        let there = format!("SELECT count(*) FROM orders WHERE id = {}", self.rows);
        Played {
            ended: ended.map(|report| (!report.is_empty(), report.more)).map_err(|fault| fault.message),
            arrived: self.lab.on("b").number(&there).await == 1,
            ran: self.witness.names(),
            log: self.heard.lines(),
        }
    }

    /// What the controller does with these codes: what they came to, which ran, and what was logged.
    async fn around(&mut self, hook: Hook, codes: Vec<Code>) -> (Result<Outcome, String>, Vec<String>, Vec<String>) {
        self.lab.sync.codes = codes;
        let sync = Arc::new(self.lab.sync.clone());
        let mut codes = Codes::of(&sync, self.lab.hosts.clone().unwrap()).unwrap().with_post(self.lab.post.clone());
        let base = input::base(&sync, Some(&"a".into()), None);
        let ended = outside(&mut codes, hook, None, (&base, &Forms::default()), &Counts::default()).await;
        (ended.map_err(|error| error.to_string()), self.witness.names(), self.heard.lines())
    }
}

/// A code that says this, and one that comes after it.
fn followed(language: Language, hook: Hook, outputs: &Value) -> Vec<Code> {
    let next = Code { name: "next".to_owned(), ..code_in(2, language, hook, "") };
    let next = if language == Language::Sql { Code { source: "SELECT 1".to_owned(), ..next } } else { next };
    vec![Code { name: "it".to_owned(), ..code_in(1, language, hook, &says(language, outputs)) }, next]
}

/// Codes that speak, and what is heard of them.
struct Speech {
    codes: Vec<Code>,
    names: Vec<String>,
    log: Vec<String>,
    mails: Vec<Mail>,
}

/// Messages, warnings and mails in all languages, of the sync and of a table in turn; what else they say has no effect.
fn speech(hooks: &[Hook]) -> Speech {
    let outputs = |name: &str| {
        json!({
            "message": format!("seen by {name}"), "warning": "it's \"odd\"", "skip": 1, "nextcode": true, "error": "",
            "endsync": 0, "lastcode": "0", "runagain": false, "unknown": {"a": [1]},
            "sendmail": [{"subject": "of ü", "body": name}, "a body alone"],
        })
    };
    let codes = hooks.iter().flat_map(|hook| LANGUAGES.map(|language| (hook, language))).zip(1..);
    let codes = codes.map(|((hook, language), id)| {
        let code = code_in(id, language, *hook, "");
        let goat = (id % 2 == 0).then_some(1);
        Code { source: says(language, &outputs(&code.name)), goat, ..code }
    });
    let codes: Vec<Code> = codes.collect();
    let names: Vec<String> = codes.iter().map(|code| code.name.clone()).collect();
    let log = codes.iter().flat_map(|Code { name, hook, .. }| {
        let fields = format!("sync=\"s\" code=\"{name}\" whenrun=\"{}\"", hook.word());
        [format!("INFO seen by {name} {fields}"), format!("WARN it's \"odd\" {fields}")]
    });
    let log = log.collect();
    let mails = names.iter().flat_map(|name| [(name, "of ü", name.as_str()), (name, "", "a body alone")]);
    let mails = mails.map(|(code, subject, body)| Mail {
        sync: "s".to_owned(),
        code: code.clone(),
        subject: subject.to_owned(),
        body: body.to_owned(),
    });
    Speech { mails: mails.collect(), codes, names, log }
}

async fn speak(way: Way) {
    let mut stage = Stage::of(way).await;
    let Speech { codes, names, log, mails } = speech(&HOOKS);
    let played = stage.play(codes).await;
    assert_eq!(played, Played { ended: Ok((true, false)), arrived: true, ran: names, log }, "{way:?}");
    assert_eq!(stage.witness.mails(), mails, "{way:?}");
}

/// Mails that codes send by a call.
#[tokio::test]
async fn mails_may_be_sent_by_a_call() {
    let mut stage = Stage::of(Way::Pair).await;
    for (language, source) in [
        (Language::Lua, "for n = 1, 2 do input.sendmail{subject = 'n', body = 'mail ' .. n} end"),
        (Language::Perl, "$_[0]{sendmail}->({subject => 'n', body => qq{mail $_}}) for 1, 2"),
        (
            Language::Sql,
            "SELECT jsonb_build_object('sendmail', jsonb_agg(jsonb_build_object('subject', 'n', 'body', 'mail ' || n))) FROM generate_series(1, 2) n",
        ),
    ] {
        assert!(stage.play(vec![code_in(1, language, Hook::AfterTxn, source)]).await.arrived);
        let mails = stage.witness.mails();
        let told = mails.iter().map(|mail| (mail.subject.as_str(), mail.body.as_str())).collect::<Vec<_>>();
        assert_eq!(told, [("n", "mail 1"), ("n", "mail 2")], "{language:?}");
    }
}

/// What is kept for others is kept in each language for itself, as long as the KID lives.
#[tokio::test]
async fn what_codes_share() {
    let mut stage = Stage::of(Way::Pair).await;
    for language in LANGUAGES {
        let keep = says(language, &json!({"shared": {"kept": "here"}}));
        let tellers = LANGUAGES.into_iter().zip(2..);
        let tellers = tellers.map(|(other, id)| code_in(id, other, Hook::AfterTriggerEnable, &teller(other)));
        stage.lab.sync.codes = [code_in(1, language, Hook::AfterTxn, &keep)].into_iter().chain(tellers).collect();
        stage.lab.renew();
        for keeps in [false, true] {
            stage.rows += 1;
            stage.lab.on("a").run(&format!("INSERT INTO orders VALUES ({}, 'x')", stage.rows)).await;
            stage.lab.round("b").await.unwrap();
            let calls = stage.witness.calls().into_iter().filter(|call| call.code.id > 1);
            let shared: Vec<_> = calls.map(|call| (call.code.language, call.told()["shared"].clone())).collect();
            let kept = |other| if keeps && other == language { json!({"kept": "here"}) } else { json!({}) };
            assert_eq!(shared, LANGUAGES.map(|other| (other, kept(other))), "{language:?}");
        }
    }
}

/// A code that fails the run, one that leaves it, one that wants another one, and one that is the last: at every hook.
async fn decide(way: Way) {
    let mut stage = Stage::of(way).await;
    for hook in HOOKS {
        let is_after = hook == Hook::AfterTxn;
        let ran = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let (alone, both) = (ran(&["it"]), ran(&["it", "next"]));
        let failed = Err("custom code \"it\" asked to end: not «today»".to_owned());
        let done = |ended, arrived, ran: &Vec<String>| Played { ended, arrived, ran: ran.clone(), log: Vec::new() };
        let cases = [
            (json!({"error": "not «today»", "endsync": 1, "runagain": 1}), done(failed, is_after, &alone)),
            (json!({"endsync": true}), done(Ok((is_after, false)), is_after, &alone)),
            (json!({"runagain": 1}), done(Ok((true, true)), true, &both)),
            (json!({"retry": "yes", "lastcode": 1}), done(Ok((true, true)), true, &alone)),
        ];
        for (outputs, expected) in cases {
            for language in LANGUAGES {
                let played = stage.play(followed(language, hook, &outputs)).await;
                assert_eq!(played, expected, "{way:?} {hook:?} {language:?} {outputs}");
            }
        }
    }
}

/// The codes of the controller, around the runs of all KIDs.
#[tokio::test]
async fn codes_of_the_controller_speak_and_decide() {
    let mut stage = Stage::of(Way::Pair).await;
    let (alone, both) = (["it"], ["it", "next"]);
    for hook in [Hook::BeforeSync, Hook::AfterSync] {
        let Speech { codes, names, log, mails } = speech(&[hook]);
        assert_eq!(stage.around(hook, codes).await, (Ok(Outcome::default()), names, log));
        assert_eq!(stage.witness.mails(), mails);
        let failed = Err("custom code \"it\" asked to end: not «today»".to_owned());
        for (outputs, ended, ran) in [
            (json!({"error": "not «today»", "endsync": 1}), failed, &alone[..]),
            (json!({"endsync": true}), Ok(Outcome { endsync: true, ..Outcome::default() }), &alone),
            (json!({"lastcode": "yes", "endsync": "0"}), Ok(Outcome::default()), &alone),
            (json!({"skip": 1, "nextcode": 1}), Ok(Outcome::default()), &both),
        ] {
            let ran: Vec<String> = ran.iter().map(|&name| name.to_owned()).collect();
            for language in LANGUAGES {
                let ended_now = stage.around(hook, followed(language, hook, &outputs)).await;
                assert_eq!(ended_now, (ended.clone(), ran.clone(), Vec::new()), "{hook:?} {language:?} {outputs}");
            }
        }
    }
}

#[tokio::test]
async fn codes_of_pairs_speak() {
    speak(Way::Pair).await;
}

#[tokio::test]
async fn codes_of_merges_speak() {
    speak(Way::Merge).await;
}

#[tokio::test]
async fn codes_of_whole_copies_speak() {
    speak(Way::Copy).await;
}

#[tokio::test]
async fn codes_decide_of_pairs() {
    decide(Way::Pair).await;
}

#[tokio::test]
async fn codes_decide_of_merges() {
    decide(Way::Merge).await;
}

#[tokio::test]
async fn codes_decide_of_whole_copies() {
    decide(Way::Copy).await;
}
