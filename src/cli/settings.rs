//! Settings: `show`, `set`, `config`.

use serde_json::{Map, Value};

use super::{CliError, Context, Outcome, strategy, words};
use crate::catalog::names;
use crate::catalog::settings::{self, Setting};
use crate::config::{SettingsError, check_classic, without_effect};
use crate::daemon::Log;

/// Settings that are shown as `***`.
const SECRET: [&str; 1] = ["email_auth_pass"];
const LOG_LEVELS: words::Kind =
    words::Kind::OneOf(&["terse", "normal", "verbose", "debug", "debug1", "debug2", "warn"]);

/// `show all`, `show changed`, `show NAME…`
pub(super) async fn show(ctx: &Context, given: &[String]) -> Outcome {
    if given.is_empty() {
        return Err(CliError::usage("show"));
    }
    let control = ctx.control().await?;
    let all = settings::load(control.client()).await?;
    let known: Vec<&str> = all.iter().map(|(name, _)| name).collect();
    let (mut chosen, mut unknown): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for word in words::flat(given) {
        match word.to_lowercase().as_str() {
            "all" => chosen.extend(known.iter().map(|name| (*name).to_owned())),
            "changed" => {
                chosen.extend(all.iter().filter(|(_, setting)| is_changed(setting)).map(|(name, _)| name.to_owned()));
            }
            pattern => {
                let found = names::like(control.client(), &known, pattern).await?;
                if found.is_empty() {
                    unknown.push(word.clone());
                }
                chosen.extend(found);
            }
        }
    }
    if let (true, Some(first)) = (chosen.is_empty(), unknown.first()) {
        return Err(CliError::refuse(format!("Unknown setting \"{first}\""))
            .hint("\"bucardo show all\" lists them")
            .suggest(first, known.iter().copied()));
    }
    unknown.iter().for_each(|word| ctx.out.warn(format!("Unknown setting \"{word}\"")));
    let code = u8::from(!unknown.is_empty());
    let shown: Vec<(&str, &str)> = all
        .iter()
        .filter(|(name, _)| chosen.iter().any(|one| one == name))
        .map(|(name, setting)| (name, value(name, setting)))
        .collect();
    if ctx.out.is_json() {
        let object: Map<String, Value> =
            shown.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
        ctx.out.json(&object)?;
        return Ok(code);
    }
    let width = shown.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in shown {
        ctx.out.say(format!("{name:width$} = {value}").trim_end());
    }
    Ok(code)
}

fn is_changed(setting: &Setting) -> bool {
    setting.value != setting.default
}

fn value<'a>(name: &str, setting: &'a Setting) -> &'a str {
    if SECRET.contains(&name) && !setting.value.is_empty() { "***" } else { &setting.value }
}

/// `set NAME=VALUE…`
pub(super) async fn set(ctx: &Context, given: &[String]) -> Outcome {
    let pairs: Vec<(String, &str)> =
        given.iter().map(|word| words::pair(word)).collect::<Option<_>>().unwrap_or_default();
    if pairs.is_empty() {
        return Err(CliError::usage("set"));
    }
    let mut control = ctx.control().await?;
    let transaction = control.transaction().await.map_err(|error| CliError::caused("Cannot set", &error))?;
    let known = settings::load(&transaction).await?;
    let decides =
        |(name, _): &(String, &str)| matches!(name.as_str(), "default_conflict_strategy" | "default_standard_conflict");
    let decides = pairs.iter().any(decides);
    let problems = if decides { strategy::problems(&transaction).await? } else { Vec::new() };
    let mut vain = Vec::new();
    for (typed, value) in pairs {
        let name = if typed == "default_standard_conflict" { "default_conflict_strategy".to_owned() } else { typed };
        let setting = known.iter().find(|(known, _)| *known == name).map(|(_, setting)| setting).ok_or_else(|| {
            CliError::die(format!("Unknown setting \"{name}\""))
                .hint("\"bucardo show all\" lists them")
                .suggest(&name, known.iter().map(|(known, _)| known))
        })?;
        let value = match name.as_str() {
            "default_conflict_strategy" if value.is_empty() || value.eq_ignore_ascii_case("none") => String::new(),
            "default_conflict_strategy" => strategy::stored_for_all(&transaction, value).await?,
            _ => checked(&name, value, setting)?,
        };
        settings::set(&transaction, &name, &value).await?;
        let shown = if SECRET.contains(&name.as_str()) { "***" } else { &value };
        ctx.out.say(format!("Set \"{name}\" to \"{shown}\""));
        if let Some(why) = without_effect(&name) {
            vain.push(format!("Setting \"{name}\" has no effect: {why}"));
        }
    }
    if decides {
        strategy::check(&transaction, &problems).await?;
    }
    if ctx.finish(transaction).await? {
        vain.iter().for_each(|line| ctx.out.warn(line));
    }
    Ok(0)
}

