//! What on the board is worth a mail: what has stalled, what keeps failing, what is well again. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bucardo_actors::board::{ActorId, Doing, Snapshot};
use bucardo_actors::model::DbName;

/// Who is in trouble: an actor, or one that works without a database.
pub(super) type Who = (ActorId, Option<DbName>);

/// News of one that is in trouble, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It has given up, or keeps failing.
    Trouble(Trouble),
    /// It is well again.
    Recovered {
        who: Who,
        /// When the trouble had begun.
        since: SystemTime,
    },
}

/// What is wrong with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) who: Who,
    /// It waits for a person; otherwise it is tried again and again.
    pub(super) stalled: bool,
    pub(super) since: SystemTime,
    pub(super) error: String,
    pub(super) hint: Option<String>,
    pub(super) next_try: Option<SystemTime>,
}

/// Compares one look at the board with the one before.
#[derive(Default)]
pub(super) struct Watcher {
    known: BTreeMap<Who, Known>,
}

struct Known {
    since: SystemTime,
    told: Told,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Failing,
    Stalled,
}

impl Watcher {
    /// What is new. Who fails and is tried again is told of after `patience`, who has stalled at once.
    pub(super) fn look(
        &mut self,
        board: &BTreeMap<ActorId, Snapshot>,
        patience: Duration,
        now: SystemTime,
    ) -> Vec<News> {
        let troubles: BTreeMap<Who, Trouble> =
            troubles(board, now).into_iter().map(|trouble| (trouble.who.clone(), trouble)).collect();
        let mut news = Vec::new();
        self.known.retain(|who, known| {
            let over = !troubles.contains_key(who);
            // One that is gone from the board is neither well nor ill; but a table that is back is gone from there.
            let is_there = match &who.0 {
                ActorId::Table(table) => board.contains_key(&ActorId::Kid(table.kid.clone())),
                id => board.contains_key(id),
            };
            if over && known.told > Told::Nothing && is_there {
                news.push(News::Recovered { who: who.clone(), since: known.since });
            }
            !over
        });
        for (who, trouble) in troubles {
            let known = self.known.entry(who).or_insert(Known { since: trouble.since, told: Told::Nothing });
            let lasts = now.duration_since(known.since).is_ok_and(|lasted| lasted >= patience);
            let tell = match trouble.stalled {
                true => Told::Stalled,
                false if lasts => Told::Failing,
                false => Told::Nothing,
            };
            if tell > known.told {
                known.told = tell;
                news.push(News::Trouble(Trouble { since: known.since, ..trouble }));
            }
        }
        news
    }
}

fn troubles(board: &BTreeMap<ActorId, Snapshot>, now: SystemTime) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for (id, snapshot) in board {
        for (db, away) in snapshot.away.iter().filter(|(db, _)| !is_away(db, board)) {
            troubles.push(Trouble {
                who: (id.clone(), Some(db.clone())),
                stalled: false,
                since: away.since,
                error: away.why.clone(),
                hint: None,
                next_try: None,
            });
        }
        // A database that cannot be reached is tried again all the time.
        let is_db = matches!(id, ActorId::Db(_));
        let stalled = snapshot.state == Doing::Stalled && !is_db;
        let Some(fault) = snapshot.fault.as_ref().filter(|_| !told_by_kids(id, board)) else { continue };
        if !is_db && fault.db.as_ref().is_some_and(|db| is_away(db, board)) {
            continue;
        }
        troubles.push(Trouble {
            who: (id.clone(), None),
            stalled,
            since: snapshot.since.unwrap_or(now),
            error: fault.message.clone(),
            hint: fault.hint.clone(),
            next_try: snapshot.next_try,
        });
    }
    troubles
}

/// The board shows a database as away: that is told once, and not by each who misses it.
fn is_away(db: &DbName, board: &BTreeMap<ActorId, Snapshot>) -> bool {
    board.get(&ActorId::Db(db.clone())).is_some_and(|snapshot| snapshot.state == Doing::Stalled)
}

/// The controller of a sync repeats what its kids say.
fn told_by_kids(id: &ActorId, board: &BTreeMap<ActorId, Snapshot>) -> bool {
    let ActorId::Ctl(sync) = id else { return false };
    let of_sync = |other: &ActorId| matches!(other, ActorId::Kid(kid) if kid.sync == *sync);
    board.iter().any(|(other, snapshot)| of_sync(other) && snapshot.fault.is_some())
}

#[cfg(test)]
mod tests {
    use bucardo_actors::board::Away;
    use bucardo_actors::model::{Fault, Pair};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(300);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn kid(target: &str) -> ActorId {
        ActorId::Kid(Pair { sync: "s".into(), source: "A".into(), target: target.into() }.into())
    }

    fn snapshot(state: Doing, fault: Option<&str>, since: u64) -> Snapshot {
        let fault = fault.map(|text| Fault::transient(text).with_hint("wait"));
        Snapshot { state, fault, since: Some(at(since)), ..Snapshot::default() }
    }

