//! A thread that advances epochs.

use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// A thread that advances the epoch of one or more engines. Deadlines and the collection of running
/// guests need it.
///
/// It stops when it is dropped. A period of 10 ms is a good start: a guest checks the epoch in
/// every loop and call anyway, and each advance costs each running guest less than a microsecond.
pub struct Ticker {
    engines: Arc<Mutex<Vec<EngineWeak>>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread for one engine.
    ///
    /// # Errors
    ///
    /// Returns the system's error if it cannot start a thread.
    pub fn start(engine: &Engine, period: Duration) -> std::io::Result<Self> {
        let ticker = Self::without_engine(period)?;
        ticker.add_engine(engine);
        Ok(ticker)
    }

    /// Starts the thread for engines that are added later.
    ///
    /// # Errors
    ///
    /// Returns the system's error if it cannot start a thread.
    pub fn without_engine(period: Duration) -> std::io::Result<Self> {
        let engines = Arc::<Mutex<Vec<EngineWeak>>>::default();
        let ticked = Arc::clone(&engines);
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().name("wasmetry-ticker".to_owned()).spawn(move || {
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                let mut engines = ticked.lock().unwrap_or_else(PoisonError::into_inner);
                engines.retain(|engine| {
                    let engine = engine.upgrade();
                    engine.inspect(Engine::increment_epoch).is_some()
                });
            }
        })?;
        Ok(Self { engines, stop: Some(stop), thread: Some(thread) })
    }

    /// Adds an engine. It is removed when it is dropped.
    pub fn add_engine(&self, engine: &Engine) {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner).push(engine.weak());
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticker").finish_non_exhaustive()
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread does not panic. If it did, nothing would be left to stop.
            let _ = thread.join();
        }
    }
}
