//! `completion SHELL`: scripts that let a shell complete command lines. They ask the program itself, which knows its
//! verbs, nouns, keys and options, and the names of the catalog where the control database answers quickly.

use std::time::Duration;

use clap::CommandFactory;

use super::words::{self, Key, Noun};
use super::{CliError, Context, Options, Outcome, customcode, db, mapping, relgroup, sync_add, table, trial};
use crate::catalog::{Control, codes, dbs, goats, groups, settings, syncs};

/// The verb that the scripts ask with; the words of the command line so far follow, the one to be completed last.
pub(super) const VERB: &str = "__complete";
/// Nobody waits longer for names.
const NAMES_WITHIN: Duration = Duration::from_secs(2);

const BASH: &str = r#"_bucardo() {
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -F _bucardo bucardo bucardo_ctl
"#;
const ZSH: &str = r#"#compdef bucardo bucardo_ctl
local -a answers
answers=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
compadd -S '' -- ${(M)answers:#*=}
compadd -- ${answers:#*=}
"#;
const FISH: &str = r#"function __bucardo_complete
    set -l typed (commandline -opc) (commandline -ct)
    $typed[1] __complete -- $typed[2..-1] 2>/dev/null
end
complete -c bucardo -f -a '(__bucardo_complete)'
complete -c bucardo_ctl -f -a '(__bucardo_complete)'
"#;

/// `completion bash|zsh|fish`
pub(super) fn script(ctx: &Context) -> Outcome {
    let [shell] = ctx.words.as_slice() else { return Err(CliError::usage("completion")) };
    let script = match shell.to_lowercase().as_str() {
        "bash" => BASH,
        "zsh" => ZSH,
        "fish" => FISH,
        _ => {
            let shells = ["bash", "zsh", "fish"];
            return Err(CliError::refuse(format!("Cannot complete for the shell \"{shell}\""))
                .hint("it is one of bash, zsh, fish")
                .suggest(shell, shells));
        }
    };
    ctx.out.always(script.trim_end());
    Ok(0)
}

/// Which names of the catalog may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    None,
    Of(Noun),
    Settings,
}

/// What may come next: words that are known without the catalog, and names of the catalog.
fn candidates(typed: &[String]) -> (Vec<String>, Names) {
    let strings = |all: &mut dyn Iterator<Item = &'static str>| all.map(str::to_owned).collect::<Vec<_>>();
    let Some((last, before)) = typed.split_last() else { return (strings(&mut words::verbs()), Names::None) };
    if last.starts_with('-') {
        return (options(), Names::None);
    }
    let mut before = before.iter().filter(|word| !word.starts_with('-'));
    let Some(first) = before.next() else { return (strings(&mut words::verbs()), Names::None) };
    let (verb, joined) = words::verb(first);
    let noun_word = joined.or_else(|| before.next().cloned());
    match verb.as_str() {
        "add" | "list" | "update" | "remove" => match noun_word.as_deref().map(Noun::of) {
            None => (words::NOUNS.map(str::to_owned).to_vec(), Names::None),
            Some(None) => (Vec::new(), Names::None),
            Some(Some(noun)) => {
                let keys = if matches!(verb.as_str(), "add" | "update") { keys(noun) } else { &[] };
                let all = if noun == Noun::All && verb == "add" {
                    vec!["tables".into(), "sequences".into()]
                } else {
                    Vec::new()
                };
                let names = if verb == "add" { Names::None } else { Names::Of(noun) };
                (keys.iter().flat_map(Key::completions).chain(all).collect(), names)
            }
        },
        "inspect" => match noun_word.as_deref().and_then(Noun::of) {
            None => (["table", "relgroup", "sync"].map(str::to_owned).to_vec(), Names::None),
            Some(noun) => (Vec::new(), Names::Of(noun)),
        },
        "test" => match noun_word {
            None => (vec!["customcode".to_owned()], Names::None),
            Some(_) => (trial::KEYS.iter().flat_map(Key::completions).collect(), Names::Of(Noun::Customcode)),
        },
        "adopt" => (["undo", "forget"].map(str::to_owned).to_vec(), Names::None),
        "kick" | "clone" | "status" | "validate" | "activate" | "deactivate" | "pause" | "resume" | "retry" => {
            (vec!["all".to_owned()], Names::Of(Noun::Sync))
        }
        "reload" => (["config", "sync"].map(str::to_owned).to_vec(), Names::Of(Noun::Sync)),
        "show" => (["all", "changed"].map(str::to_owned).to_vec(), Names::Settings),
        "set" => (Vec::new(), Names::Settings),
        "help" if noun_word.is_none() => (strings(&mut words::verbs()), Names::None),
        "help" => (words::NOUNS.map(str::to_owned).to_vec(), Names::None),
        "completion" => (["bash", "zsh", "fish"].map(str::to_owned).to_vec(), Names::None),
        _ => (Vec::new(), Names::None),
    }
}

fn options() -> Vec<String> {
    let command = Options::command();
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    shown.filter_map(|arg| arg.get_long().map(|long| format!("--{long}"))).collect()
}

const fn keys(noun: Noun) -> &'static [Key] {
    match noun {
        Noun::Database => &db::KEYS,
        Noun::Table | Noun::Sequence | Noun::All => &table::KEYS,
        Noun::Relgroup => &relgroup::KEYS,
        Noun::Sync => &sync_add::KEYS,
        Noun::Customcode => &customcode::KEYS,
        Noun::Customname | Noun::Customcols | Noun::Customselect => &mapping::KEYS,
        Noun::Dbgroup | Noun::Config | Noun::Conflict | Noun::Deadletter | Noun::Orphan | Noun::Clone | Noun::Goat => {
            &[]
        }
    }
}

