//! The two notations of a connection string (manual, "Connection Strings"): `key=value` words and URIs.

use super::connect_error::ConnectError;

fn fault(message: impl Into<String>) -> ConnectError {
    ConnectError::Conninfo(message.into())
}

/// Splits a connection string into its parameters, in order.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, ConnectError> {
    match text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        Some(rest) => uri(rest),
        None => words(text),
    }
}

/// `key = 'va\'lue' …`
fn words(text: &str) -> Result<Vec<(String, String)>, ConnectError> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (keyword, after) = rest.split_at(end);
        let Some(after) = after.trim_start().strip_prefix('=') else {
            // The text of a word may be a password, so it is not repeated.
            return Err(fault("missing \"=\" after a word of the connection string"));
        };
        let (value, after) = word_value(after.trim_start())?;
        found.push((keyword.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(found)
}

fn word_value(text: &str) -> Result<(String, &str), ConnectError> {
    let (quoted, text) = match text.strip_prefix('\'') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some((_, escaped)) => value.push(escaped),
                None => break,
            },
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            space if !quoted && space.is_whitespace() => return Ok((value, &text[at..])),
            other => value.push(other),
        }
    }
    if quoted { Err(fault("unterminated quote in the connection string")) } else { Ok((value, "")) }
}

/// `[user[:password]@][host[:port][,…]][/dbname][?key=value[&…]]`
fn uri(rest: &str) -> Result<Vec<(String, String)>, ConnectError> {
    let mut found = Vec::new();
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (authority, dbname) = match rest.split_once('/') {
        Some((authority, dbname)) => (authority, Some(dbname)),
        None => (rest, None),
    };
    let (credentials, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => (Some(credentials), hosts),
        None => (None, authority),
    };
    if let Some(credentials) = credentials {
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (credentials, None),
        };
        found.push(("user".to_owned(), decode(user)?));
        if let Some(password) = password {
            found.push(("password".to_owned(), decode(password)?));
        }
    }
    if !hosts.is_empty() {
        let (mut names, mut ports) = (Vec::new(), Vec::new());
        for place in hosts.split(',') {
            let (name, port) = host_and_port(place)?;
            names.push(decode(name)?);
            ports.push(decode(port)?);
        }
        found.push(("host".to_owned(), names.join(",")));
        if ports.iter().any(|port| !port.is_empty()) {
            found.push(("port".to_owned(), ports.join(",")));
        }
    }
    if let Some(dbname) = dbname {
        found.push(("dbname".to_owned(), decode(dbname)?));
    }
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let Some((keyword, value)) = pair.split_once('=') else {
            return Err(fault(format!("missing \"=\" in URI parameter \"{pair}\"")));
        };
        match (decode(keyword)?, decode(value)?) {
            (keyword, value) if keyword == "ssl" && value == "true" => {
                found.push(("sslmode".to_owned(), "require".to_owned()));
            }
            pair => found.push(pair),
        }
    }
    Ok(found)
}

fn host_and_port(place: &str) -> Result<(&str, &str), ConnectError> {
    if let Some(rest) = place.strip_prefix('[') {
        let Some((address, rest)) = rest.split_once(']') else {
            return Err(fault("missing \"]\" after an IPv6 address in the URI"));
        };
        return match rest.strip_prefix(':') {
            Some(port) => Ok((address, port)),
            None if rest.is_empty() => Ok((address, "")),
            None => Err(fault("unexpected text after \"]\" in the URI")),
        };
    }
    Ok(place.split_once(':').unwrap_or((place, "")))
}

fn decode(text: &str) -> Result<String, ConnectError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if byte != 0 => bytes.push(byte),
            _ => return Err(fault("invalid percent-encoding in the URI")),
        }
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| fault("the URI is not valid UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let pairs = parse(text).unwrap();
        pairs.iter().map(|(keyword, value)| format!("{keyword}<{value}>")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_may_be_quoted_and_escaped() {
        assert_eq!(
            told(r"host=a  port = 5 password='it\'s \\ me' user="),
            r"host<a> port<5> password<it's \ me> user<>"
        );
        assert_eq!(told(r"password=a\ b dbname=x"), "password<a b> dbname<x>");
        assert!(parse("host").is_err());
        assert!(parse("host='a").is_err());
    }

    #[test]
    fn uris_have_all_their_parts() {
        assert_eq!(
            told("postgresql://us%40er:p%3Aw@h1:1,[::1]:2,h3/db%20x?sslmode=verify-full&target_session_attrs=any"),
            "user<us@er> password<p:w> host<h1,::1,h3> port<1,2,> dbname<db x> sslmode<verify-full> target_session_attrs<any>"
        );
        assert_eq!(told("postgres://%2Fvar%2Frun/db"), "host</var/run> dbname<db>");
        assert_eq!(told("postgresql:///db?host=/tmp&ssl=true"), "dbname<db> host</tmp> sslmode<require>");
        assert_eq!(told("postgresql://"), "");
    }

    #[test]
    fn faults_never_repeat_what_may_be_a_password() {
        for text in ["host=x se cret", "postgres://u:se%zzcret@h", "password='secret"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(!error.contains("cret"), "{error}");
        }
    }
}
