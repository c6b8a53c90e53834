use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// A thread that advances the epoch of one or more engines, so that deadlines and collection of running guests happen.
///
/// It stops when it is dropped. A period of 10 ms is a good start: a guest looks at the epoch on every loop and call
/// anyway, and each advance costs each running guest under a microsecond.
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

    /// Advances another engine's epoch as well. It is forgotten when it has gone.
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
            // The thread cannot panic; if it did, there is nothing left to stop.
            let _ = thread.join();
        }
    }
}
