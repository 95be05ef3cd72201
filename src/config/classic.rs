//! The settings that operators know from the table `bucardo_config`, as paths of today's settings.

use config::Value;

use super::{SettingsError, host_is_safe};

/// Settings of former versions that are accepted and have no effect, and why.
const MEANINGLESS: [(&str, &str); 21] = [
    ("mcp_loop_sleep", NO_LOOP),
    ("ctl_sleep", NO_LOOP),
    ("kid_sleep", NO_LOOP),
    ("kid_nodeltarows_sleep", NO_LOOP),
    ("ctl_nothingfound_sleep", NO_LOOP),
    ("kid_nothingfound_sleep", NO_LOOP),
    ("kick_sleep", NO_LOOP),
    ("ctl_createkid_time", "a KID is there at once"),
    ("ctl_pingtime", "controllers have no session of their own on the control database"),
    (
        "kid_pingtime",
        "the connections of an idle KID are tried whenever its sync is looked at (checktime, mcp_pingtime)",
    ),
    ("statement_chunk_size", NO_TEXT),
    ("max_select_clause", NO_TEXT),
    ("max_delete_clause", NO_TEXT),
    ("upsert_attempts", "rows are written in bulk"),
    ("quick_delta_check", "each source is always asked first which tables have changes"),
    ("tcp_keepalives_idle", KEEPALIVES),
    ("tcp_keepalives_interval", KEEPALIVES),
    ("tcp_keepalives_count", KEEPALIVES),
    ("autosync_ddl", "changes of definitions are not replicated"),
    ("pidfile", "the file is bucardo.mcp.pid in piddir"),
    ("semaphore_table", "there are no targets of that kind"),
];
const NO_LOOP: &str = "nothing sleeps in a loop: what there is to do is heard of at once";
const NO_TEXT: &str = "keys do not travel in lists of text";
const KEEPALIVES: &str = "keepalives belong to a connection: bucardo update db NAME conn='keepalives_idle=10'";

/// Why a setting that is accepted has no effect; `None`: it has one, or is not known.
#[must_use]
pub fn without_effect(name: &str) -> Option<&'static str> {
    MEANINGLESS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, why)| *why)
}

/// Whether a classic setting may have this value.
///
/// # Errors
///
/// [`SettingsError::Value`] says what it should be.
pub fn check(name: &str, value: &str) -> Result<(), SettingsError> {
    translate(name, value).map(drop)
}

/// The settings of a KID that changes are brought by, and of one that merges.
macro_rules! of_kids {
    ($path:literal, $value:expr) => {
        vec![(concat!("supervision.kid.", $path), $value), (concat!("supervision.merge.", $path), $value)]
    };
}

