//! The name `bucardo_ctl` of versions 3 and 4: what their options and words mean, and how they showed lists.

use super::words::{self, Noun};
use super::{CliError, Context, Outcome};
use crate::catalog::syncs::SyncListing;

/// A program of this name speaks as versions 3 and 4 did.
pub(super) const PROGRAM: &str = "bucardo_ctl";

/// The options of a command line in their spelling of today.
pub(super) fn options(args: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = args.iter().peekable();
    while let Some(arg) = rest.next() {
        let (name, mut value) = match arg.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (arg.as_str(), None),
        };
        let takes_number = matches!(name, "--verbose" | "--daysback" | "--debugstderr" | "--debugstdout");
        if takes_number && value.is_none() {
            value = rest.next_if(|next| next.parse::<u8>().is_ok()).cloned();
        }
        let number = value.as_deref().map_or(1, |value| value.parse().unwrap_or(1_usize)).min(4);
        match name {
            "--verbose" => all.extend(vec!["--verbose".to_owned(); number]),
            "--ctlverbose" => all.push("--verbose".to_owned()),
            "--ctlquiet" => all.push("--quiet".to_owned()),
            "--daysback" => all.push(format!("--daysback={}", value.unwrap_or_default())),
            "--debugstderr" | "--debugstdout" if number > 0 => {
                all.push(format!("--log-destination={}", name.trim_start_matches("--debug")));
            }
            "--debugstderr" | "--debugstdout" => {}
            _ => all.push(arg.clone()),
        }
    }
    all
}

/// The words after a verb in their meaning of today: the first word of `add database` is the real name of the
/// database, and `name=` that in the catalog.
pub(super) fn words(verb: &str, words: Vec<String>) -> Vec<String> {
    let is_database = words.first().is_some_and(|word| Noun::of(word) == Some(Noun::Database));
    let key = |word: &String| words::pair(word).map(|(key, _)| key);
    let says_where = |word: &String| {
        key(word).is_some_and(|key| matches!(key.as_str(), "db" | "dbname" | "service" | "dbservice" | "dsn" | "dbdsn"))
    };
    if verb != "add" || !is_database || words.iter().any(says_where) {
        return words;
    }
    let Some(place) = words.iter().skip(1).position(|word| key(word).is_none()).map(|place| place + 1) else {
        return words;
    };
    let real = words[place].clone();
    let named = words.iter().find_map(|word| words::pair(word).filter(|(key, _)| key == "name").map(|(_, name)| name));
    let name = named.map_or_else(|| real.clone(), str::to_owned);
    let mut all = vec![words[0].clone(), name, format!("dbname={real}")];
    let others =
        words.iter().enumerate().skip(1).filter(|(at, word)| *at != place && key(word).as_deref() != Some("name"));
    all.extend(others.map(|(_, word)| word.clone()));
    all
}

/// What versions 3 and 4 said of an empty table, with exit code 1.
pub(super) fn no_entries(ctx: &Context, table: &str) -> Outcome {
    ctx.out.say(format!("There are no entries in the '{table}' table."));
    Ok(1)
}

/// What versions 3 and 4 called the type of a sync.
pub(super) fn kind(sync: &SyncListing) -> &'static str {
    let has = |role: &str| sync.members.iter().filter(|member| member.role == role).count();
    match (has("source"), has("target"), has("fullcopy")) {
        (2.., _, _) => "swap",
        (_, 0, 1..) => "fullcopy",
        _ => "pushdelta",
    }
}

/// `Sync: x  (pushdelta)  herd => target  (Active)`
pub(super) fn sync_line(sync: &SyncListing, width: usize) -> String {
    let text = |column: &str| sync.columns.get(column).and_then(serde_json::Value::as_str);
    let others: Vec<&str> = sync.members.iter().skip(1).map(|member| member.db.as_str()).collect();
    let kind = kind(sync);
    let arrow = if kind == "swap" { "<=>" } else { "=>" };
    let target = match (text("targetgroup"), others.as_slice()) {
        (Some(group), _) => group,
        (None, [one]) => one,
        (None, _) => sync.dbs.as_deref().unwrap_or("?"),
    };
    let status = if sync.status == "active" { "Active" } else { "Inactive" };
    let herd = sync.herd.as_deref().unwrap_or("?");
    format!("Sync: {:width$}  ({kind})  {herd} {arrow} {target}  ({status})", sync.name)
}

