//! Lua codes: embedded, and shut in. Each has a Lua of its own, on a thread of its own while it runs; what it asks of
//! databases is answered here.

mod around;
mod convert;
mod handle;
mod machine;
mod shape;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Fuse;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::conflict::{Asking, Dispute};
use super::host::Runner;
use super::{Code, CodeError, Databases};
use handle::Asked;
use machine::{Call, Called, Death, Inputs, Machine};
use shape::Packed;

/// So long a code that is told to stop may take before its thread is left to itself.
const STOP_WITHIN: Duration = Duration::from_millis(500);

/// Runs codes in Lua.
pub(super) struct LuaHost {
    /// By the numbers of their codes.
    compiled: BTreeMap<i32, Compiled>,
    /// What codes keep for each other, and for later.
    shared: Value,
    /// The input that the last call was at.
    at: Option<usize>,
}

impl Default for LuaHost {
    fn default() -> Self {
        Self { compiled: BTreeMap::new(), shared: Value::Object(Map::new()), at: None }
    }
}

struct Compiled {
    machine: Machine,
    /// Ends what it runs.
    stop: Arc<AtomicBool>,
}

impl LuaHost {
    /// Taken out while it runs, and put back only after it ended well: else its memory may be full, its variables half
    /// changed.
    fn take(&mut self, code: &Code) -> Result<Compiled, CodeError> {
        match self.compiled.remove(&code.id).filter(|compiled| compiled.machine.is_of(code)) {
            Some(compiled) => Ok(compiled),
            None => {
                let stop = Arc::default();
                Ok(Compiled { machine: Machine::new(code, &stop)?, stop })
            }
        }
    }
}

impl Runner for LuaHost {
    async fn check(&mut self, code: &Code) -> Result<(), CodeError> {
        Machine::new(code, &Arc::default()).map(drop)
    }

    fn reached(&self) -> Option<usize> {
        self.at
    }

    async fn run(
        &mut self,
        code: &Code,
        common: &Map<String, Value>,
        inputs: Vec<Value>,
        dbs: &mut dyn Databases,
    ) -> Result<Vec<Value>, CodeError> {
        self.call(code, common, Inputs::Whole(inputs), dbs).await
    }

    async fn settle(
        &mut self,
        code: &Code,
        asking: &Asking<'_>,
        disputes: &[&Dispute],
        dbs: &mut dyn Databases,
    ) -> Result<Vec<Value>, CodeError> {
        let inputs = match Packed::new(asking, disputes) {
            Some(packed) => Inputs::Packed(packed),
            None => Inputs::Whole(disputes.iter().map(|dispute| asking.about(dispute)).collect()),
        };
        self.call(code, asking.common(), inputs, dbs).await
    }
}

impl LuaHost {
    async fn call(
        &mut self,
        code: &Code,
        common: &Map<String, Value>,
        inputs: Inputs,
        dbs: &mut dyn Databases,
    ) -> Result<Vec<Value>, CodeError> {
        self.at = None;
        let until = Instant::now() + code.limits.timeout;
        let Compiled { machine, stop } = self.take(code)?;
        let running = Running(&stop);
        let (asks, asked) = mpsc::channel(1);
        let call = Call {
            common: common.clone(),
            inputs,
            shared: self.shared.clone(),
            names: code.getdbh.then(|| dbs.names()),
            asks,
        };
        let (tell, told) = oneshot::channel();
        let thread = move || {
            let called = machine.run(call);
            // Nobody waits any more for what was stopped.
            let _ = tell.send((machine, called));
        };
        let died = |why: String| CodeError::Died { code: code.name.clone(), why };
        let started = std::thread::Builder::new().name("custom code".to_owned()).spawn(thread);
        started.map_err(|error| died(format!("cannot start a thread: {error}")))?;
        let mut told = told.fuse();
        let ended = {
            let answering = std::pin::pin!(answer(asked, &mut told, dbs));
            let ended = timeout_at(until, answering).await;
            // Before what it waits for is gone: it shall know why.
            drop(running);
            ended
        };
        match ended {
            Ok(Ok((machine, called))) => {
                self.at = machine.reached();
                let Called { outputs, shared } = called.map_err(|death| match death {
                    Death::Stopped(place) => code.limits.late(&code.name, place.as_deref()),
                    Death::Failed(error) => error,
                })?;
                stop.store(false, Ordering::Relaxed);
                self.compiled.insert(code.id, Compiled { machine, stop });
                self.shared = shared;
                Ok(outputs)
            }
            Ok(Err(_)) => Err(died("it panicked".to_owned())),
            Err(_) => {
                let place = match tokio::time::timeout(STOP_WITHIN, told).await {
                    Ok(Ok((machine, Err(Death::Stopped(place))))) => {
                        self.at = machine.reached();
                        place
                    }
                    _ => None,
                };
                Err(code.limits.late(&code.name, place.as_deref()))
            }
        }
    }
}

/// Dropped, however the call ends, it stops the code.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Ended = (Machine, Result<Called, Death>);

/// Answers what the code asks, until it ends.
async fn answer(
    mut asked: mpsc::Receiver<Asked>,
    told: &mut Fuse<oneshot::Receiver<Ended>>,
    dbs: &mut dyn Databases,
) -> Result<Ended, oneshot::error::RecvError> {
    loop {
        tokio::select! {
            biased;
            ended = &mut *told => return ended,
            Some(Asked { db, statement, answer }) = asked.recv() => {
                // The code may have been stopped meanwhile.
                let _ = answer.send(dbs.run(&db, statement).await);
            }
        }
    }
}
