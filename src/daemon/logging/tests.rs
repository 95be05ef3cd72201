//! The log without a daemon: formats, files that are rotated, system logs that come, go and hang.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Local};
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::config::{LogFormat, ShowTime};

struct Capture(Mutex<Vec<Entry>>);

impl<S: Subscriber> Layer<S> for &'static Capture {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry::of(event);
        entry.time = DateTime::from_timestamp(1_795_000_000, 7_000_000).unwrap().with_timezone(&Local);
        entry.pid = 42;
        self.0.lock().unwrap().push(entry);
    }
}

/// The entries of what `log` logs, all by process 42 at one moment.
fn entries(log: impl FnOnce()) -> Vec<Entry> {
    let capture: &'static Capture = Box::leak(Box::new(Capture(Mutex::default())));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(capture), log);
    std::mem::take(&mut *capture.0.lock().unwrap())
}

fn lines(settings: &LogSettings, log: impl FnOnce()) -> Vec<String> {
    entries(log).iter().map(|entry| entry.whole(settings)).collect()
}

fn how(settings: &LogSettings) -> How {
    How::open(settings, false).unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn destinations(names: &[&Path]) -> LogSettings {
    let destinations = names.iter().map(|name| name.display().to_string()).collect();
    LogSettings { destinations, show_time: ShowTime::None, show_pid: false, ..LogSettings::default() }
}

#[test]
fn lines_have_the_format_that_operators_know() {
    let settings = LogSettings { show_time: ShowTime::Utc, ..LogSettings::default() };
    let lines = lines(&settings, || {
        tracing::info!(target: "bucardo_actors::kid", kid = %"orders A->B", rows = 7, "round done");
        tracing::warn!(target: "bucardo_actors::mcp", error = "no\nroute", "cannot listen");
        tracing::error!(target: "bucardo_actors::vac", "VAC is stalled");
    });
    assert_eq!(
        lines,
        [
            "(42) [Wed Nov 18 11:06:40 2026] KID (orders) round done kid=\"orders A->B\" rows=7\n",
            "WARN (42) [Wed Nov 18 11:06:40 2026] MCP Warning: cannot listen error=\"no route\"\n",
            "ERROR (42) [Wed Nov 18 11:06:40 2026] VAC Warning: VAC is stalled\n",
        ]
    );
}

/// Codes run where a kid or a controller runs, and their lines say which.
#[test]
fn lines_of_custom_codes_are_those_of_who_runs_them() {
    let settings = LogSettings { show_pid: false, show_time: ShowTime::None, ..LogSettings::default() };
    let lines = lines(&settings, || {
        tracing::info!(target: "bucardo::custom::codes", sync = "s", code = "c", whenrun = "after_txn", "one");
        tracing::info!(target: "bucardo::custom::codes", sync = "s", code = "c", whenrun = "before_sync", "two");
        tracing::warn!(target: "bucardo::custom::perl::child", code = "c", "three");
    });
    assert_eq!(
        lines,
        [
            "KID (s) one sync=s code=c whenrun=after_txn\n",
            "CTL (s) two sync=s code=c whenrun=before_sync\n",
            "WARN MCP Warning: three code=c\n",
        ]
    );
}

#[test]
fn parts_can_be_switched() {
    let purged = || tracing::info!(target: "bucardo_actors::vac", "purged");
    let mut settings = LogSettings {
        show_pid: false,
        show_level: true,
        show_time: ShowTime::Epoch,
        fraction: true,
        ..LogSettings::default()
    };
    assert_eq!(lines(&settings, purged), ["INFO [1795000000.007] VAC purged\n"]);

    settings = LogSettings { show_line: true, show_time: ShowTime::None, ..settings };
    let line = &lines(&settings, purged)[0];
    assert!(line.starts_with("INFO #bucardo_actors::vac:") && line.ends_with(" VAC purged\n"), "{line}");

    settings = LogSettings { show_time: ShowTime::Utc, time_format: "%Q %H".to_owned(), ..LogSettings::default() };
    let line = &lines(&settings, purged)[0];
    assert!(line.contains("2026-11-18T"), "a pattern that makes no sense still tells the time: {line}");

    let kid = || tracing::info!(target: "bucardo_actors::kid", sync = %"orders", "up");
    settings = LogSettings { show_sync: false, show_time: ShowTime::None, ..LogSettings::default() };
    assert_eq!(lines(&settings, kid), ["(42) KID up sync=orders\n"]);
}

/// Names come from tables that anybody with SQL may write.
#[test]
fn a_name_cannot_forge_lines() {
    let sync = "x\n(1) [now] MCP Bucardo has stopped\u{1b}[2J\r";
    let log = || tracing::info!(target: "bucardo_actors::ctl", sync, "up \u{7}");
    let settings = LogSettings { show_time: ShowTime::None, ..LogSettings::default() };
    let line = lines(&settings, log).remove(0);
    assert_eq!(line.chars().filter(|sign| sign.is_control()).collect::<String>(), "\n", "{line:?}");

    let json = lines(&LogSettings { format: LogFormat::Json, ..settings }, log).remove(0);
    assert_eq!(json.matches('\n').count(), 1);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["fields"]["sync"], sync);
}

