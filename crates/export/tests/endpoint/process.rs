//! The process whose endpoint is tested, and requests that are written by hand to its socket.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use wasmetry_export::scrape::{Closure, Config, Refusal, Server, Source};
use wasmetry_host::{Registry, Snapshot};

/// A test that waits longer than this hangs; no test expects to.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
pub(crate) struct Process {
    pub(crate) registry: Registry,
    pub(crate) not_ready: Mutex<Option<String>>,
    pub(crate) scraped: AtomicU64,
    pub(crate) delivered: Mutex<Vec<Instant>>,
    pub(crate) refused: Mutex<Vec<Refusal>>,
    pub(crate) closed: Mutex<Vec<Closure>>,
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

    fn refused(&self, refusal: Refusal) {
        self.refused.lock().unwrap().push(refusal);
    }

    fn closed(&self, closure: Closure) {
        self.closed.lock().unwrap().push(closure);
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

impl Process {
    /// The reasons of all refusals since the last call.
    pub(crate) fn refusals(&self) -> Vec<&'static str> {
        self.refused.lock().unwrap().drain(..).map(Refusal::name).collect()
    }
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
        let (mut answer, body) = Self::read_bytes(stream);
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// Reads an answer whose body is no text, which is returned beside it.
    pub(crate) fn read_bytes(stream: &mut TcpStream) -> (Self, Vec<u8>) {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let (answer, body) = Self::split(bytes);
        let is_chunked = answer.header("transfer-encoding") == Some("chunked");
        (answer, if is_chunked { dechunk(&body).expect("all chunks") } else { body })
    }

    /// Divides what was received into the head and the body as it is.
    pub(crate) fn split(mut bytes: Vec<u8>) -> (Self, Vec<u8>) {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a complete head");
        let body = bytes.split_off(end + 4);
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (Self { status, head, body: String::new() }, body)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// Returns the data of chunks. Returns `None` if the last one is missing.
pub(crate) fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let len = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if len == 0 {
            return Some(data);
        }
        data.extend(rest.get(end + 2..end + 2 + len)?);
        rest = rest.get(end + 2 + len + 2..)?;
    }
}

/// Adds series of 11 MB, which fit into no socket's buffers.
pub(crate) fn grow(process: &Process) {
    let family = process.registry.counter("test_large_total", "Large.", &["key"]);
    for i in 0..20_000 {
        family.with(&[&format!("{i}-{}", "x".repeat(500))]).inc();
    }
}

pub(crate) fn request(server: &Server, method: &str, path: &str, headers: &str) -> Answer {
    let mut stream = connect(server);
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").unwrap();
    Answer::read(&mut stream)
}

pub(crate) fn get(server: &Server, path: &str) -> Answer {
    request(server, "GET", path, "")
}