/// A value as it will be stored: as it was typed, but for words of a fixed list. A setting that was shipped with a
/// number takes numbers only.
fn checked(name: &str, value: &str, setting: &Setting) -> Result<String, CliError> {
    let is_number = |text: &str| text.trim().parse::<f64>().is_ok_and(f64::is_finite);
    if value.is_empty() {
        // Back to what was shipped.
        return if setting.default.is_empty() { Ok(String::new()) } else { Err(CliError::usage("set")) };
    }
    match name {
        "log_level" => words::checked(name, value, LOG_LEVELS),
        "log_showtime" => words::checked(name, value, words::Kind::OneOf(&["0", "1", "2", "3"])),
        "syslog_facility" if !Log::knows_facility(value) => Err(CliError::die(format!(
            "Invalid value for '{name}': must be log_local0 to log_local7, log_daemon, log_user or the like"
        ))),
        "log_format" => words::checked(name, value, words::Kind::OneOf(&["text", "json"])),
        "email_tls" => words::checked(name, value, words::Kind::OneOf(&["none", "starttls", "tls"])),
        "default_email_port" if value.parse::<u16>().is_err() => {
            Err(CliError::die(format!("Invalid value for '{name}': must be a port")))
        }
        "isolation_level" => words::checked(
            name,
            &value.replace(['_', '-'], " "),
            words::Kind::OneOf(&["serializable", "repeatable read"]),
        ),
        "customcode_timeout" | "customcode_run_timeout" => match value.parse::<f64>() {
            Ok(seconds) if seconds > 0.0 && seconds < 1e6 => Ok(value.to_owned()),
            _ => Err(CliError::refuse(format!("Invalid value for '{name}': must be a number of seconds above 0"))),
        },
        "batch_rows_max" | "copy_workers" | "copy_chunk_mb" | "customcode_memory_mb" => match value.parse::<u32>() {
            Ok(number) if number > 0 => Ok(value.to_owned()),
            _ => Err(CliError::die(format!("Invalid value for '{name}': must be a whole number above 0"))),
        },
        "conflict_keep" | "email_patience" | "freezer_keep" | "run_keep" | "vac_keep" | "vac_run" => {
            match value.parse::<f64>() {
                Ok(seconds) if (0.0..1e9).contains(&seconds) => Ok(value.to_owned()),
                _ => Err(CliError::die(format!("Invalid value for '{name}': must be a number of seconds, 0 or more"))),
            }
        }
        "queue_policy" => words::checked(name, value, words::Kind::OneOf(&["warn", "stall", "copy"])),
        "copy_atomic_mb" | "email_hour_max" | "queue_rows_max" | "queue_mb_max" | "queue_age_max" | "worker_mb_max"
            if value.parse::<u32>().is_err() =>
        {
            Err(CliError::die(format!("Invalid value for '{name}': must be a whole number")))
        }
        _ if is_number(&setting.default) && !is_number(value) => {
            Err(CliError::die(format!("Invalid value for '{name}': must be numeric")))
        }
        _ => match check_classic(name, value) {
            Err(SettingsError::Value { why, .. }) => Err(CliError::die(format!("Invalid value for '{name}': {why}"))),
            _ => Ok(value.to_owned()),
        },
    }
}

/// `config`, `config show …`, `config set …`
pub(super) async fn config(ctx: &Context, given: &[String]) -> Outcome {
    match given.split_first() {
        None => show(ctx, &["all".to_owned()]).await,
        Some((word, rest)) if word.eq_ignore_ascii_case("set") => set(ctx, rest).await,
        Some((word, rest)) if word.eq_ignore_ascii_case("show") && !rest.is_empty() => show(ctx, rest).await,
        Some((word, _)) if word.eq_ignore_ascii_case("show") => show(ctx, &["all".to_owned()]).await,
        Some(_) if given.iter().all(|word| words::pair(word).is_some()) => set(ctx, given).await,
        Some(_) => show(ctx, given).await,
    }
}
