//! How much one call of a code may say.

use crate::custom::Code;

/// So many mails are sent.
pub(crate) const MAILS_MAX: usize = 20;
/// So many lines go to the log.
const LINES_MAX: usize = 100;
/// So many bytes of either.
const BYTES_MAX: usize = 256 * 1024;

/// What a call has said so far.
#[derive(Default)]
pub(super) struct Said {
    lines: Heap,
    mails: Heap,
}

#[derive(Default)]
struct Heap {
    count: usize,
    bytes: usize,
    dropped: usize,
}

impl Heap {
    fn takes(&mut self, most: usize, bytes: usize) -> bool {
        let is_taken = self.count < most && self.bytes + bytes <= BYTES_MAX;
        if is_taken {
            (self.count, self.bytes) = (self.count + 1, self.bytes + bytes);
        } else {
            self.dropped += 1;
        }
        is_taken
    }
}

impl Said {
    /// Whether one more line is logged.
    pub(super) fn line(&mut self, line: &str) -> bool {
        self.lines.takes(LINES_MAX, line.len())
    }

    /// Whether one more mail of so many bytes is sent.
    pub(super) fn mail(&mut self, bytes: usize) -> bool {
        self.mails.takes(MAILS_MAX, bytes)
    }

    /// So many mails more came to nothing.
    pub(super) fn lost(&mut self, mails: usize) {
        self.mails.dropped = self.mails.dropped.saturating_add(mails);
    }

    /// The call has ended: tells what was too much.
    pub(super) fn end(&self, sync: &str, code: &Code) {
        let (lines, mails) = (self.lines.dropped, self.mails.dropped);
        if lines + mails > 0 {
            tracing::warn!(
                sync,
                code = code.name,
                lines,
                mails,
                "a custom code says too much in one call: these are neither logged nor sent"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_says_so_much_and_what_is_more_is_counted() {
        let mut said = Said::default();
        let lines = (0..LINES_MAX + 7).filter(|_| said.line("x")).count();
        let mails = (0..MAILS_MAX + 3).filter(|_| said.mail(10)).count();
        said.lost(199_000);
        assert_eq!((lines, mails), (LINES_MAX, MAILS_MAX));
        assert_eq!((said.lines.dropped, said.mails.dropped), (7, 199_003));
        let mut said = Said::default();
        assert!(said.mail(BYTES_MAX - 1) && !said.mail(2) && said.mail(1) && said.line("its own"));
    }
}