/// What one classic setting says today; empty: it means nothing to this process.
pub(super) fn translate(name: &str, value: &str) -> Result<Vec<(&'static str, Value)>, SettingsError> {
    let fault =
        |why: &str| SettingsError::Value { name: name.to_owned(), value: value.to_owned(), why: why.to_owned() };
    let text = || Value::from(value);
    let switch = || match value.to_lowercase().as_str() {
        "1" | "true" | "on" | "yes" => Ok(Value::from(true)),
        "" | "0" | "false" | "off" | "no" => Ok(Value::from(false)),
        _ => Err(fault("it must be 0 or 1")),
    };
    let number = || value.trim().parse::<f64>().ok().filter(|seconds| (-1e9..1e9).contains(seconds));
    let seconds = || match number() {
        Some(seconds) if seconds > 0.0 => Ok(span(seconds)),
        _ => Err(fault("it must be a number of seconds above 0")),
    };
    let keep = || match number() {
        Some(seconds) if seconds >= 0.0 => Ok(span(seconds)),
        _ => Err(fault("it must be a number of seconds, 0 or more")),
    };
    let count = || match value.trim().parse::<u32>() {
        Ok(count) => Ok(Value::from(i64::from(count))),
        Err(_) => Err(fault("it must be a whole number, 0 or more")),
    };
    // 0: at once; below 0: not at all.
    let clash = || match number() {
        Some(seconds) => Ok((span(seconds.max(0.0)), Value::from(seconds >= 0.0))),
        None => Err(fault("it must be a number of seconds; below 0: no retry")),
    };
    let (path, value) = match name.to_lowercase().as_str() {
        "piddir" if !value.starts_with('/') => return Err(fault("it must be an absolute path")),
        "piddir" => ("daemon.piddir", text()),
        "stopfile" => ("daemon.stopfile", text()),
        "reason_file" => ("daemon.reason_file", text()),
        "worker_mb_max" => ("daemon.worker_mb_max", count()?),
        "host_safety_check" => {
            host_is_safe(value, "")?;
            ("daemon.host_safety_check", text())
        }
        "log_level" => ("log.level", level(value).ok_or_else(|| fault("it must be terse, normal, verbose or debug"))?),
        "log_showpid" => ("log.show_pid", switch()?),
        "log_showlevel" => ("log.show_level", switch()?),
        "log_showline" => ("log.show_line", switch()?),
        "log_showsyncname" => ("log.show_sync", switch()?),
        "log_microsecond" => ("log.fraction", switch()?),
        "log_timer_format" => ("log.time_format", text()),
        "log_showtime" => ("log.show_time", time(value).ok_or_else(|| fault("it must be 0, 1, 2 or 3"))?),
        "log_format" => ("log.format", text()),
        "warning_file" => ("log.warning_file", text()),
        "syslog_facility" => ("log.syslog_facility", Value::from(value.to_lowercase().trim_start_matches("log_"))),
        "default_email_from" => ("mail.from", text()),
        "default_email_to" => ("mail.to", text()),
        "default_email_host" => ("mail.host", text()),
        "default_email_port" => {
            ("mail.port", value.parse::<u16>().map(Value::from).map_err(|_| fault("it must be a port"))?)
        }
        "email_tls" => ("mail.tls", Value::from(value.to_lowercase())),
        "email_auth_user" => ("mail.auth_user", text()),
        "email_auth_pass" => ("mail.auth_pass", text()),
        "email_auth_plain" => ("mail.auth_plain", switch()?),
        "email_debug_file" => ("mail.debug_file", text()),
        "email_hour_max" => {
            ("mail.hour_max", value.parse::<u32>().map(Value::from).map_err(|_| fault("it must be a whole number"))?)
        }
        "email_patience" => ("mail.patience", keep()?),
        "sendmail" => ("mail.send", switch()?),
        "stats_script_url" => ("mail.stats_url", text()),
        "conflict_keep" => ("conflicts.keep", keep()?),
        "log_conflict_details" => ("conflicts.log_details", switch()?),
        "log_conflict_file" => ("conflicts.log_file", text()),
        "bucardo_vac" => ("purge.run", switch()?),
        "run_keep" => ("history.run_keep", keep()?),
        "freezer_keep" => ("history.freezer_keep", keep()?),
        "vac_sleep" => ("schedule.purge_every", seconds()?),
        "vac_run" => ("purge.every", keep()?),
        "vac_keep" => ("purge.keep", keep()?),
        "mcp_vactime" => ("supervision.vac.ping.every", seconds()?),
        "mcp_pingtime" => {
            let mut all = of_kids!("stalled.away_every", seconds()?);
            all.push(("schedule.check_every", seconds()?));
            return Ok(all);
        }
        // The pause was always the same: nothing grows.
        "mcp_dbproblem_sleep" if number() == Some(0.0) => ("supervision.lease.regain", Value::from(false)),
        "mcp_dbproblem_sleep" => {
            let paths = ["supervision.lease.delay_initial", "supervision.lease.delay_max"];
            return paths.into_iter().map(|path| Ok((path, seconds()?))).collect();
        }
        "kid_restart_sleep" | "kid_abort_sleep" => return Ok(of_kids!("restart.delay_initial", keep()?)),
        "kid_abort_limit" => return Ok(of_kids!("restart.restarts_max", count()?)),
        "ctl_checkonkids_time" => return Ok(of_kids!("ping.every", seconds()?)),
        "ctl_checkabortedkids_time" => return Ok(of_kids!("stalled.retry_every", seconds()?)),
        "kid_serial_sleep" => {
            let (wait, retry) = clash()?;
            let mut all = of_kids!("clash.serialization", wait.clone());
            all.extend(of_kids!("clash.serialization_retry", retry.clone()));
            return Ok(all);
        }
        "kid_deadlock_sleep" => {
            let (wait, retry) = clash()?;
            let mut all = of_kids!("clash.deadlock", wait.clone());
            all.extend(of_kids!("clash.deadlock_retry", retry.clone()));
            return Ok(all);
        }
        _ => return Ok(Vec::new()),
    };
    Ok(vec![(path, value)])
}

fn span(seconds: f64) -> Value {
    Value::from(format!("{}ms", (seconds * 1000.0).ceil()))
}

fn level(value: &str) -> Option<Value> {
    let level = match value.to_lowercase().as_str() {
        "warn" | "terse" => "terse",
        "normal" => "normal",
        "verbose" => "verbose",
        "debug" | "debug1" => "debug",
        "debug2" => "debug2",
        _ => return None,
    };
    Some(level.into())
}

fn time(value: &str) -> Option<Value> {
    let names = ["none", "epoch", "utc", "local"];
    value.parse::<usize>().ok().and_then(|number| names.get(number)).map(|name| Value::from(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_the_setting_is_named() {
        let error = translate("log_level", "loud").unwrap_err().to_string();
        assert_eq!(error, "setting \"log_level\" has the value \"loud\": it must be terse, normal, verbose or debug");
        assert!(translate("vac_run", "-1").is_err());
        for (name, value) in [("kid_abort_limit", "2.5"), ("kid_restart_sleep", "-1"), ("mcp_dbproblem_sleep", "soon")]
        {
            let error = translate(name, value).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("setting \"{name}\" has the value \"{value}\": it must be ")),
                "{error}"
            );
        }
        for (name, _) in MEANINGLESS {
            assert!(translate(name, "0.5").unwrap().is_empty(), "{name} has an effect");
        }
    }

    #[test]
    fn old_spellings_are_understood() {
        let only = |name: &str, value: &str| translate(name, value).unwrap().remove(0);
        assert_eq!(only("syslog_facility", "LOG_LOCAL1"), ("log.syslog_facility", "local1".into()));
        assert_eq!(only("log_showtime", "1"), ("log.show_time", "epoch".into()));
        assert_eq!(only("VAC_SLEEP", "0.5"), ("schedule.purge_every", "500ms".into()));
    }
}
