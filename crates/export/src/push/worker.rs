//! The threads of pipelines.

use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::runtime::{self, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wasmetry_host::record::LogRecord;

use super::pipeline::line_writer::LineWriter;
use super::pipeline::queue::{Close, Queue};
use crate::Error;

/// A task that ends when its queue is closed and empty.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A thread that empties queues.
pub(super) struct Worker {
    queues: Vec<Arc<dyn Close>>,
    /// Ends the thread at once. `None` for a thread that a write may block.
    end: Option<watch::Sender<bool>>,
    /// Disconnected when the thread has finished.
    done: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a thread that runs these tasks.
    pub(super) fn tasks(queues: Vec<Arc<dyn Close>>, tasks: Vec<Task>) -> Result<Self, Error> {
        let runtime = runtime(runtime::Builder::new_current_thread().enable_io())?;
        let (end, mut ended) = watch::channel(false);
        Self::start("telemetry-push", queues, Some(end), move || {
            runtime.block_on(async {
                let mut tasks: JoinSet<()> = tasks.into_iter().collect();
                tokio::select! {
                    // An error means that the exporter was dropped.
                    _ = ended.wait_for(|end| *end) => {}
                    () = async { while tasks.join_next().await.is_some() {} } => {}
                }
            });
            // A slow look-up of a name is not waited for.
            runtime.shutdown_background();
        })
    }

    /// Starts a thread that writes lines. A write blocks it while the reader of a pipe does not
    /// read.
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
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _alive: mpsc::Sender<()> = alive;
                work();
            })
            .map_err(Error::Thread)?;
        Ok(Self { queues, end, done, thread })
    }

    /// Closes the queues: what is left is sent without delay.
    pub(super) fn close(&self) {
        for queue in &self.queues {
            queue.close();
        }
    }

    /// Waits until all records are sent, or until the deadline. Returns `true` if they are sent.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        // No message is ever sent: the thread drops its sender at its end.
        self.done.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Disconnected)
    }

    /// Waits likewise, and drops and counts what is left then.
    pub(super) fn end(self, deadline: Instant) {
        let is_done = self.wait(deadline);
        if let Some(end) = &self.end {
            end.send_replace(true);
        }
        if is_done || self.end.is_some() {
            // A panic of the thread was reported by its hook, and its records are counted below.
            let _ = self.thread.join();
        }
        for queue in &self.queues {
            queue.discard();
        }
    }
}

fn runtime(builder: &mut runtime::Builder) -> Result<Runtime, Error> {
    builder.enable_time().thread_name("telemetry-names").build().map_err(Error::Thread)
}
