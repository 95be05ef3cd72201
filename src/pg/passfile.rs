//! The password file (manual, "The Password File").

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tracing::warn;

/// Whom a line of the file must fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Host name, address, or `localhost` for the default socket folder.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// Database.
    pub dbname: &'a str,
    /// User.
    pub user: &'a str,
}

/// The password of the first line that fits. A file that is missing, not a plain file, or open to others
/// is left out, as libpq does it.
pub(super) fn lookup(path: &Path, wanted: Wanted<'_>) -> Option<String> {
    let about = std::fs::metadata(path).ok()?;
    if !about.is_file() {
        warn!(path = %path.display(), "password file is not a plain file, so it is not used");
        return None;
    }
    if about.mode() & 0o077 != 0 {
        warn!(
            path = %path.display(),
            "password file has group or world access, so it is not used; permissions should be 0600 or less"
        );
        return None;
    }
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => {
            warn!(path = %path.display(), %error, "cannot read the password file");
            return None;
        }
    };
    find(&String::from_utf8_lossy(&text), wanted)
}

fn find(text: &str, wanted: Wanted<'_>) -> Option<String> {
    let port = wanted.port.to_string();
    let fields = [wanted.host, &port, wanted.dbname, wanted.user];
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line;
        for field in fields {
            let (found, after) = next_field(rest)?;
            // Only a bare star is a wildcard; an escaped one is a name.
            let star = rest.starts_with("*:");
            if !star && found != field {
                return None;
            }
            rest = after;
        }
        let password = unescaped(rest);
        (!password.is_empty()).then_some(password)
    })
}

/// The text up to the next bare colon, and what follows it.
fn next_field(text: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((unescaped(&text[..at]), &text[at + 1..])),
            _ => {}
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => out.extend(letters.next()),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const WANTED: Wanted<'_> = Wanted { host: "h", port: 5432, dbname: "d:b", user: "u" };

    #[test]
    fn the_first_line_that_fits_counts() {
        let file =
            "# h:5432:d\\:b:u:comment\nh:5433:*:*:no\nother:*:*:*:no\nh:*:d\\:b:*:pa\\:ss\\\\word\n*:*:*:*:late\n";
        assert_eq!(find(file, WANTED).as_deref(), Some("pa:ss\\word"));
        assert_eq!(find("*:*:*:*:any", WANTED).as_deref(), Some("any"));
        assert_eq!(find("\\*:*:*:*:no", WANTED), None);
        assert_eq!(find("h:5432:d", WANTED), None);
    }

    #[test]
    fn a_file_that_others_can_read_is_not_used() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "*:*:*:*:any").unwrap();
        assert_eq!(lookup(file.path(), WANTED).as_deref(), Some("any"));
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(lookup(file.path(), WANTED), None);
    }
}