/// `__complete -- WORD…`: one candidate a line. Names are missing where the control database does not answer: a
/// completion complains of nothing.
pub(super) async fn answer(ctx: &Context) -> Outcome {
    let (mut all, names) = candidates(&ctx.words);
    if names != Names::None
        && let Ok(Ok(found)) = tokio::time::timeout(NAMES_WITHIN, Box::pin(catalog_names(ctx, names))).await
    {
        all.extend(found);
    }
    let last = ctx.words.last().map(String::as_str).unwrap_or_default();
    all.retain(|word| word.starts_with(last));
    all.iter().for_each(|word| ctx.out.always(word));
    Ok(0)
}

async fn catalog_names(ctx: &Context, names: Names) -> Result<Vec<String>, CliError> {
    let control: Control = ctx.control().await?;
    let client = control.client();
    Ok(match names {
        Names::None => Vec::new(),
        Names::Settings => {
            let suffix = if ctx.words.first().is_some_and(|verb| verb == "set") { "=" } else { "" };
            settings::load(client).await?.iter().map(|(name, _)| format!("{name}{suffix}")).collect()
        }
        Names::Of(Noun::Database | Noun::Orphan) => dbs::list(client).await?.into_iter().map(|db| db.name).collect(),
        Names::Of(Noun::Dbgroup) => groups::dbgroups(client).await?.into_iter().map(|group| group.name).collect(),
        Names::Of(Noun::Relgroup) => groups::relgroups(client).await?.into_iter().map(|group| group.name).collect(),
        Names::Of(Noun::Sync | Noun::Conflict | Noun::Deadletter) => {
            syncs::list(client).await?.into_iter().map(|sync| sync.name).collect()
        }
        Names::Of(Noun::Customcode) => codes::list(client).await?.into_iter().map(|code| code.name).collect(),
        Names::Of(noun @ (Noun::Table | Noun::Sequence)) => {
            let kind = if noun == Noun::Table { "table" } else { "sequence" };
            let all = goats::list(client).await?.into_iter().filter(|goat| goat.reltype == kind);
            all.map(|goat| goat.full_name()).collect()
        }
        Names::Of(_) => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_next_follows_from_what_was_typed() {
        let of = |line: &str| candidates(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for (line, word, names) in [
            ("", "kick", Names::None),
            ("li", "list", Names::None),
            ("-v ", "list", Names::None),
            ("list ", "dbgroup", Names::None),
            ("add db x ", "dbname=", Names::None),
            ("add db x s", "status=", Names::None),
            ("add sync x onetimecopy=", "onetimecopy=2", Names::None),
            ("add all ", "tables", Names::None),
            ("update sync ", "autokick=true", Names::Of(Noun::Sync)),
            ("kick ", "all", Names::Of(Noun::Sync)),
            ("add_sync x ", "relgroup=", Names::None),
            ("list --db", "--dbname", Names::None),
            ("show ", "changed", Names::Settings),
            ("help ", "kick", Names::None),
            ("test ", "customcode", Names::None),
            ("test customcode ", "db=", Names::Of(Noun::Customcode)),
            ("completion ", "fish", Names::None),
        ] {
            let (found, of_catalog) = of(line);
            assert!(found.iter().any(|found| found == word), "{line}: {found:?}");
            assert_eq!(of_catalog, names, "{line}");
        }
        assert_eq!(of("remove db "), (Vec::new(), Names::Of(Noun::Database)));
        assert_eq!(of("frobnicate x"), (Vec::new(), Names::None));
    }
}