#[test]
fn json_has_everything_and_numbers_stay_numbers() {
    let settings = LogSettings { format: LogFormat::Json, show_pid: false, ..LogSettings::default() };
    let log = || {
        tracing::warn!(target: "bucardo_actors::ctl", kid = %"orders A->B", rows = 7, is_late = true, "round \"failed\"");
    };
    let value: serde_json::Value = serde_json::from_str(&lines(&settings, log)[0]).unwrap();
    let time = DateTime::parse_from_rfc3339(value["time"].as_str().unwrap()).unwrap();
    assert_eq!(time.timestamp_millis(), 1_795_000_000_007);
    assert_eq!((&value["level"], &value["pid"], &value["process"]), (&"WARN".into(), &42.into(), &"CTL".into()));
    assert_eq!((&value["sync"], &value["message"]), (&"orders".into(), &"Warning: round \"failed\"".into()));
    assert_eq!(value["fields"], serde_json::json!({"kid": "orders A->B", "rows": 7, "is_late": true}));
}

/// logrotate with `create`: the file is moved, then USR2. With `copytruncate`: the file is emptied under us.
#[test]
fn rotated_files_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let how = how(&LogSettings { extension: "x".to_owned(), ..destinations(&[dir.path()]) });
    let path = dir.path().join("log.bucardo.x");
    let log = |text: &str| entries(|| tracing::info!("{text}")).iter().for_each(|entry| how.put(entry));
    log("one");
    std::fs::rename(&path, dir.path().join("old")).unwrap();
    log("two");
    how.sinks.iter().for_each(|sink| assert_eq!(lock(sink).reopen(), None));
    log("three");
    assert_eq!(read(&path), "MCP three\n");
    assert_eq!(read(dir.path().join("old")), "MCP one\nMCP two\n");

    std::fs::File::options().write(true).truncate(true).open(&path).unwrap();
    log("four");
    assert_eq!(read(&path), "MCP four\n", "no hole before it");

    std::fs::rename(dir.path(), dir.path().with_extension("away")).unwrap();
    let complaint = lock(&how.sinks[0]).reopen().unwrap();
    assert!(complaint.contains("the old file goes on"), "{complaint}");
    log("five");
    assert_eq!(read(dir.path().with_extension("away").join("log.bucardo.x")), "MCP four\nMCP five\n");
    std::fs::rename(dir.path().with_extension("away"), dir.path()).unwrap();
}

#[test]
fn several_destinations_files_of_processes_and_the_file_of_warnings() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let how = how(&LogSettings { separate: true, ..destinations(&[one.path(), two.path()]) });
    for entry in entries(|| {
        tracing::info!(target: "bucardo_actors::mcp", "up");
        tracing::info!(target: "bucardo_actors::ctl", sync = "s", "planned");
        tracing::warn!(target: "bucardo_actors::kid", kid = %"s A->B", "late");
    }) {
        how.put(&entry);
    }
    for dir in [&one, &two] {
        let of = |role: &str| read(dir.path().join(format!("log.bucardo.{role}")));
        assert_eq!(of("MCP"), "MCP up\n");
        assert_eq!(of("CTL"), "CTL (s) planned sync=s\n");
        assert_eq!(of("KID"), "WARN KID (s) Warning: late kid=\"s A->B\"\n");
        assert_eq!(of("VAC"), "");
    }
    assert_eq!(read(one.path().join("bucardo.warning.log")), "WARN KID (s) Warning: late kid=\"s A->B\"\n");
    assert!(!two.path().join("bucardo.warning.log").exists(), "one file of warnings is enough");
}

/// Without a directory there is nothing that a relative name is relative to; an absolute one needs none.
#[test]
fn the_file_of_warnings_is_where_the_log_is() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(how(&destinations(&[Path::new("none")])).sinks.len(), 0);
    let path = dir.path().join("warnings");
    let how = how(&LogSettings { warning_file: path.clone(), ..destinations(&[Path::new("none")]) });
    entries(|| tracing::error!("lost")).iter().for_each(|entry| how.put(entry));
    assert_eq!(read(path), "ERROR MCP Warning: lost\n");
}

#[test]
fn what_cannot_be_opened_is_named() {
    let missing = Path::new("/nonexistent/folder");
    let error = How::open(&destinations(&[missing]), false).err().unwrap();
    assert!(error.to_string().contains("/nonexistent/folder/log.bucardo"), "{error}");
    let wrong = LogSettings { syslog_facility: "local9".to_owned(), ..destinations(&[Path::new("syslog")]) };
    let error = How::open(&wrong, false).err().unwrap();
    assert_eq!(error.to_string(), "unknown syslog facility \"local9\"");
}

/// A socket of a system log, and the settings that lead to it.
fn system_log(dir: &Path, name: &str) -> (UnixDatagram, LogSettings) {
    let path = dir.join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let settings =
        LogSettings { syslog_socket: path.clone(), journal_socket: path, ..destinations(&[Path::new(name)]) };
    (socket, settings)
}

