use super::*;
use crate::engine::merge::version::DECIDED_MAX;

const ALL: u64 = 0b111;
const NOW: i64 = 1000;

fn version(time: i64, db: u16, serial: i64) -> Version {
    Version { time, db, serial }
}

/// A change of its own that the others have not read, and no merge there has seen.
fn written(place: u16, time: i64) -> (u16, Entry) {
    let fresh = Some(Fresh { count: 1, newest: time });
    (place, Entry { unread_by: ALL & !bit(place), fresh, ..Entry::default() })
}

/// What merges have recorded there, unread by some.
fn recorded(place: u16, unread_by: u64, versions: &[Version]) -> (u16, Entry) {
    (place, Entry { unread_by, recorded: versions.to_vec(), ..Entry::default() })
}

fn ruling(present: &[(u16, Entry)], strategy: &Strategy, leader: Option<u16>) -> Ruling {
    let terms = Terms { up: ALL, strategy, now: NOW, leader };
    decide(present, &terms, b"7").unwrap()
}

fn take(present: &[(u16, Entry)], strategy: &Strategy) -> Take {
    match ruling(present, strategy, None) {
        Ruling::Take(take) => take,
        Ruling::Abort { rivals } => panic!("aborted: {rivals:b}"),
    }
}

#[test]
fn one_change_goes_to_all_others_with_its_version() {
    let take = take(&[written(1, 100)], &Strategy::Abort);
    assert_eq!(take, Take { winner: 1, version: version(100, 1, 0), rivals: 0, write: 0b101, record: 0 });
    assert!(decide(&[], &Terms { up: ALL, strategy: &Strategy::Latest, now: NOW, leader: None }, b"").is_none());
}

#[test]
fn every_strategy_has_its_winner_on_every_side() {
    // The newest change is in turn that of the first, the second, the third.
    for newest in 0..3 {
        let present: Vec<_> = (0..3).map(|place| written(place, if place == newest { 200 } else { 100 })).collect();
        for (strategy, winner) in [
            (Strategy::First, 0),
            (Strategy::Last, 2),
            (Strategy::Listed(vec![1]), 1),
            (Strategy::Listed(vec![9, 2, 0]), 2),
            (Strategy::Latest, newest),
            (Strategy::LatestAllTables, newest),
        ] {
            let take = take(&present, &strategy);
            assert_eq!((take.winner, take.rivals), (winner, ALL), "{strategy:?}, newest {newest}");
            assert_eq!(take.write, ALL & !bit(winner));
            if strategy == Strategy::Latest {
                assert_eq!((take.version, take.record), (version(200, winner, 0), 0));
            } else {
                assert!(take.version.is_decision() && take.version.time == NOW && take.version.db == winner);
                assert_eq!(take.record, bit(winner), "the winner hears of it, too");
            }
        }
        for leader in 0..3 {
            let Ruling::Take(take) = ruling(&present, &Strategy::LatestAllTables, Some(leader)) else {
                panic!("aborted")
            };
            assert_eq!(take.winner, leader);
        }
        assert_eq!(ruling(&present, &Strategy::Abort, None), Ruling::Abort { rivals: ALL });
    }
}

#[test]
fn ties_go_to_the_first_and_a_strategy_chooses_among_rivals_only() {
    assert_eq!(take(&[written(0, 100), written(2, 100)], &Strategy::Latest).winner, 0);
    assert_eq!(take(&[written(1, 100), written(2, 100)], &Strategy::First).winner, 1);
    let rivals = [written(1, 100), written(2, 100)];
    assert_eq!(take(&rivals, &Strategy::Listed(vec![0, 9])).winner, 1);
    // A single one wins also what it has not changed, but not when it is away.
    let won = take(&rivals, &Strategy::Listed(vec![0]));
    assert_eq!((won.winner, won.write, won.record, won.rivals), (0, 0b110, 0b001, 0b110));
    assert!(won.version.is_decision() && won.version.time > 100);
    let strategy = Strategy::Listed(vec![0]);
    let terms = Terms { up: 0b110, strategy: &strategy, now: NOW, leader: None };
    assert!(matches!(decide(&rivals, &terms, b"7"), Some(Ruling::Take(Take { winner: 1, .. }))));
    let Ruling::Take(take) = ruling(&[written(1, 100), written(2, 200)], &Strategy::LatestAllTables, Some(0)) else {
        panic!("aborted")
    };
    assert_eq!(take.winner, 2);
}

