//! What a command that takes longer than a second is at, on a terminal: one line on stderr that goes away again.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is done by then needs no line.
const SHOW_AFTER: Duration = Duration::from_secs(1);
const REDRAW_EVERY: Duration = Duration::from_millis(200);
const LINE: &str = "{spinner} {prefix}{wide_msg} {elapsed}";

static LIVE: OnceLock<Mutex<Live>> = OnceLock::new();

struct Live {
    bar: ProgressBar,
    /// The beginning of a line of output that is not ended yet.
    begun: String,
    ended: bool,
}

fn live() -> Option<MutexGuard<'static, Live>> {
    // Whoever panicked while drawing has left nothing that matters.
    Some(LIVE.get()?.lock().unwrap_or_else(PoisonError::into_inner))
}

/// From now on, until [`end`], a person sees what is done; where stderr is no terminal, nothing happens.
pub fn begin(doing: &str) {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    let Ok(style) = ProgressStyle::with_template(LINE) else { return };
    if dumb || !std::io::stderr().is_terminal() {
        return;
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_style(style);
    bar.set_message(doing.to_owned());
    if LIVE.set(Mutex::new(Live { bar, begun: String::new(), ended: false })).is_err() {
        return;
    }
    // It ends with the process.
    std::thread::spawn(|| {
        std::thread::sleep(SHOW_AFTER);
        if let Some(live) = live().filter(|live| !live.ended) {
            live.bar.set_draw_target(ProgressDrawTarget::stderr());
            live.bar.enable_steady_tick(REDRAW_EVERY);
        }
    });
}

/// Says what is done now. Costs nothing where nobody looks.
pub fn step(doing: impl FnOnce() -> String) {
    if let Some(live) = live() {
        live.bar.set_message(doing());
    }
}

/// Begins a line of output which [`aside`] ends. False: there is no line to keep it in, print it.
#[must_use]
pub fn hold(text: &str) -> bool {
    let Some(mut live) = live().filter(|live| !live.ended) else { return false };
    live.begun.push_str(text);
    live.bar.set_prefix(live.begun.clone());
    true
}

/// Does what writes to the terminal, with the line out of the way, and the beginning of the line that was held.
pub fn aside<T>(write: impl FnOnce(&str) -> T) -> T {
    let Some(mut live) = live() else { return write("") };
    let begun = std::mem::take(&mut live.begun);
    live.bar.set_prefix("");
    live.bar.suspend(|| write(&begun))
}

/// Does what writes to the terminal, with the line out of the way; a line that was begun goes on after it.
pub fn beside<T>(write: impl FnOnce() -> T) -> T {
    match live() {
        Some(live) => live.bar.suspend(write),
        None => write(),
    }
}

/// Takes the line away for good.
pub fn end() {
    if let Some(mut live) = live() {
        live.ended = true;
        live.bar.finish_and_clear();
    }
}