fn next(socket: &UnixDatagram) -> Vec<u8> {
    let mut bytes = vec![0; 256 * 1024];
    let length = socket.recv(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

#[test]
fn syslog_gets_what_the_c_library_would_send() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, settings) = system_log(dir.path(), "syslog");
    let how = how(&LogSettings { syslog_facility: "LOG_LOCAL1".to_owned(), show_pid: true, ..settings });
    let log = || {
        tracing::info!("up");
        tracing::warn!(target: "bucardo_actors::kid", kid = %"s A->B", "late");
        tracing::info!("{}", "ä".repeat(10_000));
    };
    entries(log).iter().for_each(|entry| how.put(entry));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let time = DateTime::from_timestamp(1_795_000_000, 0).unwrap().with_timezone(&Local).format("%b %e %H:%M:%S");
    assert_eq!(text(next(&socket)), format!("<142>{time} Bucardo[42]: MCP up"));
    assert_eq!(text(next(&socket)), format!("<140>{time} Bucardo[42]: KID (s) Warning: late kid=\"s A->B\""));
    assert!(next(&socket).len() < 8192, "syslogd cuts longer ones, and not between characters");
}

#[test]
fn the_journal_gets_fields() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, settings) = system_log(dir.path(), "journald");
    let how = how(&settings);
    let log = || tracing::error!(target: "bucardo_actors::ctl", kid = %"s A->B", error = "one\ntwo", "stalled");
    entries(log).iter().for_each(|entry| how.put(entry));
    let message = next(&socket);
    let text = String::from_utf8_lossy(&message);
    for line in [
        "MESSAGE=CTL (s) Warning: stalled kid=\"s A->B\" error=\"one two\"",
        "PRIORITY=3",
        "SYSLOG_IDENTIFIER=Bucardo",
        "BUCARDO_PROCESS=CTL",
        "BUCARDO_SYNC=s",
        "BUCARDO_KID=s A->B",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    let mut framed = b"BUCARDO_ERROR\n".to_vec();
    framed.extend_from_slice(&7_u64.to_le_bytes());
    framed.extend_from_slice(b"one\ntwo\n");
    assert!(message.windows(framed.len()).any(|part| part == framed), "{text}");
}

/// syslogd is restarted; then it is away for a while, and other destinations tell of it.
#[test]
fn a_system_log_that_comes_back_is_told_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, mut settings) = system_log(dir.path(), "syslog");
    settings.destinations.push(dir.path().display().to_string());
    let path = settings.syslog_socket.clone();
    let how = how(&settings);
    let log = |text: &str| entries(|| tracing::info!("{text}")).iter().for_each(|entry| how.put(entry));
    log("one");
    drop((next(&socket), socket));
    std::fs::remove_file(&path).unwrap();
    let socket = UnixDatagram::bind(&path).unwrap();
    log("two");
    assert!(String::from_utf8(next(&socket)).unwrap().ends_with("MCP two"), "a restart loses nothing");

    drop(socket);
    log("three");
    log("four");
    let file = read(dir.path().join("log.bucardo"));
    let complaints = file.matches("Warning: cannot write the log to \"syslog\": ").count();
    assert_eq!((complaints, file.matches("four").count()), (1, 1), "{file}");

    std::fs::remove_file(&path).unwrap();
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut bytes = [0; 1024];
    let length = loop {
        log("five");
        match socket.recv(&mut bytes) {
            Ok(length) => break length,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let first = String::from_utf8_lossy(&bytes[..length]);
    assert!(first.contains("Warning: ") && first.contains(" lines of the log could not be written here"), "{first}");
}

/// A syslogd that is stopped in its tracks (SIGSTOP, a full disk) must not stop the daemon, which writes its log from
/// the thread of all actors.
#[test]
fn a_system_log_that_hangs_holds_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_socket, settings) = system_log(dir.path(), "syslog");
    let how = how(&settings);
    let entry = entries(|| tracing::info!("{}", "x".repeat(7000))).remove(0);
    let began = Instant::now();
    for _ in 0..5000 {
        how.put(&entry);
    }
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// The directory is made after the settings that name it were read, and they are read again.
#[test]
fn a_destination_that_failed_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    std::fs::create_dir(&old).unwrap();
    let mut how = how(&destinations(&[&old]));
    let log = |how: &How, text: &str| entries(|| tracing::info!("{text}")).iter().for_each(|entry| how.put(entry));
    let wanted = LogSettings { show_level: true, ..destinations(&[&new]) };
    assert!(matches!(how.change(&wanted, false), Err(LogError::File { .. })));
    log(&how, "one");
    assert_eq!(read(old.join("log.bucardo")), "INFO MCP one\n", "in the old place, in the new format");
    std::fs::create_dir(&new).unwrap();
    how.change(&wanted, false).unwrap();
    log(&how, "two");
    assert_eq!(read(new.join("log.bucardo")), "INFO MCP two\n");
}
