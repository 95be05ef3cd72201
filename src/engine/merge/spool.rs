//! Rulings of one table for one source. They are kept until its connection is free to take them, in memory while they are
//! few, else in a temporary file without a name; or sent as they come.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{SinkExt, pin_mut};
use tempfile::SpooledTempFile;
use tokio_postgres::{CopyInSink, Statement};

use crate::custom::Cells;
use crate::engine::error::RoundError;
use crate::engine::refused::{REFUSED_MAX, refusal};
use crate::engine::site::Site;

/// What one source keeps of its rulings in memory.
const MEMORY_MAX: usize = 512 * 1024;
/// How much goes to the server at once.
const PIECE: usize = 64 * 1024;

/// Keys are most of those between two integers when they are one in so many, at least. To look one up costs about three
/// times what it costs to pass by one.
const DENSE: u64 = 2;

/// Lines for a `COPY … FROM STDIN`.
pub(super) struct Spool {
    way: Way,
    /// The last lines, not on their way yet.
    piece: Vec<u8>,
    /// The first key.
    first: Vec<u8>,
    /// The last one.
    last: Vec<u8>,
    /// The lines are in no order.
    is_mixed: bool,
    /// Lines.
    pub(super) rows: u64,
}

/// Where lines go.
enum Way {
    /// They are kept.
    File(SpooledTempFile),
    /// They are sent.
    Server(Pin<Box<CopyInSink<Bytes>>>),
}

impl Spool {
    pub(super) fn new() -> Self {
        Self::by(Way::File(SpooledTempFile::new(MEMORY_MAX)))
    }

    /// One that sends its lines to a server as they come; the connection does nothing else until [`Spool::send`].
    pub(super) async fn sending(site: &Site, what: &str, into: &Statement) -> Result<Self, RoundError> {
        let sink = site.conn.copy_in::<_, Bytes>(into).await.map_err(site.failed(what))?;
        Ok(Self::by(Way::Server(Box::pin(sink))))
    }

    fn by(way: Way) -> Self {
        Self { way, piece: Vec::new(), first: Vec::new(), last: Vec::new(), is_mixed: false, rows: 0 }
    }

    /// Adds a line: the key's columns, as they came from a `COPY`, and the rest, tabs included.
    pub(super) fn put(&mut self, keys: &[u8], rest: &[u8]) -> io::Result<()> {
        self.piece.extend_from_slice(keys);
        self.piece.extend_from_slice(rest);
        self.piece.push(b'\n');
        if self.rows == 0 {
            self.first.extend_from_slice(keys);
        }
        self.last.clear();
        self.last.extend_from_slice(keys);
        self.rows += 1;
        if self.piece.len() >= PIECE
            && let Way::File(file) = &mut self.way
        {
            file.write_all(&self.piece)?;
            self.piece.clear();
        }
        Ok(())
    }

    /// Hands out the lines that are kept, each with its end.
    pub(super) fn each(self, mut line: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let Way::File(mut file) = self.way else { return Ok(()) };
        file.write_all(&self.piece)?;
        file.seek(SeekFrom::Start(0))?;
        let (mut file, mut next) = (BufReader::new(file), Vec::new());
        while file.read_until(b'\n', &mut next)? > 0 {
            line(&next)?;
            next.clear();
        }
        Ok(())
    }

    /// What comes now begins anew with the first keys.
    pub(super) fn begin_anew(&mut self) {
        self.is_mixed |= self.rows > 0;
    }

    /// The first and the last key, when they are integers and most between the two were put.
    pub(super) fn dense(&self) -> Option<(i64, i64)> {
        let number = |key: &[u8]| std::str::from_utf8(key).ok()?.parse::<i64>().ok();
        let (first, last) = (number(&self.first)?, number(&self.last)?);
        let between = last.checked_sub(first)?.unsigned_abs();
        (!self.is_mixed && first <= last && between / DENSE < self.rows).then_some((first, last))
    }

    /// Sends what has come together.
    pub(super) async fn pass_on(&mut self, site: &Site, what: &str) -> Result<(), RoundError> {
        match &mut self.way {
            Way::Server(sink) if self.piece.len() >= PIECE => {
                let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE + PIECE / 8));
                sink.feed(Bytes::from(piece)).await.map_err(site.failed(what))
            }
            _ => Ok(()),
        }
    }

    /// Sends all lines, if there are any, or what was not sent before; the server has taken them.
    pub(super) async fn send(self, site: &Site, what: &str, into: &Statement) -> Result<(), RoundError> {
        let mut file = match self.way {
            Way::File(file) => file,
            Way::Server(mut sink) => {
                sink.feed(Bytes::from(self.piece)).await.map_err(site.failed(what))?;
                sink.as_mut().finish().await.map_err(site.failed(what))?;
                return Ok(());
            }
        };
        if self.rows == 0 {
            return Ok(());
        }
        file.write_all(&self.piece).map_err(lost)?;
        file.seek(SeekFrom::Start(0)).map_err(lost)?;
        copy(file, site, what, into).await
    }

    /// The same of lines that are kept, but for those that the server refuses: these are returned. Of them, `nameless` are
    /// taken without the columns of their key, which are so many.
    pub(super) async fn send_what_fits(
        self,
        site: &Site,
        what: &str,
        into: &Statement,
        nameless: Option<usize>,
    ) -> Result<Vec<Vec<u8>>, RoundError> {
        let Way::File(mut file) = self.way else { return self.send(site, what, into).await.map(|()| Vec::new()) };
        file.write_all(&self.piece).map_err(lost)?;
        let ends = ends(&mut file).map_err(lost)?;
        let mut refused = Vec::new();
        let mut pieces: Vec<_> = std::iter::once(0..ends.len() - 1).collect();
        while let Some(piece) = pieces.pop().filter(|piece| !piece.is_empty()) {
            let (start, end) = (ends[piece.start], ends[piece.end]);
            site.run(what, "SAVEPOINT bucardo_lines").await?;
            file.seek(SeekFrom::Start(start)).map_err(lost)?;
            let Err(error) = copy((&mut file).take(end - start), site, what, into).await else {
                site.run(what, "RELEASE SAVEPOINT bucardo_lines").await?;
                continue;
            };
            if refusal(&error).is_none() || refused.len() >= REFUSED_MAX {
                return Err(error);
            }
            site.run(what, "ROLLBACK TO SAVEPOINT bucardo_lines; RELEASE SAVEPOINT bucardo_lines").await?;
            if piece.len() > 1 {
                let middle = piece.start + piece.len() / 2;
                pieces.extend([middle..piece.end, piece.start..middle]);
                continue;
            }
            let mut line = Vec::new();
            file.seek(SeekFrom::Start(start)).map_err(lost)?;
            (&mut file).take(end - start).read_to_end(&mut line).map_err(lost)?;
            if let Some(columns) = nameless {
                let rest = line.split(|byte| *byte == b'\t').skip(columns);
                let nameless = (0..columns).map(|_| b"\\N".as_slice()).chain(rest).collect::<Vec<_>>().join(&b'\t');
                copy(nameless.as_slice(), site, what, into).await?;
            }
            refused.push(line);
        }
        Ok(refused)
    }
}

