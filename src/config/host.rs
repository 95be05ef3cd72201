//! The guard against a control database that was copied to another host with everything in it.

use super::SettingsError;

/// Whether the daemon may run on `host`: `check` is a name, `=a,b,c`, `~` and a regular expression, or empty for
/// any host.
///
/// # Errors
///
/// [`SettingsError::Value`]: the regular expression is none.
pub fn host_is_safe(check: &str, host: &str) -> Result<bool, SettingsError> {
    let check = check.trim();
    match check.split_at_checked(1) {
        None => Ok(true),
        Some(("=", names)) => Ok(names.split(',').any(|name| name.trim() == host)),
        Some(("~", pattern)) => match regex::Regex::new(pattern) {
            Ok(pattern) => Ok(pattern.is_match(host)),
            Err(error) => Err(SettingsError::Value {
                name: "host_safety_check".to_owned(),
                value: check.to_owned(),
                why: error.to_string().replace('\n', " "),
            }),
        },
        Some(_) => Ok(check == host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_listed_or_described() {
        let safe = |check: &str, host: &str| host_is_safe(check, host).unwrap();
        assert!(safe("", "any"));
        assert!(safe("db1", "db1"));
        assert!(!safe("db1", "db12"));
        assert!(safe("=db1, db2", "db2"));
        assert!(!safe("=db1,db2", "db3"));
        assert!(safe(r"~^db[0-9]+\.example\.com$", "db7.example.com"));
        assert!(!safe("~^db.$", "db77"));
        assert!(host_is_safe("~(", "x").is_err());
    }
}
