//! The threads that work on queues.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use tokio::runtime::{self, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wasmetry_host::record::LogRecord;

use super::account::{Account, Loss};
use super::config::Retry;
use super::delivery::Health;
use super::pipeline::Encode;
use super::queue::{Close, Load, Queue};
use super::retry::{self, Backoff, Pause};
use super::transport::Outcome;
use crate::Error;

/// Works until its queue is closed and empty.
pub(super) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where lines are written.
pub type Output = Box<dyn Write + Send>;

/// A thread that works on queues.
pub(super) struct Worker {
    queues: Vec<Arc<dyn Close>>,
    /// Ends the thread, whatever is left; a thread that may be blocked has none.
    end: Option<watch::Sender<bool>>,
    /// Is disconnected when the thread has done its work.
    done: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts the thread that does these jobs.
    pub(super) fn jobs(queues: Vec<Arc<dyn Close>>, jobs: Vec<Job>) -> Result<Self, Error> {
        let runtime = runtime(runtime::Builder::new_current_thread().enable_io())?;
        let (end, mut ended) = watch::channel(false);
        Self::start("telemetry-push", queues, Some(end), move || {
            runtime.block_on(async {
                let mut tasks: JoinSet<()> = jobs.into_iter().collect();
                tokio::select! {
                    // Also when the exporter's end of it is gone.
                    _ = ended.wait_for(|end| *end) => {}
                    () = async { while tasks.join_next().await.is_some() {} } => {}
                }
            });
            // A look-up of a name that takes its time is not waited for.
            runtime.shutdown_background();
        })
    }

    /// Starts the thread that writes lines, and is blocked for as long as nobody reads them.
    pub(super) fn lines(lines: Lines) -> Result<Self, Error> {
        let runtime = runtime(&mut runtime::Builder::new_current_thread())?;
        let queue: Arc<dyn Close> = Arc::<Queue<LogRecord>>::clone(&lines.queue);
        Self::start("telemetry-lines", vec![queue], None, move || lines.run(&runtime))
    }

    fn start(
        name: &str,
        queues: Vec<Arc<dyn Close>>,
        end: Option<watch::Sender<bool>>,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<Self, Error> {
        let (alive, done) = mpsc::channel();
        let thread = Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _alive: mpsc::Sender<()> = alive;
                work();
            })
            .map_err(Error::Thread)?;
        Ok(Self { queues, end, done, thread })
    }

    /// Has what is left sent without delay.
    pub(super) fn close(&self) {
        for queue in &self.queues {
            queue.close();
        }
    }

    /// Waits until everything is sent, but not beyond the deadline, and says whether it is.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        // Nothing is ever sent: the thread drops its end.
        self.done.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Disconnected)
    }

    /// The same; what is left then is lost and counted.
    pub(super) fn end(self, deadline: Instant) {
        let is_done = self.wait(deadline);
        if let Some(end) = &self.end {
            end.send_replace(true);
        }
        if is_done || self.end.is_some() {
            // A panic of that thread was already reported, and what it had to send is counted below.
            let _ = self.thread.join();
        }
        for queue in &self.queues {
            queue.abandon();
        }
    }
}

fn runtime(builder: &mut runtime::Builder) -> Result<Runtime, Error> {
    builder.enable_time().thread_name("telemetry-names").build().map_err(Error::Thread)
}

/// The file to which audit records are appended.
pub(super) struct AuditFile(File);

impl AuditFile {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let opened = File::options().append(true).create(true).open(path);
        opened.map(Self).map_err(|error| Error::Audit { path: path.to_owned(), error })
    }
}

impl Write for AuditFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// Returns when everything is on the disk.
    fn flush(&mut self) -> io::Result<()> {
        match self.0.sync_data() {
            // A pipe or a terminal has nothing to wait for.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }
}

/// Log records on their way to an output.
pub(super) struct Lines {
    pub(super) queue: Arc<Queue<LogRecord>>,
    pub(super) encode: Encode<LogRecord>,
    pub(super) output: Output,
    pub(super) account: Arc<Account>,
    pub(super) health: Health,
    /// When what could not be written is tried again; without it, that is lost.
    pub(super) retry: Option<Retry>,
    pub(super) pause: Pause,
}

impl Lines {
    fn run(mut self, runtime: &Runtime) {
        while let Some(batch) = runtime.block_on(self.queue.batch()) {
            let load = Load::of(&batch);
            let records = load.records as u64;
            let lines = (self.encode)(&batch);
            drop(batch);
            let written = self.write(&lines, records, runtime);
            if !self.queue.settle(load) {
                return;
            }
            let outcome = match written {
                Ok(()) => {
                    self.account.sent(records);
                    Outcome::Accepted { rejected: 0, message: String::new() }
                }
                Err(error) => {
                    self.account.lost(Loss::Rejected, records);
                    Outcome::Refused { cause: error.to_string() }
                }
            };
            self.health.learn(&outcome, records, self.account.losses());
        }
    }

    /// Writes lines, and goes on where it stopped if that fails and is to be tried again.
    fn write(&mut self, mut lines: &[u8], records: u64, runtime: &Runtime) -> io::Result<()> {
        let mut backoff = self.retry.map(Backoff::new);
        let begin = Instant::now();
        loop {
            let Err(error) = write_all(&mut self.output, &mut lines) else { return Ok(()) };
            let wait = backoff.as_mut().and_then(|backoff| backoff.wait(begin.elapsed(), None, retry::random()));
            let Some(wait) = wait else { return Err(error) };
            let outcome = Outcome::Retry { after: None, cause: error.to_string() };
            self.health.learn(&outcome, records, self.account.losses());
            runtime.block_on(self.pause.wait(wait));
            // Once the queue is given up, nobody waits for this.
            if !self.queue.settle(Load::default()) {
                return Err(error);
            }
        }
    }
}

/// Writes what `rest` holds, and leaves there what was not written.
fn write_all(output: &mut Output, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match output.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => *rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    output.flush()
}
