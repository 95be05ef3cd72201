//! Which events are logged at which level of the settings.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use crate::config::Level;

/// Start and end of the daemon, what it was asked to do, what operators leave for the log: never too much.
const OF_THE_PROCESS: &str = "bucardo::daemon";
/// What the actors decide, and each run.
const DECISIONS: [&str; 2] = ["bucardo_actors", "bucardo::adapters::catalog"];

/// Lets through what a level of the settings lets through.
pub(super) fn filter(level: Level) -> Targets {
    let all = |filter: LevelFilter| Targets::new().with_default(filter);
    match level {
        Level::Terse => all(LevelFilter::WARN).with_target(OF_THE_PROCESS, LevelFilter::INFO),
        Level::Normal => all(LevelFilter::INFO),
        Level::Verbose => all(LevelFilter::INFO).with_targets(DECISIONS.map(|target| (target, LevelFilter::DEBUG))),
        Level::Debug => all(LevelFilter::DEBUG),
        Level::Debug2 => all(LevelFilter::TRACE),
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level as Event;

    use super::*;

    #[test]
    fn each_level_logs_what_it_promises() {
        let logged = |level: Level, target: &str, event: Event| filter(level).would_enable(target, &event);
        let engine = "bucardo::engine::pair";
        for (level, loudest) in [
            (Level::Terse, Event::WARN),
            (Level::Normal, Event::INFO),
            (Level::Verbose, Event::INFO),
            (Level::Debug, Event::DEBUG),
            (Level::Debug2, Event::TRACE),
        ] {
            for event in [Event::ERROR, Event::WARN, Event::INFO, Event::DEBUG, Event::TRACE] {
                assert_eq!(logged(level, engine, event), event <= loudest, "{level:?} {event}");
            }
        }
        assert!(logged(Level::Terse, "bucardo::daemon::signals", Event::INFO));
        assert!(!logged(Level::Terse, "bucardo_actors::mcp", Event::INFO));
        assert!(logged(Level::Verbose, "bucardo_actors::ctl", Event::DEBUG));
        assert!(!logged(Level::Normal, "bucardo_actors::ctl", Event::DEBUG));
    }
}