#[test]
fn the_same_input_has_the_same_random_winner_and_other_keys_have_others() {
    let present = [written(0, 100), written(1, 200), written(2, 300)];
    let terms = Terms { up: ALL, strategy: &Strategy::Random, now: NOW, leader: None };
    let winner = |key: u8| match decide(&present, &terms, &[key]) {
        Some(Ruling::Take(take)) => take.winner,
        other => panic!("{other:?}"),
    };
    let count = |place| (0..=u8::MAX).filter(|key| winner(*key) == place).count();
    assert!((0..3).all(|place| count(place) > 50), "{:?}", [count(0), count(1), count(2)]);
    assert!((0..=u8::MAX).all(|key| winner(key) == winner(key)));
}

#[test]
fn a_decision_is_newer_than_all_that_was_seen() {
    let take = take(&[written(0, 5000), written(1, 100)], &Strategy::Last);
    assert_eq!((take.winner, take.version.time, take.version.db), (1, 5001, 1));
    assert!(take.version.serial <= DECIDED_MAX);
}

#[test]
fn a_skipped_key_stays_skipped_until_it_is_written_again() {
    let skipped = take(&[written(0, 100), written(1, 200)], &Strategy::Skip);
    assert!(skipped.version.is_skip());
    assert_eq!((skipped.write, skipped.record, skipped.rivals), (0, ALL, 0b011));
    // Only the first has committed.
    let first = Entry { settled: Some(100), ..recorded(0, 0b110, &[skipped.version]).1 };
    let (_, mut second) = written(1, 200);
    second.unread_by = 0b100;
    let again = take(&[(0, first), (1, second)], &Strategy::Skip);
    assert!(again.version == skipped.version && again.write == 0 && again.record == 0b110, "{again:?}");
    let mut later = written(0, 300);
    later.1.recorded.push(skipped.version);
    let taken = take(&[later], &Strategy::Skip);
    assert_eq!((taken.winner, taken.write, taken.rivals), (0, 0b110, 0));
}

#[test]
fn a_change_on_top_of_what_was_merged_is_newer_whatever_its_clock_says() {
    let (place, mut entry) = written(1, 100);
    entry.recorded.push(version(5000, 0, 0));
    let take = take(&[(place, entry)], &Strategy::Latest);
    assert_eq!((take.version, take.write, take.record), (version(5001, 1, 0), 0b101, 0b010));
}

#[test]
fn several_changes_are_one_version_that_only_grows() {
    let of = |count, newest| Entry { fresh: Some(Fresh { count, newest }), ..Entry::default() }.version(1).unwrap();
    assert!(of(1, 100) < of(2, 100) && of(2, 100) < of(3, 200));
    let entry = Entry { unread_by: 0b101, fresh: Some(Fresh { count: 3, newest: 100 }), ..Entry::default() };
    let take = take(&[(1, entry)], &Strategy::Latest);
    assert_eq!(
        (take.version, take.record),
        (version(100, 1, 2), 0b010),
        "what cannot be told from the log is recorded"
    );
}

