//! Adds a line to the password file of libpq (manual, "The Password File").

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use super::CliError;

/// What a line of the password file is for.
pub(super) struct Entry<'a> {
    pub host: &'a str,
    pub port: &'a str,
    pub database: &'a str,
    pub user: &'a str,
    pub password: &'a str,
}

/// The password file: `PGPASSFILE`, else `~/.pgpass`.
pub(super) fn place() -> Result<PathBuf, CliError> {
    if let Some(named) = std::env::var_os("PGPASSFILE").filter(|name| !name.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    home.map(|home| PathBuf::from(home).join(".pgpass"))
        .ok_or_else(|| CliError::refuse("there is no home directory for a password file").hint("set PGPASSFILE"))
}

/// Appends a line; a file that is not there is made for its owner alone.
pub(super) fn append(entry: &Entry<'_>) -> Result<PathBuf, CliError> {
    let place = place()?;
    let failed = |error: std::io::Error| {
        CliError::refuse(format!("cannot write the password file \"{}\": {error}", place.display()))
    };
    let mut file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&place).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        let message = format!("the password file \"{}\" is open to others, so it would not be used", place.display());
        return Err(CliError::refuse(message).hint(format!("chmod 0600 \"{}\"", place.display())));
    }
    let pieces = [entry.host, entry.port, entry.database, entry.user, entry.password].map(escaped);
    file.write_all(format!("{}\n", pieces.join(":")).as_bytes()).map_err(failed)?;
    Ok(place.clone())
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace(':', "\\:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colons_and_backslashes_are_escaped() {
        assert_eq!(escaped("a:b\\c"), "a\\:b\\\\c");
    }
}
