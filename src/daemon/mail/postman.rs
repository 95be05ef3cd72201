//! The postman: hears of the daemon, looks at the board, sends what is due.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bucardo_actors::board::Board;
use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

use super::alerts::Writer;
use super::postbox::{Alert, Batch};
use super::send::{self, MailError};
use super::store::Stored;
use super::watch::Watcher;
use super::{END_WITHIN, Event, Order};
use crate::config::MailSettings;
use crate::pg::causes;

const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A mail on its way, and what it is made of.
type Sending = (Batch, JoinHandle<Result<(), MailError>>);

pub(super) struct Postman {
    host: String,
    file: PathBuf,
    settings: MailSettings,
    changes: channel::Receiver<MailSettings>,
    orders: mpsc::Receiver<Order>,
    board: Arc<Board>,
    watcher: Watcher,
    stored: Stored,
    saved: Stored, // what the file holds
    unsaved: bool, // it cannot be written, and that was told
    sending: Option<Sending>,
}

impl Postman {
    pub(super) fn new(
        host: &str,
        file: PathBuf,
        changes: channel::Receiver<MailSettings>,
        orders: mpsc::Receiver<Order>,
        board: Arc<Board>,
    ) -> Self {
        let settings = changes.borrow().clone();
        let (watcher, stored, saved) = (Watcher::default(), Stored::default(), Stored::default());
        let (host, unsaved, sending) = (host.to_owned(), false, None);
        Self { host, file, settings, changes, orders, board, watcher, stored, saved, unsaved, sending }
    }

    /// Until the daemon ends.
    pub(super) async fn run(mut self) {
        self.begin();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_on = self.settings.is_on();
            let due = self.stored.postbox.due_at(self.settings.hour_max).filter(|_| is_on && self.sending.is_none());
            let wait = due.map(|due| due.duration_since(SystemTime::now()).unwrap_or_default());
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Tell(event)) => self.add(&event),
                    Some(Order::End(last)) => return self.end(last).await,
                    None => return, // the daemon is gone without a word
                },
                changed = self.changes.changed() => {
                    if changed.is_ok() {
                        self.settings = self.changes.borrow_and_update().clone();
                        self.stored.postbox.forgive();
                        self.adopt();
                    }
                }
                _ = look.tick(), if is_on => self.look(),
                result = outcome(&mut self.sending), if self.sending.is_some() => self.settle(result),
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => {
                    let batch = self.stored.postbox.take(self.settings.hour_max, SystemTime::now());
                    self.send(batch);
                }
            }
            self.save();
        }
    }

    /// Finds out what became of the daemon before this one.
    fn begin(&mut self) {
        match Stored::load(&self.file) {
            Ok(stored) => self.stored = stored,
            Err(error) => {
                warn!(%error, "cannot read \"{}\", what the former daemon had to tell is lost", self.file.display());
            }
        }
        self.saved = self.stored.clone();
        let former = self.stored.running.take();
        self.adopt();
        if let Some(pid) = former.filter(|_| self.settings.is_on()) {
            self.stored.postbox.add(self.writer().vanished(SystemTime::now(), pid));
        }
        self.save();
    }

    /// Acts by other settings.
    fn adopt(&mut self) {
        if self.settings.is_on() {
            self.stored.running = Some(std::process::id());
        } else {
            self.stored = Stored::default();
            self.watcher = Watcher::default();
        }
    }

    fn writer(&self) -> Writer {
        Writer { host: self.host.clone(), stats_url: self.settings.stats_url.clone() }
    }

    fn add(&mut self, event: &Event) {
        if !self.settings.is_on() {
            return;
        }
        let (writer, now, pid) = (self.writer(), SystemTime::now(), std::process::id());
        let alert = match event {
            Event::Started { reason } => writer.started(now, pid, reason),
            Event::Stopped { reason } => writer.stopped(now, pid, reason),
            Event::Killed { error, hint } => writer.killed(now, pid, error, hint.as_deref()),
            Event::Code(mail) => writer.code(now, mail),
        };
        self.stored.postbox.add(alert);
    }

    fn look(&mut self) {
        let now = SystemTime::now();
        let news = self.watcher.look(&self.board.all(), self.settings.patience, now);
        let writer = self.writer();
        let alerts: Vec<Alert> = news.iter().map(|news| writer.news(now, news)).collect();
        alerts.into_iter().for_each(|alert| self.stored.postbox.add(alert));
    }

    fn send(&mut self, batch: Option<Batch>) {
        let Some(batch) = batch else { return };
        let letter = self.writer().letter(&batch);
        // While the server is away, the tries have one copy.
        if !self.stored.postbox.is_refused()
            && let Err(error) = send::copy(&self.settings, &self.host, &letter, SystemTime::now())
        {
            warn!(%error, "cannot append the mail to \"{}\"", self.settings.debug_file.display());
        }
        let (settings, host) = (self.settings.clone(), self.host.clone());
        let sending = tokio::spawn(async move {
            if settings.is_sent() { send::send(&settings, &host, &letter).await } else { Ok(()) }
        });
        self.sending = Some((batch, sending));
    }

    fn settle(&mut self, result: Result<(), MailError>) {
        let Some((batch, _)) = self.sending.take() else { return };
        let now = SystemTime::now();
        match result {
            Ok(()) => {
                if let Some(lasted) = self.stored.postbox.delivered(now) {
                    let lasted = humantime::format_duration(Duration::from_secs(lasted.as_secs()));
                    info!("mail is sent again, after {lasted}");
                }
            }
            Err(error) => {
                if self.stored.postbox.refused(batch, now) {
                    warn!(hint = error.hint(), "cannot send mail, alerts are held back: {}", causes(&error));
                }
            }
        }
    }

    /// The last mail; what cannot be sent now, the next daemon sends.
    async fn end(mut self, last: Option<Event>) {
        if let Some(last) = last {
            self.add(&last);
        }
        if timeout(END_WITHIN, self.last_mails()).await.is_err()
            && let Some((_, sending)) = &self.sending
        {
            // Whether it arrived is not known; twice is better than never.
            sending.abort();
            self.settle(Err(MailError::CutShort));
        }
        self.stored.running = None;
        self.save();
    }

    async fn last_mails(&mut self) {
        for more in [true, false] {
            if self.sending.is_some() {
                let result = outcome(&mut self.sending).await;
                self.settle(result);
            }
            if more && self.settings.is_on() {
                let batch = self.stored.postbox.take_last(self.settings.hour_max, SystemTime::now());
                self.send(batch);
            }
        }
    }

    fn save(&mut self) {
        if self.saved == self.stored {
            return;
        }
        match self.stored.save(&self.file) {
            Ok(()) => {
                self.saved = self.stored.clone();
                self.unsaved = false;
            }
            Err(error) if !self.unsaved => {
                self.unsaved = true;
                warn!(%error, "cannot write \"{}\": what waits to be mailed is lost with this daemon", self.file.display());
            }
            Err(_) => {}
        }
    }
}

/// What became of the mail that is on its way.
async fn outcome(sending: &mut Option<Sending>) -> Result<(), MailError> {
    match sending {
        Some((_, task)) => task.await.unwrap_or(Err(MailError::CutShort)),
        None => std::future::pending().await,
    }
}
