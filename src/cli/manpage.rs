//! `bucardo(1)`: made from the declared options and from the manual, so that it says what the program does.

use std::io;

use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::Options;
use super::help;

/// The page, as input of `man`.
pub(super) fn render() -> io::Result<String> {
    let page = Man::new(Options::command().about("asynchronous replication between PostgreSQL databases"))
        .manual("Bucardo")
        .source(format!("Bucardo {}", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    section("SYNOPSIS", "bucardo [options] VERB [NOUN ...] [key=value ...]").to_writer(&mut text)?;
    page.render_options_section(&mut text)?;
    for (topics, words) in help::sections() {
        section(&topics.to_uppercase(), words).to_writer(&mut text)?;
    }
    section("SEE ALSO", "/usr/share/doc/bucardo/README.md, /usr/share/doc/bucardo/default.toml")
        .to_writer(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Lines as they are.
fn section(heading: &str, words: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    roff.control("nf", []);
    for line in words.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_option_and_every_section() {
        let page = render().unwrap();
        for argument in Options::command().get_arguments().filter(|argument| !argument.is_hide_set()) {
            let Some(long) = argument.get_long() else { continue };
            let escaped = long.replace('-', "\\-");
            assert!(page.contains(&format!("\\-\\-{escaped}")), "--{long} is missing");
        }
        assert!(page.contains(".SH \"ADD SYNC\""), "{page}");
        assert!(page.starts_with(".ie") || page.contains(".TH bucardo 1"), "{}", &page[..200]);
        // No line of the manual is taken for a request of the formatter.
        assert!(!page.lines().any(|line| line.starts_with("..")), "{page}");
    }
}
