//! The connection service file (manual, "The Connection Service File").

use std::path::{Path, PathBuf};

use super::access::Access;
use super::connect_error::ConnectError;

type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where Debian's libpq looks when `PGSYSCONFDIR` is not set.
const SYSTEM_DIR: &str = "/etc/postgresql-common";

/// Fills what `access` leaves open from the service that it, or `PGSERVICE`, names.
///
/// # Errors
///
/// [`ConnectError::Service`] when the service is named and cannot be found or read.
pub(super) fn apply(
    access: &mut Access,
    home: Option<&Path>,
    environment: Environment<'_>,
) -> Result<(), ConnectError> {
    let Some(service) = access.get("service").map(str::to_owned).or_else(|| environment("PGSERVICE")) else {
        return Ok(());
    };
    let named = access.get("servicefile").map(str::to_owned).or_else(|| environment("PGSERVICEFILE"));
    let mut files: Vec<PathBuf> = match named {
        Some(file) => vec![file.into()],
        None => home.map(|home| home.join(".pg_service.conf")).into_iter().filter(|file| file.exists()).collect(),
    };
    let system = environment("PGSYSCONFDIR").unwrap_or_else(|| SYSTEM_DIR.to_owned());
    files.extend([Path::new(&system).join("pg_service.conf")].into_iter().filter(|file| file.exists()));
    for file in &files {
        let text = std::fs::read_to_string(file).map_err(|source| ConnectError::File {
            what: "service file",
            path: file.clone(),
            source,
        })?;
        if let Some(words) = section(&text, &service) {
            let fault = |line: usize, why: String| ConnectError::Service {
                service: service.clone(),
                why: format!("{}, line {line}: {why}", file.display()),
            };
            for (line, word) in words {
                let Some((keyword, value)) = word.split_once('=') else {
                    return Err(fault(line, "not of the form keyword=value".to_owned()));
                };
                if keyword.trim() == "service" {
                    return Err(fault(line, "a service cannot name another one".to_owned()));
                }
                access.set_default(keyword.trim(), value.trim()).map_err(|error| fault(line, error.to_string()))?;
            }
            return Ok(());
        }
    }
    let searched: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let why = if searched.is_empty() {
        "there is no service file".to_owned()
    } else {
        format!("it is not in {}", searched.join(" or "))
    };
    Err(ConnectError::Service { service, why })
}

/// The lines of `[service]` with their numbers; `None`: no such section.
fn section<'a>(text: &'a str, service: &str) -> Option<Vec<(usize, &'a str)>> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let heading = format!("[{service}]");
    lines.find(|(_, line)| *line == heading)?;
    Some(lines.take_while(|(_, line)| !line.starts_with('[')).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(conninfo: &str, file: &str) -> Result<Access, ConnectError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".pg_service.conf"), file).unwrap();
        let mut access = Access::parse(conninfo).unwrap();
        let environment = |name: &str| (name == "PGSYSCONFDIR").then(|| "/nonexistent".to_owned());
        apply(&mut access, Some(dir.path()), &environment)?;
        Ok(access)
    }

    #[test]
    fn a_service_fills_what_is_left_open() {
        let file = "# services\n[other]\nhost=no\n\n[mine]\nhost=h\nport=6000\n# end\nuser = u\n[last]\nhost=no\n";
        assert_eq!(applied("service=mine port=7", file).unwrap().describe(), "service=mine host=h port=7 user=u");
    }

    #[test]
    fn a_service_that_is_not_there_is_named() {
        let error = applied("service=nobody", "[mine]\nhost=h\n").unwrap_err().to_string();
        assert!(error.starts_with("cannot use service \"nobody\": it is not in "), "{error}");
    }

    #[test]
    fn a_bad_line_is_pointed_at() {
        let error = applied("service=mine", "[mine]\nhost=h\nhots=x\n").unwrap_err().to_string();
        assert!(error.ends_with("line 3: unknown connection parameter \"hots\""), "{error}");
    }
}
