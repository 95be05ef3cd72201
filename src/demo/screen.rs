//! Where the demonstration shows: a terminal with lines that change in place, or plain lines in a file.

use std::io::{IsTerminal, Write, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::sleep;

use super::DemoError;

/// How often lines change on a terminal.
const REDRAW_EVERY: Duration = Duration::from_millis(200);
/// How often they are printed anew where nothing can change in place.
const PLAIN_EVERY: Duration = Duration::from_secs(3);
const BAR: &str = "  {prefix}  {bar:40.cyan/blue} {percent:>3} %  {human_pos} of {human_len} rows  {elapsed}{msg}";

/// Whether somebody asked us to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Interruption(Arc<AtomicBool>);

impl Interruption {
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }

    pub(super) fn check(&self) -> Result<(), DemoError> {
        if self.0.load(Ordering::Relaxed) { Err(DemoError::Interrupted) } else { Ok(()) }
    }
}

/// The output of the demonstration.
pub(super) struct Screen {
    terminal: bool,
    interruption: Interruption,
}

impl Screen {
    pub(super) fn new(interruption: Interruption) -> Self {
        Self { terminal: stdout().is_terminal(), interruption }
    }

    /// The end was asked for.
    pub(super) fn check(&self) -> Result<(), DemoError> {
        self.interruption.check()
    }

    /// Heading of a step.
    pub(super) fn title(&self, text: &str) {
        self.print(&if self.terminal { format!("\n\x1b[1m{text}\x1b[0m") } else { format!("\n{text}") });
    }

    /// A command line, as it would be typed.
    pub(super) fn command(&self, line: &str) {
        self.print(&if self.terminal { format!("  \x1b[32m$ {line}\x1b[0m") } else { format!("  $ {line}") });
    }

    /// What happened.
    pub(super) fn note(&self, text: &str) {
        for line in text.lines() {
            self.print(&format!("  {line}"));
        }
    }

    /// Waits until it is time to look again; notices Ctrl-C.
    pub(super) async fn pause(&self) -> Result<(), DemoError> {
        self.check()?;
        sleep(REDRAW_EVERY).await;
        self.check()
    }

    /// One bar a name, each for so many rows.
    pub(super) fn bars(&self, names: &[&str], rows: u64) -> Bars {
        let target = if self.terminal { ProgressDrawTarget::stdout() } else { ProgressDrawTarget::hidden() };
        let all = MultiProgress::with_draw_target(target);
        let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bars = names.iter().map(|name| {
            let bar = all.add(ProgressBar::new(rows).with_style(style.clone()));
            bar.set_prefix((*name).to_owned());
            bar.tick();
            bar
        });
        Bars { bars: bars.collect(), plain: self.plain() }
    }

    /// Lines that change; there are always as many.
    pub(super) fn lines(&self, count: usize) -> Lines {
        let target = if self.terminal { ProgressDrawTarget::stdout() } else { ProgressDrawTarget::hidden() };
        let all = MultiProgress::with_draw_target(target);
        let style = ProgressStyle::with_template("  {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let lines = (0..count).map(|_| all.add(ProgressBar::new(1).with_style(style.clone())));
        Lines { lines: lines.collect(), all, plain: self.plain() }
    }

    fn plain(&self) -> Option<Plain> {
        (!self.terminal).then_some(Plain { printed: None })
    }

    fn print(&self, line: &str) {
        print(line);
    }
}

/// Progress bars.
pub(super) struct Bars {
    bars: Vec<ProgressBar>,
    plain: Option<Plain>,
}

impl Bars {
    pub(super) fn set(&self, index: usize, rows: u64) {
        if let Some(bar) = self.bars.get(index).filter(|bar| !bar.is_finished()) {
            bar.set_position(rows.max(bar.position()));
        }
    }

    pub(super) fn finish(&self, index: usize) {
        if let Some(bar) = self.bars.get(index).filter(|bar| !bar.is_finished()) {
            bar.set_position(bar.length().unwrap_or_default());
            bar.abandon();
            if self.plain.is_some() {
                print(&told(bar));
            }
        }
    }

    pub(super) fn print_if_due(&mut self) {
        if self.plain.as_mut().is_some_and(Plain::is_due) {
            for bar in self.bars.iter().filter(|bar| !bar.is_finished()) {
                print(&told(bar));
            }
        }
    }
}

fn told(bar: &ProgressBar) -> String {
    let length = bar.length().unwrap_or_default();
    let percent = bar.position() * 100 / length.max(1);
    let seconds = bar.elapsed().as_secs_f32();
    format!("  {}  {percent:>3} %  {} of {length} rows, {seconds:.1} s", bar.prefix(), bar.position())
}

/// Lines that change in place.
pub(super) struct Lines {
    lines: Vec<ProgressBar>,
    all: MultiProgress,
    plain: Option<Plain>,
}

impl Lines {
    pub(super) fn set(&mut self, texts: &[String]) {
        for (line, text) in self.lines.iter().zip(texts) {
            line.set_message(text.clone());
        }
        if self.plain.as_mut().is_some_and(Plain::is_due) {
            self.print_all();
        }
    }

    /// Prints something above the lines, which stays.
    pub(super) fn note(&self, text: &str) {
        if self.plain.is_some() {
            print(&format!("  {text}"));
        } else {
            // What cannot be drawn is not worth ending for.
            let _ = self.all.println(format!("  \x1b[33m{text}\x1b[0m"));
        }
    }

    /// Leaves the last state on the screen.
    pub(super) fn finish(self) {
        if self.plain.is_some() {
            self.print_all();
        }
        for line in &self.lines {
            line.abandon();
        }
    }

    fn print_all(&self) {
        for line in &self.lines {
            print(&format!("  {}", line.message()));
        }
    }
}

struct Plain {
    printed: Option<Instant>,
}

impl Plain {
    fn is_due(&mut self) -> bool {
        let due = self.printed.is_none_or(|printed| printed.elapsed() >= PLAIN_EVERY);
        if due {
            self.printed = Some(Instant::now());
        }
        due
    }
}

fn print(line: &str) {
    let mut out = stdout().lock();
    // A closed pipe takes no more output; cleaning up goes on.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
