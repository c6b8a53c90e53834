//! The process whose endpoint is tested, and requests that are written by hand to its socket.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use wasmetry_export::scrape::{Config, Server, Source};
use wasmetry_host::{Registry, Snapshot};

/// A test that waits longer than this hangs; no test expects to.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
pub(crate) struct Process {
    pub(crate) registry: Registry,
    pub(crate) not_ready: Mutex<Option<String>>,
    pub(crate) scraped: AtomicU64,
    pub(crate) delivered: Mutex<Vec<Instant>>,
    pub(crate) panics: AtomicUsize,
    pub(crate) gate: Gate,
}

/// Holds snapshots back while it is closed.
#[derive(Default)]
pub(crate) struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
    pub(crate) waiting: AtomicUsize,
}

impl Gate {
    pub(crate) fn set(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.changed.notify_all();
    }

    fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        drop(self.changed.wait_while(self.closed.lock().unwrap(), |closed| *closed).unwrap());
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Source for Process {
    fn snapshot(&self) -> Snapshot {
        let left = self.panics.load(Ordering::SeqCst);
        if left > 0 {
            self.panics.store(left - 1, Ordering::SeqCst);
            panic!("a source that panics, as the test wants");
        }
        self.gate.pass();
        self.registry.snapshot(Duration::ZERO)
    }

    fn ready(&self) -> Result<(), String> {
        match self.not_ready.lock().unwrap().clone() {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }

    fn scraped(&self, _duration: Duration) {
        self.scraped.fetch_add(1, Ordering::SeqCst);
    }

    fn delivered(&self, start: Instant) {
        self.delivered.lock().unwrap().push(start);
    }
}

pub(crate) fn start(config: Config) -> (Server, Arc<Process>) {
    let registry = Registry::with_clock(|| 1_700_000_000_500_000_000);
    let process = Arc::new(Process { registry, ..Process::default() });
    process.registry.counter("test_events_total", "Events.", &[]).with(&[]).add(7);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start_with(listener, Arc::<Process>::clone(&process), config).unwrap();
    (server, process)
}

pub(crate) fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.local_addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// An answer, read to the connection's end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(stream: &mut TcpStream) -> Self {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no complete head in {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

pub(crate) fn request(server: &Server, method: &str, path: &str, headers: &str) -> Answer {
    let mut stream = connect(server);
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n").unwrap();
    Answer::read(&mut stream)
}

pub(crate) fn get(server: &Server, path: &str) -> Answer {
    request(server, "GET", path, "")
}
