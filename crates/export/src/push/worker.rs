//! The threads that work on queues.

use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use tokio::runtime::{self, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wasmetry_host::record::LogRecord;

use super::pipeline::line_writer::LineWriter;
use super::pipeline::queue::{Close, Queue};
use crate::Error;

/// Works until its queue is closed and empty.
pub(super) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

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
    pub(super) fn lines(lines: LineWriter) -> Result<Self, Error> {
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