    fn words(news: &[News]) -> Vec<String> {
        let word = |news: &News| match news {
            News::Trouble(trouble) => format!("{:?} stalled={} {}", trouble.who, trouble.stalled, trouble.error),
            News::Recovered { who, since } => format!("{who:?} well since={:?}", since.duration_since(at(0)).unwrap()),
        };
        news.iter().map(word).collect()
    }

    #[test]
    fn a_stall_is_told_at_once_and_once_and_so_is_its_end() {
        let (mut watcher, who) = (Watcher::default(), format!("{:?}", (kid("B"), None::<DbName>)));
        let mut look = |state, fault, now| {
            let board = [(kid("B"), snapshot(state, fault, now))].into();
            words(&watcher.look(&board, PATIENCE, at(now)))
        };
        assert!(look(Doing::Idle, None, 1).is_empty());
        assert_eq!(look(Doing::Stalled, Some("no table"), 10), [format!("{who} stalled=true no table")]);
        assert!(look(Doing::Stalled, Some("no table"), 12).is_empty());
        // Tried again: nothing is known until it went well.
        assert!(look(Doing::Running, Some("no table"), 900).is_empty());
        assert!(look(Doing::Stalled, Some("no table"), 902).is_empty());
        assert_eq!(look(Doing::Idle, None, 904), [format!("{who} well since=10s")]);
        assert!(look(Doing::Idle, None, 906).is_empty());
        assert_eq!(look(Doing::Stalled, Some("again"), 910).len(), 1);
    }

    #[test]
    fn what_keeps_failing_is_told_when_it_lasts() {
        let mut watcher = Watcher::default();
        let mut look = |fault, now| {
            let board = [(kid("B"), snapshot(Doing::Down, fault, now))].into();
            watcher.look(&board, PATIENCE, at(now)).len()
        };
        assert_eq!(look(Some("deadlock"), 0), 0);
        assert_eq!(look(None, 100), 0, "nobody was told, so its end is no news");
        assert_eq!(look(Some("no route"), 200), 0);
        assert_eq!(look(Some("no route"), 499), 0);
        assert_eq!(look(Some("no route"), 500), 1);
        assert_eq!(look(Some("no route"), 900), 0);
        assert_eq!(look(None, 1000), 1);
    }

    #[test]
    fn a_controller_does_not_repeat_its_kids() {
        let ctl = ActorId::Ctl("s".into());
        let stalled = |text| snapshot(Doing::Stalled, Some(text), 0);
        let both = [(ctl.clone(), stalled("x")), (kid("B"), stalled("x")), (kid("C"), stalled("y"))].into();
        assert_eq!(Watcher::default().look(&both, PATIENCE, at(0)).len(), 2);
        let alone = [(ctl, stalled("no key")), (kid("B"), snapshot(Doing::Idle, None, 0))].into();
        assert_eq!(Watcher::default().look(&alone, PATIENCE, at(0)).len(), 1);
    }

    #[test]
    fn a_database_that_a_merge_does_without_is_told_when_it_lasts() {
        let mut watcher = Watcher::default();
        let mut look = |away: &[&str], now| {
            let away = away.iter().map(|db| ((*db).into(), Away { since: at(0), why: "down".to_owned() }));
            let merge = Snapshot { away: away.collect(), ..snapshot(Doing::Idle, None, 0) };
            words(&watcher.look(&[(kid("B"), merge)].into(), PATIENCE, at(now))).len()
        };
        assert_eq!((look(&["C", "D"], 10), look(&["C", "D"], 300), look(&["D"], 310)), (0, 2, 1));
    }

    #[test]
    fn a_database_that_is_away_is_told_once_and_not_by_all_who_miss_it() {
        let mut watcher = Watcher::default();
        let mut look = |now| {
            let missing = || {
                let mut kid = snapshot(Doing::Stalled, Some("no route"), 0);
                kid.fault = kid.fault.map(|fault| fault.at("B".into()));
                kid
            };
            let db = snapshot(Doing::Stalled, Some("no route"), 0);
            let board = [(kid("B"), missing()), (kid("C"), missing()), (ActorId::Db("B".into()), db)].into();
            words(&watcher.look(&board, PATIENCE, at(now)))
        };
        assert!(look(0).is_empty(), "a server that is restarted is no news");
        assert_eq!(look(300), ["(Db(\"B\"), None) stalled=false no route"]);
    }

    #[test]
    fn a_sync_that_is_removed_is_not_called_well() {
        let mut watcher = Watcher::default();
        let board = [(kid("B"), snapshot(Doing::Stalled, Some("x"), 0))].into();
        assert_eq!(watcher.look(&board, PATIENCE, at(0)).len(), 1);
        assert!(watcher.look(&BTreeMap::new(), PATIENCE, at(2)).is_empty());
    }
}
