//! The settings that operators know from the table `bucardo_config`, as paths of today's settings.

use config::Value;

use super::SettingsError;

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
    let seconds = || match value.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds < 1e9 => Ok(Value::from(format!("{}ms", (seconds * 1000.0).ceil()))),
        _ => Err(fault("it must be a number of seconds above 0")),
    };
    let keep = || match value.parse::<f64>() {
        Ok(seconds) if (0.0..1e9).contains(&seconds) => Ok(Value::from(format!("{}ms", (seconds * 1000.0).ceil()))),
        _ => Err(fault("it must be a number of seconds, 0 or more")),
    };
    let (path, value) = match name.to_lowercase().as_str() {
        "piddir" => ("daemon.piddir", text()),
        "stopfile" => ("daemon.stopfile", text()),
        "reason_file" => ("daemon.reason_file", text()),
        "host_safety_check" => ("daemon.host_safety_check", text()),
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
        "mcp_pingtime" => ("schedule.check_every", seconds()?),
        "conflict_keep" => ("conflicts.keep", keep()?),
        "log_conflict_details" => ("conflicts.log_details", switch()?),
        "log_conflict_file" => ("conflicts.log_file", text()),
        "vac_run" | "vac_sleep" => ("schedule.purge_every", seconds()?),
        _ => return Ok(Vec::new()),
    };
    Ok(vec![(path, value)])
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
        assert!(translate("kid_sleep", "0.5").unwrap().is_empty());
    }

    #[test]
    fn old_spellings_are_understood() {
        let only = |name: &str, value: &str| translate(name, value).unwrap().remove(0);
        assert_eq!(only("syslog_facility", "LOG_LOCAL1"), ("log.syslog_facility", "local1".into()));
        assert_eq!(only("log_showtime", "1"), ("log.show_time", "epoch".into()));
        assert_eq!(only("VAC_RUN", "0.5"), ("schedule.purge_every", "500ms".into()));
    }
}
