//! Compiling binaries beside the service, for a bounded time and in turns of their tenants.
//!
//! A binary can be made so that compiling it takes minutes, and a compilation cannot be
//! interrupted. While a service runs, a reload waits for each no longer than a limit; the
//! compilation goes on. Each tenant has one compilation at a time, in threads of its own, so that
//! one which goes on neither refuses nor stops another tenant's.

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::compiled::Compiled;
use super::engine::Limits;
use crate::binary::{Binary, Digest};
pub(in crate::serve) use crate::guest::share::Owner;
use crate::process::system_error::SystemError;
use crate::serve::limits;

/// A binary to compile.
pub(in crate::serve) struct Compilation {
    pub(in crate::serve) binary: Arc<Binary>,
    pub(in crate::serve) digest: Digest,
    pub(in crate::serve) pool: Limits,
    /// The owners of the components that are made of it.
    pub(in crate::serve) owners: Vec<Owner>,
}

/// The compiler of a process. A clone is the same.
#[derive(Clone, Default)]
pub(in crate::serve) struct Compiler {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The binaries that are being compiled, by the owner to which they are charged.
    running: HashMap<Owner, Digest>,
    /// The binaries that took longer than this time.
    late: HashMap<Digest, Duration>,
}

impl Compiler {
    /// Compiles binaries, and returns the results in the same order. Each takes at most `time`.
    ///
    /// Those of one owner follow each other, and those of several go on at the same time.
    pub(in crate::serve) fn compile(&self, binaries: Vec<Compilation>, time: Duration) -> Vec<Result<Compiled>> {
        let job = |Compilation { binary, digest, pool, owners }| Job {
            digest,
            path: binary.path.clone(),
            owners,
            compile: Box::new(move || Compiled::new(&binary, digest, pool)),
        };
        self.run(binaries.into_iter().map(job).collect(), time)
    }

    /// Forgets which binaries took too long, so that the next reload tries them again.
    pub(in crate::serve) fn forget_late(&self) {
        self.lock().late.clear();
    }

