//! `upgrade`: brings the catalog of an older version of this program up to date.

use super::{CliError, Context, Outcome};
use crate::catalog::migrate::{self, LEVEL_NEEDED, MIGRATIONS, State};
use crate::catalog::perl;
use crate::pg::connect;

/// `upgrade`
pub(super) async fn run(ctx: &Context) -> Outcome {
    if let Some(word) = ctx.words.first() {
        return Err(CliError::refuse(format!("\"upgrade\" takes no words: \"{word}\"")));
    }
    let mut session = Box::pin(connect(&ctx.control_access()?, "bucardo upgrade")).await?;
    let level = match migrate::state(&*session).await? {
        State::Level(level) => level,
        State::Absent { .. } => {
            return Err(CliError::refuse("There is nothing to upgrade: Bucardo is not installed in this database")
                .hint("\"bucardo install\" installs it"));
        }
        State::Foreign => {
            let version = perl::version(&*session).await?;
            return Err(CliError::refuse(format!(
                "Sorry, but the catalog of Bucardo version {version} cannot be upgraded: another program made it"
            ))
            .hint("\"bucardo adopt\" takes it over in place; \"bucardo adopt --dry-run\" shows what it would do"));
        }
    };
    let missing: Vec<_> = MIGRATIONS.iter().filter(|migration| migration.level > level).collect();
    if level == LEVEL_NEEDED {
        ctx.out.say("No schema changes were needed");
        return Ok(1);
    }
    for migration in &missing {
        ctx.out.say(format!("Change {}: {}", migration.level, migration.name));
    }
    if ctx.options.dry_run {
        ctx.out.say(format!("Dry run: {} changes were not made", missing.len()));
        return Ok(0);
    }
    if !ctx.options.batch && !missing.is_empty() {
        let answer = ctx.out.ask(&format!("Okay to commit {} changes? ", missing.len())).unwrap_or_default();
        if !answer.to_lowercase().starts_with('y') {
            return Err(CliError::refuse("Nothing was changed").hint("--batch asks nothing"));
        }
    }
    migrate::migrate(&mut session).await?;
    ctx.out.say("Changes have been committed");
    ctx.out.say("Run \"bucardo validate all\" before the daemon is started again");
    Ok(0)
}