/// The source of `add sync`, and its target.
pub(super) struct Classic<'a> {
    pub(super) source: &'a str,
    pub(super) targetdb: Option<&'a str>,
    pub(super) targetgroup: Option<&'a str>,
    pub(super) synctype: &'static str,
}

impl<'a> Classic<'a> {
    /// What the words of `add sync` say, where they are those of versions 3 and 4.
    ///
    /// # Errors
    ///
    /// Words that are mixed with those of version 5, or a target that is missing.
    pub(super) fn of(parsed: &'a words::Parsed) -> Result<Option<Self>, CliError> {
        let value = |key: &str| parsed.value(key).filter(|value| !value.is_empty());
        let (source, targetdb, targetgroup) = (value("source"), value("targetdb"), value("targetgroup"));
        let kind = value("type");
        if source.is_none() && targetdb.is_none() && targetgroup.is_none() && kind.is_none() {
            return Ok(None);
        }
        if value("dbgroup").is_some() || value("dbs").is_some() {
            return Err(CliError::refuse("Give either dbs= or dbgroup=, or source= and targetdb= or targetgroup="));
        }
        let Some(source) = source.or(value("relgroup")) else {
            return Err(CliError::die("Need to specify the source of this sync: source=HERD"));
        };
        if targetdb.is_some() == targetgroup.is_some() {
            return Err(CliError::die("Need to specify one of targetdb=NAME and targetgroup=NAME for this sync"));
        }
        let synctype = super::sync::synctype(kind.unwrap_or("pushdelta"))?;
        if synctype == "swap" && targetdb.is_none() {
            return Err(
                CliError::refuse("A swap needs a targetdb").hint("for more databases give dbs=A:source,B:source")
            );
        }
        Ok(Some(Self { source, targetdb, targetgroup, synctype }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_of_old_are_those_of_today() {
        for (old, new) in [
            ("bucardo_ctl kick x --verbose=2", "bucardo_ctl kick x --verbose --verbose"),
            ("bucardo_ctl --verbose 1 list dbs", "bucardo_ctl --verbose list dbs"),
            ("bucardo_ctl --verbose list dbs", "bucardo_ctl --verbose list dbs"),
            ("bucardo_ctl --verbose=0 status", "bucardo_ctl status"),
            ("bucardo_ctl --ctlverbose --ctlquiet ping", "bucardo_ctl --verbose --quiet ping"),
            ("bucardo_ctl status --daysback=7 --daysback 3", "bucardo_ctl status --daysback=7 --daysback=3"),
            ("bucardo_ctl start --debugstderr=1 --debugstdout=0", "bucardo_ctl start --log-destination=stderr"),
            ("bucardo_ctl add db x host=--verbose=2", "bucardo_ctl add db x host=--verbose=2"),
        ] {
            assert_eq!(options(&strings(old)), strings(new), "{old}");
        }
    }

    #[test]
    fn the_first_word_of_a_database_is_its_real_name() {
        for (old, new) in [
            ("database test1 name=master port=5432", "database master dbname=test1 port=5432"),
            ("db name=m port=1 test1", "db m dbname=test1 port=1"),
            ("db test1", "db test1 dbname=test1"),
            ("db A dbname=x", "db A dbname=x"),
            ("db A service=x", "db A service=x"),
            ("dbgroup g A", "dbgroup g A"),
            ("db port=1", "db port=1"),
        ] {
            assert_eq!(words("add", strings(old)), strings(new), "{old}");
        }
        assert_eq!(words("list", strings("db A")), strings("db A"));
    }
}
