//! Whether the custom codes of syncs can run, before anything of theirs is started.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bucardo_actors::model::{Fault, SyncName};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::warn;

use crate::catalog::SyncDetail;
use crate::custom::{Code, CodeError, Host, Hosts, for_shell};

/// To compile takes no longer than that; a code that needs more is told when it runs.
const WITHIN: Duration = Duration::from_secs(5);

/// Compiles codes, each once.
pub(super) struct Compiler {
    open: Hosts,
    /// Those that compile.
    fit: Mutex<HashSet<Code>>,
}

impl Compiler {
    pub(super) fn new(open: Hosts) -> Self {
        Self { open, fit: Mutex::default() }
    }

    /// What keeps the codes of each of these syncs from being run, where anything does. Others are forgotten.
    pub(super) async fn problems<'a>(&self, syncs: impl Iterator<Item = &'a SyncDetail>) -> BTreeMap<SyncName, Fault> {
        let mut fit = self.fit.lock().await;
        let (mut now, mut problems) = (HashSet::new(), BTreeMap::new());
        let mut hosts: BTreeMap<&str, Box<dyn Host>> = BTreeMap::new();
        for sync in syncs {
            for code in &sync.codes {
                if now.contains(code) {
                    continue;
                }
                if !fit.contains(code) {
                    let host = hosts.entry(code.language.word()).or_insert_with(|| (self.open)(code.language));
                    match timeout(WITHIN, host.check(code)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error @ (CodeError::Compile { .. } | CodeError::NoHost { .. }))) => {
                            problems.entry(sync.name.clone()).or_insert_with(|| fault(&error, &sync.name));
                            continue;
                        }
                        // It may be the machine that is busy, so it is no reason to keep the sync from running.
                        Ok(Err(error)) => {
                            warn!(sync = %sync.name, code = code.name, %error, "cannot tell whether a custom code compiles");
                            continue;
                        }
                        Err(_) => {
                            warn!(sync = %sync.name, code = code.name, "a custom code takes more than {WITHIN:?} to compile");
                            hosts.remove(code.language.word());
                            continue;
                        }
                    }
                }
                now.insert(code.clone());
            }
        }
        *fit = now;
        problems
    }
}

fn fault(error: &CodeError, sync: &SyncName) -> Fault {
    let code = for_shell(error.code());
    let hint = match error {
        CodeError::NoHost { .. } => format!("install what is missing, then run: bucardo reload sync {sync}"),
        _ => format!("mend it (bucardo update customcode {code} src_code=FILE), then run: bucardo reload sync {sync}"),
    };
    Fault::permanent(error.to_string()).with_hint(hint)
}
