//! How fast this program is, beside PostgreSQL's own logical replication and the Perl Bucardo where it is installed,
//! all measured in one run on throwaway clusters. `make bench`; parts of it with
//! `make bench ARGS="latency backlog --only bucardo"`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot go on has failed")]

mod arguments;
mod field;
mod numbers;
mod parts;
mod process;
mod report;
mod systems;

use arguments::Arguments;
use field::Field;
use numbers::Numbers;
use parts::Part;
use systems::Kind;

fn main() {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}\n\n{}", Arguments::USAGE);
            std::process::exit(1);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let numbers = runtime.block_on(measure(&arguments));
    report::print(&numbers, &arguments);
}

async fn measure(arguments: &Arguments) -> Numbers {
    let mut numbers = Numbers::default();
    for kind in &arguments.systems {
        if let Err(reason) = kind.available() {
            eprintln!("SKIPPED: {}: {reason}", kind.name());
            numbers.skip(kind.name(), reason);
            continue;
        }
        if arguments.parts.iter().any(|part| part.is_delivery()) {
            delivery(*kind, arguments, &mut numbers).await;
        }
        if arguments.parts.contains(&Part::Load) {
            eprintln!("{}: load on the source, with and without capture", kind.name());
            parts::load::measure(*kind, arguments, &mut numbers).await;
        }
        // The others are what only the Bucardos do, or do by the same words.
        if *kind == Kind::Logical {
            continue;
        }
        if arguments.parts.contains(&Part::Merge) {
            eprintln!("{}: two masters with {} changed rows each", kind.name(), arguments.changed);
            parts::merge::measure(*kind, arguments, &mut numbers).await;
        }
        if arguments.parts.contains(&Part::Targets) {
            eprintln!("{}: eight targets", kind.name());
            parts::targets::measure(*kind, arguments, &mut numbers).await;
        }
        if arguments.parts.contains(&Part::Syncs) && *kind == Kind::Bucardo {
            eprintln!("{}: fifty idle syncs", kind.name());
            parts::syncs::measure(&mut numbers).await;
        }
        if arguments.parts.contains(&Part::Codes) && *kind == Kind::Bucardo {
            eprintln!("{}: {} conflicts decided by custom code", kind.name(), arguments.changed);
            parts::codes::measure(arguments, &mut numbers).await;
        }
        if arguments.parts.contains(&Part::Wide) {
            eprintln!("{}: a thousand idle tables", kind.name());
            parts::wide::measure(*kind, arguments, &mut numbers).await;
        }
        if arguments.parts.contains(&Part::Tables) {
            eprintln!("{}: initial copy of many tables", kind.name());
            parts::tables::measure(*kind, arguments, &mut numbers).await;
        }
    }
    numbers
}

/// Everything that needs rows to arrive, in one pair of clusters.
async fn delivery(kind: Kind, arguments: &Arguments, numbers: &mut Numbers) {
    eprintln!("{}: setting up two clusters with {} accounts", kind.name(), arguments.accounts());
    let field = Field::open(kind.settings(), arguments.scale);
    let mut system = kind.set_up(&field);
    if arguments.parts.contains(&Part::Copy) {
        eprintln!("{}: initial copy", kind.name());
        parts::copy::measure(&field, system.as_mut(), arguments, numbers).await;
    } else {
        field.pipe();
        system.start(&field);
    }
    if arguments.parts.contains(&Part::Latency) {
        eprintln!("{}: latency", kind.name());
        parts::latency::measure(&field, system.as_ref(), arguments, numbers).await;
    }
    if arguments.parts.contains(&Part::Backlog) {
        eprintln!("{}: backlog", kind.name());
        parts::backlog::measure(&field, system.as_ref(), arguments, numbers).await;
    }
    if arguments.parts.contains(&Part::Idle) {
        eprintln!("{}: idle", kind.name());
        parts::idle::measure(system.as_ref(), arguments, numbers).await;
    }
    system.stop(&field);
}