#[test]
fn who_has_seen_the_other_is_no_rival() {
    let seen = version(100, 0, 0);
    // By its log, by what it has read, and because it is its own.
    let by_log = [written(0, 100), (1, Entry { recorded: vec![seen], ..written(1, 50).1 })];
    let mut by_reading = [written(0, 100), written(1, 200)];
    by_reading[0].1.unread_by = 0b100;
    let own = [written(0, 200), recorded(1, 0b101, &[seen])];
    for (present, winner) in [(by_log, 1), (by_reading, 1), (own, 0)] {
        let take = take(&present, &Strategy::Abort);
        assert_eq!((take.winner, take.rivals), (winner, 0), "{present:?}");
    }
}

#[test]
fn what_was_written_since_a_lost_decision_came_after_it() {
    // Decided for the first, whose commit was lost; it has written again, by a clock that is behind.
    let decision = version(1000, 0, DECIDED_MAX);
    let (_, mut first) = written(0, 900);
    first.fresh = Some(Fresh { count: 2, newest: 900 });
    let take = take(&[(0, first), recorded(1, 0b101, &[version(100, 1, 0), decision])], &Strategy::Last);
    assert_eq!((take.winner, take.rivals, take.write), (0, 0, 0b110));
    assert!(take.version > decision, "and nobody holds a newer version of it");
}

#[test]
fn the_author_without_news_keeps_its_row_and_hears_of_its_version() {
    let take = take(&[recorded(1, 0b101, &[version(5001, 0, 0)])], &Strategy::Latest);
    assert_eq!((take.version, take.write, take.record), (version(5001, 0, 0), 0b100, 0b001));
}

/// What custom code wrote in the merge's own transaction at a source may be lost there and be kept by others: nobody may
/// take that source for one that has it.
#[test]
fn what_codes_wrote_in_the_merge_has_a_version_of_nobody() {
    let made = |txid| {
        let (place, entry) = written(1, 100);
        (place, Entry { made_in: Some(txid), ..entry })
    };
    let first = take(&[made(7)], &Strategy::Abort);
    assert_eq!((first.winner, first.rivals, first.write, first.record), (1, 0, 0b101, 0b010));
    assert!(first.version.is_decision() && first.version.db == NOBODY && first.version.time >= NOW, "{first:?}");
    assert_ne!(first.version, take(&[made(8)], &Strategy::Abort).version, "another transaction wrote something else");
    // It was lost: who wrote it gets it from the others, as nothing there is newer.
    let again = take(&[recorded(0, ALL & !1, &[first.version])], &Strategy::Abort);
    assert_eq!((again.winner, again.version, again.write), (0, first.version, 0b110));
    // A conflict that it wins is no different; one that it loses is that of the winner.
    for strategy in [Strategy::Latest, Strategy::Listed(vec![1, 0])] {
        let won = take(&[written(0, 50), made(7)], &strategy);
        assert_eq!((won.winner, won.version.db, won.rivals), (1, NOBODY, 0b011), "{strategy:?}");
    }
    let lost = take(&[written(0, 200), made(7)], &Strategy::Latest);
    assert_eq!((lost.winner, lost.version), (0, version(200, 0, 0)));
    let skipped = take(&[written(0, 200), made(7)], &Strategy::Skip);
    assert_eq!((skipped.version.is_skip(), skipped.write, skipped.record), (true, 0, ALL));
}

/// A row that was told when its partition was captured late, unread by the others.
fn before(place: u16, serial: i64) -> (u16, Entry) {
    (place, Entry { before: vec![serial], before_unread_by: ALL & !bit(place), ..Entry::default() })
}

fn captured_first(mut present: Vec<(u16, Entry)>) -> Vec<(u16, Entry)> {
    prefer_captured(&mut present);
    present
}

