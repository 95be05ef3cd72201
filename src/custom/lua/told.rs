//! What errors of Lua are told as: with the line of the code, wherever they came up.

use std::borrow::Cow;

/// The library of the sandbox, whose lines say nothing to anybody.
const OURS: [&str; 3] = ["sandbox:", "patterns:", "shape:"];
/// How an error says that there is no memory left.
pub(super) const FULL: &str = "not enough memory";

pub(super) fn is_out_of_memory(error: &mlua::Error) -> bool {
    match error {
        mlua::Error::MemoryError(_) => true,
        mlua::Error::CallbackError { cause, .. } | mlua::Error::BadArgument { cause, .. } => is_out_of_memory(cause),
        mlua::Error::RuntimeError(text) => message(text).ends_with(FULL),
        _ => false,
    }
}

/// The message, with the line of the code that Lua knows by this name.
pub(super) fn told(error: &mlua::Error, name: &str) -> String {
    let all = text(error);
    let message = bare(message(&all));
    match line(error, name) {
        Some(line) if !message.starts_with(&format!("{name}:")) => format!("{name}:{line}: {message}"),
        _ => message.to_owned(),
    }
}

/// The innermost line of the code where it came to an error.
pub(super) fn line(error: &mlua::Error, name: &str) -> Option<u32> {
    match error {
        mlua::Error::CallbackError { traceback, cause } => line(cause, name).or_else(|| traced(traceback, name)),
        mlua::Error::RuntimeError(text) => traced(text, name),
        _ => None,
    }
}

const TRACED: &str = "\nstack traceback:";

fn traced(stack: &str, name: &str) -> Option<u32> {
    stack.lines().find_map(|frame| {
        let place = frame.trim_start().strip_prefix(name)?.strip_prefix(':')?;
        place.split(':').next()?.parse().ok()
    })
}

fn text(error: &mlua::Error) -> Cow<'_, str> {
    match error {
        mlua::Error::RuntimeError(text) => Cow::Borrowed(text),
        mlua::Error::SyntaxError { message, .. } => Cow::Borrowed(message),
        mlua::Error::CallbackError { cause, .. } => text(cause),
        other => Cow::Owned(other.to_string()),
    }
}

/// Without the stack.
fn message(text: &str) -> &str {
    text.split(TRACED).next().unwrap_or_default().trim()
}

/// Without lines of the library.
fn bare(message: &str) -> &str {
    let ours = OURS.iter().find_map(|name| message.strip_prefix(name));
    let rest = ours.and_then(|rest| rest.split_once(": "));
    rest.filter(|(line, _)| line.bytes().all(|digit| digit.is_ascii_digit())).map_or(message, |(_, rest)| rest)
}