fn lost(source: io::Error) -> RoundError {
    RoundError::Spool { source }
}

/// Where lines begin, and the last one ends.
fn ends(file: &mut SpooledTempFile) -> io::Result<Vec<u64>> {
    file.seek(SeekFrom::Start(0))?;
    let (mut file, mut ends, mut end, mut line) = (BufReader::new(file), vec![0], 0, Vec::new());
    loop {
        line.clear();
        match file.read_until(b'\n', &mut line)? {
            0 => return Ok(ends),
            read => end += u64::try_from(read).unwrap_or_default(),
        }
        ends.push(end);
    }
}

async fn copy(mut lines: impl Read, site: &Site, what: &str, into: &Statement) -> Result<(), RoundError> {
    let sink = site.conn.copy_in::<_, Bytes>(into).await.map_err(site.failed(what))?;
    pin_mut!(sink);
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        (&mut lines).take(PIECE as u64).read_to_end(&mut piece).map_err(lost)?;
        if piece.is_empty() {
            break;
        }
        sink.feed(Bytes::from(piece)).await.map_err(site.failed(what))?;
    }
    sink.finish().await.map(drop).map_err(site.failed(what))
}

/// A text as the text format of `COPY` wants it (manual, reference page `COPY`, "File Formats").
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in self.0.split_inclusive(['\\', '\t', '\n', '\r']) {
            let mut chars = piece.chars();
            let escape = match chars.next_back() {
                Some('\\') => "\\\\",
                Some('\t') => "\\t",
                Some('\n') => "\\n",
                Some('\r') => "\\r",
                _ => {
                    f.write_str(piece)?;
                    continue;
                }
            };
            f.write_str(chars.as_str())?;
            f.write_str(escape)?;
        }
        Ok(())
    }
}

/// The values of a line of `COPY`, without its end; the outer `None`: no text in UTF-8.
pub(in crate::engine) fn fields(line: &[u8]) -> impl Iterator<Item = Option<Option<String>>> {
    texts(line).map(|field| Some(field?.map(Cow::into_owned)))
}

/// All values of such a line.
pub(super) fn cells(line: &[u8], columns: usize) -> Option<Cells> {
    let mut cells = Cells::with_capacity(columns, line.len());
    for field in texts(line) {
        cells.push(field?.as_deref());
    }
    Some(cells)
}

fn texts(line: &[u8]) -> impl Iterator<Item = Option<Option<Cow<'_, str>>>> {
    line.split(|byte| *byte == b'\t').map(|field| if field == b"\\N" { Some(None) } else { unescaped(field).map(Some) })
}

fn unescaped(field: &[u8]) -> Option<Cow<'_, str>> {
    if !field.contains(&b'\\') {
        return std::str::from_utf8(field).ok().map(Cow::Borrowed);
    }
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, if byte == b'\\' { rest.next() } else { None }) {
            (_, Some(b'b')) => 8,
            (_, Some(b'f')) => 12,
            (_, Some(b'n')) => b'\n',
            (_, Some(b'r')) => b'\r',
            (_, Some(b't')) => b'\t',
            (_, Some(b'v')) => 11,
            (_, Some(other)) => other,
            (byte, None) => byte,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_both_ways() {
        let values = ["", "a", "\\", "\\N", "a\tb\nc\rd", "\u{8}\u{b}\u{c}", "\\t", "ü"];
        let line = values.map(|value| Escaped(value).to_string()).join("\t") + "\t\\N";
        let mut back: Vec<Option<String>> = values.iter().map(|&value| Some(value.to_owned())).collect();
        back.push(None);
        assert_eq!(fields(line.as_bytes()).collect::<Option<Vec<_>>>(), Some(back));
        assert_eq!(fields(b"\\b\\v\\f").collect::<Vec<_>>(), [Some(Some("\u{8}\u{b}\u{c}".to_owned()))]);
        assert_eq!(fields(b"\xff").collect::<Vec<_>>(), [None]);
    }
}