    fn run<T: Send + 'static>(&self, jobs: Vec<Job<T>>, time: Duration) -> Vec<Result<T>> {
        // Binaries that no configuration names any more are forgotten.
        self.lock().late.retain(|digest, _| jobs.iter().any(|job| job.digest == *digest));
        let mut results: Vec<Option<Result<T>>> = jobs.iter().map(|_| None).collect();
        let mut waiting: Vec<(usize, Job<T>)> = jobs.into_iter().enumerate().collect();
        let mut running: Vec<Attempt> = Vec::new();
        let mut turns: HashMap<Owner, usize> = HashMap::new();
        let (sender, receiver) = mpsc::channel();
        loop {
            for (index, job, error) in self.refused(&mut waiting, &running, time) {
                results[index] = Some(Err(error.context(job.path.display().to_string())));
            }
            while running.len() < limits::COMPILATIONS
                && let Some((at, owner)) = self.next(&waiting, &turns)
            {
                let (index, job) = waiting.remove(at);
                *turns.entry(owner.clone()).or_default() += 1;
                let (digest, path) = (job.digest, job.path.clone());
                match self.start(job, owner.clone(), index, sender.clone()) {
                    Ok(()) => running.push(Attempt { index, owner, digest, path, end: Instant::now() + time }),
                    Err(error) => results[index] = Some(Err(error)),
                }
            }
            let Some(end) = running.iter().map(|attempt| attempt.end).min() else { break };
            if let Ok((index, result)) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
                // One that took too long in an earlier turn is not awaited any more.
                if let Some(at) = running.iter().position(|attempt| attempt.index == index) {
                    running.swap_remove(at);
                    results[index] = Some(result);
                }
                continue;
            }
            let now = Instant::now();
            for attempt in running.extract_if(.., |attempt| attempt.end <= now) {
                self.lock().late.insert(attempt.digest, time);
                results[attempt.index] = Some(Err(too_long(time).context(attempt.path.display().to_string())));
            }
        }
        // None is left that was neither started nor refused.
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(anyhow!("it was not compiled")))).collect()
    }

    /// Removes the jobs that are not to be compiled now, each with the reason.
    fn refused<T>(
        &self,
        waiting: &mut Vec<(usize, Job<T>)>,
        running: &[Attempt],
        time: Duration,
    ) -> Vec<(usize, Job<T>, anyhow::Error)> {
        let state = self.lock();
        let is_awaited = |owner: &Owner| running.iter().any(|attempt| attempt.owner == *owner);
        let reason = |job: &Job<T>| {
            if let Some(late) = state.late.get(&job.digest).filter(|late| **late >= time) {
                return Some(too_long(*late));
            }
            let is_compiled = state.running.iter().any(|(owner, digest)| *digest == job.digest && !is_awaited(owner));
            if is_compiled {
                return Some(passing(
                    "an earlier attempt to compile it still goes on; wait for its end, or build it again",
                ));
            }
            // Abandoned compilations take processors and memory from what is served.
            if state.running.len().saturating_sub(running.len()) >= limits::ABANDONED_COMPILATIONS {
                return Some(passing(format!(
                    "{} binaries that took too long still are compiled; wait for their end, or remove them",
                    limits::ABANDONED_COMPILATIONS
                )));
            }
            let is_blocked = job.owners.iter().all(|owner| state.running.contains_key(owner) && !is_awaited(owner));
            is_blocked.then(|| {
                passing(
                    "another binary of its tenant took too long and still is compiled; wait for its end, or remove it",
                )
            })
        };
        let mut refused = Vec::new();
        let mut at = 0;
        while let Some((_, job)) = waiting.get(at) {
            match reason(job) {
                Some(error) => {
                    let (index, job) = waiting.remove(at);
                    refused.push((index, job, error));
                }
                None => at += 1,
            }
        }
        refused
    }

    /// Returns the next job to start and its owner: the first of the owner that has had the fewest
    /// turns, of those that compile nothing.
    fn next<T>(&self, waiting: &[(usize, Job<T>)], turns: &HashMap<Owner, usize>) -> Option<(usize, Owner)> {
        let state = self.lock();
        let of_free = waiting.iter().enumerate().flat_map(|(at, (_, job))| {
            let free = job.owners.iter().filter(|owner| !state.running.contains_key(owner));
            free.map(move |owner| (turns.get(owner).copied().unwrap_or_default(), at, owner))
        });
        of_free.min_by_key(|(turns, at, _)| (*turns, *at)).map(|(_, at, owner)| (at, owner.clone()))
    }

    /// Starts a job, which sends its result with its index.
    fn start<T: Send + 'static>(
        &self,
        job: Job<T>,
        owner: Owner,
        index: usize,
        sender: Sender<(usize, Result<T>)>,
    ) -> Result<()> {
        let pool = pool().with_context(|| job.path.display().to_string())?;
        self.lock().running.insert(owner.clone(), job.digest);
        let running = Running { compiler: self.clone(), owner };
        pool.spawn(move || {
            let result = panic::catch_unwind(AssertUnwindSafe(job.compile)).unwrap_or_else(|_| {
                let shown = job.path.display();
                Err(anyhow!("{shown}: compiling it failed; build it again with a current toolchain"))
            });
            drop(running);
            // The receiver is gone if it took too long.
            let _ = sender.send((index, result));
        });
        // Its threads end with the job.
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns threads for one compilation. In threads that all share, two long compilations would stop
/// every other one.
fn pool() -> Result<ThreadPool> {
    // Together, those that are awaited have as many threads as there are processors.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (processors / limits::COMPILATIONS).max(1);
    let built = ThreadPoolBuilder::new().num_threads(threads).thread_name(|_| "compile".to_owned()).build();
    built.map_err(|error| SystemError::new(format!("no thread can be started: {error}")).into())
}

/// Returns an error that passes without a change of a file, so that the reload is retried.
fn passing(text: impl Into<String>) -> anyhow::Error {
    SystemError::new(text).into()
}

fn too_long(time: Duration) -> anyhow::Error {
    let time = humantime::format_duration(time);
    anyhow!(
        "compiling it takes longer than {time}; build it with fewer or smaller functions, or raise --compile-timeout"
    )
}

/// A compilation that is to be started.
struct Job<T> {
    digest: Digest,
    path: PathBuf,
    owners: Vec<Owner>,
    compile: Box<dyn FnOnce() -> Result<T> + Send>,
}

/// A compilation that is awaited.
struct Attempt {
    index: usize,
    owner: Owner,
    digest: Digest,
    path: PathBuf,
    end: Instant,
}

/// Marks an owner as one that compiles until it is dropped, also by a panic.
struct Running {
    compiler: Compiler,
    owner: Owner,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.compiler.lock().running.remove(&self.owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::system_error::is_system_error;

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(10);

    fn tenant(name: &str) -> Owner {
        Owner::of(&wasmetry_host::Identity::new("component").with_tenant(name))
    }

    /// A job of the binary `text`, whose digest is that of the text.
    fn job(text: &str, owners: &[&str], compile: impl FnOnce() -> u32 + Send + 'static) -> Job<u32> {
        let owners = owners.iter().map(|name| tenant(name)).collect();
        let digest = Digest::of(text.as_bytes());
        Job { digest, path: text.into(), owners, compile: Box::new(move || Ok(compile())) }
    }

    fn error(result: &Result<u32>) -> String {
        format!("{:#}", result.as_ref().unwrap_err())
    }

    /// A bomb refuses the other binaries of its tenant, and none of another's, also in the next
    /// reload.
    #[test]
    fn bomb_refuses_only_its_tenant() {
        let compiler = Compiler::default();
        let (go_on, gate) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel();
        let bomb = move || {
            let _ = gate.recv();
            ended.send(()).unwrap();
            0
        };
        let results = compiler.run(vec![job("bomb", &["evil"], bomb), job("more", &["evil"], || 1)], SHORT);
        let text = error(&results[0]);
        assert!(
            text.contains("bomb: ") && text.contains("longer than 10ms") && text.contains("--compile-timeout"),
            "{text}"
        );
        assert!(error(&results[1]).contains("another binary of its tenant"), "{results:?}");
        // The reload is retried for the second one, whose obstacle passes.
        let passes = |result: &Result<u32>| is_system_error(result.as_ref().unwrap_err());
        assert_eq!([0, 1].map(|at| passes(&results[at])), [false, true]);

        let jobs = || vec![job("bomb", &["evil"], || 2), job("more", &["evil"], || 3)];
        let results = compiler.run(jobs(), SHORT);
        assert!(error(&results[0]).contains("longer than"), "{results:?}");
        assert!(error(&results[1]).contains("another binary of its tenant"), "{results:?}");
        let others = [job("app", &["bank"], || 4), job("shared", &["evil", "shop"], || 5)];
        let results = compiler.run(jobs().into_iter().chain(others).collect(), LONG);
        assert!(error(&results[0]).contains("still goes on") && passes(&results[0]), "{results:?}");
        assert_eq!([2, 3].map(|at| *results[at].as_ref().unwrap()), [4, 5]);
        drop(go_on);
        end.recv().unwrap();
        // The mark is removed right behind the end.
        while !compiler.lock().running.is_empty() {
            std::thread::yield_now();
        }
        // It is not tried again within the same time.
        let results = compiler.run(vec![job("bomb", &["evil"], || 6)], SHORT);
        assert!(error(&results[0]).contains("longer than"), "{results:?}");
        let results = compiler.run(vec![job("bomb", &["evil"], || 7), job("more", &["evil"], || 8)], LONG);
        assert_eq!([0, 1].map(|at| *results[at].as_ref().unwrap()), [7, 8]);
    }

    /// The binaries of one tenant are compiled one after the other, and those of two at a time.
    #[test]
    fn tenants_are_compiled_side_by_side() {
        let compiler = Compiler::default();
        let (go_on, gate) = mpsc::channel::<()>();
        let first = job("a", &["one"], move || {
            gate.recv().unwrap();
            1
        });
        let second = job("b", &["one"], || 2);
        // It ends the first, so that it runs beside it.
        let other = job("c", &["two"], move || {
            go_on.send(()).unwrap();
            3
        });
        let results = compiler.run(vec![first, second, other], LONG);
        assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 2, 3]);
    }

    /// Compilations that took too long are bounded in number, whoever has them.
    #[test]
    fn abandoned_compilations_are_bounded() {
        let compiler = Compiler::default();
        let names: Vec<String> =
            (0..limits::ABANDONED_COMPILATIONS + limits::COMPILATIONS + 2).map(|number| number.to_string()).collect();
        let (gates, bombs): (Vec<_>, Vec<_>) = names
            .iter()
            .map(|name| {
                let (gate, go_on) = mpsc::channel::<()>();
                (gate, job(name, &[name.as_str()], move || u32::from(go_on.recv().is_ok())))
            })
            .unzip();
        let results = compiler.run(bombs, SHORT);
        let refused = results.iter().filter(|result| error(result).contains("still are compiled")).count();
        assert!(refused >= 2, "{results:?}");
        assert!(compiler.lock().running.len() <= limits::ABANDONED_COMPILATIONS + limits::COMPILATIONS);
        drop(gates);
        while !compiler.lock().running.is_empty() {
            std::thread::yield_now();
        }
        assert!(error(&compiler.run(vec![job("0", &["0"], || 1)], SHORT)[0]).contains("longer than"));
        compiler.forget_late();
        assert_eq!(*compiler.run(vec![job("0", &["0"], || 1)], LONG)[0].as_ref().unwrap(), 1);
    }

    #[test]
    fn panic_is_an_error() {
        let compiler = Compiler::default();
        let results = compiler.run(vec![job("a", &["one"], || panic!("as the test wants"))], LONG);
        assert!(error(&results[0]).contains("build it again"), "{results:?}");
        assert!(compiler.lock().running.is_empty());
    }
}
