//! Codes in their languages, watched: what each was given and what it left of it; and what they said in the log.

use std::io::Write;
use std::sync::{Arc, Mutex};

use bucardo::custom::{Code, CodeError, Databases, Host, Hosts, Mail, open};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tracing::subscriber::DefaultGuard;

use super::SyncLab;

/// What one code was called with.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) code: Code,
    pub(crate) given: Value,
    /// `None`: it failed.
    pub(crate) left: Option<Value>,
}

impl Call {
    /// What a code that tells saw.
    pub(crate) fn told(&self) -> Value {
        let told = self.left.as_ref().and_then(|left| left["told"].as_str());
        let told = told.unwrap_or_else(|| panic!("{} told nothing: {self:?}", self.code.name));
        serde_json::from_str(told).unwrap_or_else(|error| panic!("{}: {error}: {told}", self.code.name))
    }
}

/// Runs codes as the daemon does, and notes each call and each mail.
#[derive(Clone, Default)]
pub(crate) struct Witness {
    calls: Arc<Mutex<Vec<Call>>>,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl Witness {
    /// A witness of the codes of a sync from now on.
    pub(crate) fn of(lab: &mut SyncLab) -> Self {
        let witness = Self::default();
        let mails = Arc::clone(&witness.mails);
        lab.hosts = Some(witness.hosts());
        lab.post = Some(Arc::new(move |mail| mails.lock().unwrap().push(mail)));
        lab.renew();
        witness
    }

    fn hosts(&self) -> Hosts {
        let (open, calls) = (open(), self.clone());
        Arc::new(move |language| Box::new(Watched { host: open(language), calls: calls.clone() }))
    }

    /// The calls since the last time it was asked.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().drain(..).collect()
    }

    /// The mails since the last time it was asked.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().drain(..).collect()
    }

    /// The names of the codes that were called since then.
    pub(crate) fn names(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.code.name).collect()
    }
}

struct Watched {
    host: Box<dyn Host>,
    calls: Witness,
}

impl Host for Watched {
    fn serves(&mut self, sync: &str) {
        self.host.serves(sync);
    }

    fn check<'a>(&'a mut self, code: &'a Code) -> BoxFuture<'a, Result<(), CodeError>> {
        self.host.check(code)
    }

    fn reached(&self) -> Option<usize> {
        self.host.reached()
    }

    fn call<'a>(
        &'a mut self,
        code: &'a Code,
        inputs: Vec<Value>,
        dbs: &'a mut dyn Databases,
    ) -> BoxFuture<'a, Result<Vec<Value>, CodeError>> {
        async move {
            let given = inputs.clone();
            let left = self.host.call(code, inputs, dbs).await;
            self.calls.note(code, given, &left);
            left
        }
        .boxed()
    }

    fn call_with<'a>(
        &'a mut self,
        code: &'a Code,
        common: &'a Map<String, Value>,
        inputs: Vec<Value>,
        dbs: &'a mut dyn Databases,
    ) -> BoxFuture<'a, Result<Vec<Value>, CodeError>> {
        async move {
            let mut given = inputs.clone();
            given.iter_mut().for_each(|it| it.as_object_mut().unwrap().extend(common.clone()));
            let left = self.host.call_with(code, common, inputs, dbs).await;
            self.calls.note(code, given, &left);
            left
        }
        .boxed()
    }
}

impl Witness {
    fn note(&self, code: &Code, given: Vec<Value>, left: &Result<Vec<Value>, CodeError>) {
        let left = |at: usize| left.as_ref().ok().map(|left| left[at].clone());
        let calls = given.into_iter().enumerate().map(|(at, given)| Call { code: code.clone(), given, left: left(at) });
        self.calls.lock().unwrap().extend(calls);
    }
}

/// The log of this thread, as long as it lives.
pub(crate) struct Heard {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

impl Heard {
    /// Begins to listen.
    pub(crate) fn begin() -> Self {
        let lines: Arc<Mutex<Vec<u8>>> = Arc::default();
        let writer = Arc::clone(&lines);
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || Writer(Arc::clone(&writer)))
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .finish();
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines about codes since the last time it was asked, and all that warn.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = String::from_utf8(std::mem::take(&mut *self.lines.lock().unwrap())).unwrap();
        let is_told = |line: &&str| line.contains("code=") || line.contains("WARN") || line.contains("ERROR");
        lines.lines().filter(is_told).map(|line| line.trim().to_owned()).collect()
    }
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