/// A change that was captured wins over what a source had before it captured any, whatever the strategy, and also where that
/// has an older version of the row beneath; of such rows alone, equal ones are no rivals, and others get what they lack.
#[test]
fn what_was_there_before_it_was_captured_is_older_than_any_change() {
    for strategy in [Strategy::First, Strategy::Last, Strategy::Abort, Strategy::Latest, Strategy::Skip] {
        for place in 0..3 {
            let mut present: Vec<_> = (0..3).map(|at| before(at, i64::from(at))).collect();
            present[0].1.recorded.push(version(900, 2, 0));
            present[usize::from(place)].1.fresh = Some(Fresh { count: 1, newest: 100 });
            present[usize::from(place)].1.unread_by = ALL & !bit(place);
            let take = take(&captured_first(present), &strategy);
            assert_eq!((take.winner, take.rivals, take.write), (place, 0, ALL & !bit(place)), "{strategy:?}");
        }
        let take = take(&captured_first((0..3).map(|at| before(at, 7)).collect()), &strategy);
        assert_eq!((take.rivals, take.write, take.record), (0, 0, 0), "{strategy:?}: all are equal");
        let one = self::take(&captured_first(vec![before(1, 7)]), &strategy);
        assert_eq!((one.winner, one.rivals, one.write, one.version.is_before()), (1, 0, 0b101, true), "{strategy:?}");
    }
    let differing = || captured_first(vec![before(0, 7), before(1, 9), before(2, 7)]);
    let won = take(&differing(), &Strategy::Latest);
    assert_eq!((won.winner, won.rivals, won.write), (1, ALL, 0b101), "the same in every merge");
    assert_eq!(take(&differing(), &Strategy::First).winner, 0);
    // The first has what was decided, though it had something else.
    let mut present = vec![before(0, 7), before(1, 9)];
    present[0].1.before.push(9);
    let after = take(&captured_first(present), &Strategy::Abort);
    assert_eq!((after.rivals, after.write, after.version), (0, 0b100, won.version));
}

/// A source, and what other syncs brought there: whose, and when.
fn brought(place: u16, changes: &[(Author, i64)]) -> (u16, Entry) {
    let newest = changes.iter().map(|(_, time)| *time).max().unwrap();
    let (place, entry) = written(place, newest);
    (place, Entry { brought: changes.to_vec(), ..entry })
}

fn made(mut of: (u16, Entry), time: i64) -> (u16, Entry) {
    of.1.own = Some(time);
    of
}

/// A source that has all the changes of another one is no rival of it, whichever syncs brought them.
#[test]
fn changes_that_came_two_ways_are_no_conflict() {
    const OUTSIDE: Author = 1 << 63 | 5;
    for (present, winner) in [
        (vec![brought(0, &[(OUTSIDE, 100)]), brought(1, &[(OUTSIDE, 100)])], 0),
        (vec![brought(0, &[(OUTSIDE, 100)]), brought(1, &[(OUTSIDE, 200)])], 1),
        (vec![brought(0, &[(OUTSIDE, 100)]), made(brought(1, &[(OUTSIDE, 150)]), 120)], 1),
        // One of the sources made it.
        (vec![made(written(0, 100), 100), brought(1, &[(0, 100)])], 0),
        (vec![made(written(0, 300), 300), brought(1, &[(0, 100)]), brought(2, &[(0, 200)])], 0),
    ] {
        let take = take(&present, &Strategy::Abort);
        assert_eq!((take.winner, take.rivals), (winner, 0), "{present:?}");
    }
    let mut mixed = brought(0, &[(OUTSIDE, 100)]);
    mixed.1.is_mixed = true;
    for rivals in [
        vec![made(brought(0, &[(OUTSIDE, 100)]), 110), brought(1, &[(OUTSIDE, 200)])],
        vec![brought(0, &[(OUTSIDE, 100), (OUTSIDE + 1, 90)]), brought(1, &[(OUTSIDE, 200)])],
        vec![made(written(0, 100), 100), made(written(1, 100), 100)],
        vec![mixed, brought(1, &[(OUTSIDE, 200)])],
    ] {
        assert_eq!(ruling(&rivals, &Strategy::Abort, None), Ruling::Abort { rivals: 0b11 }, "{rivals:?}");
    }
}
