//! A real collector of OTLP: Rotel, which prints what it receives.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::tool::Tool;

/// How long the collector may take to start, or to print what it has received.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running collector. Dropping it kills it.
pub struct Rotel {
    child: Child,
    printed: Arc<(Mutex<Vec<String>>, Condvar)>,
    /// Where it takes gRPC.
    pub grpc: SocketAddr,
    /// Where it takes HTTP.
    pub http: SocketAddr,
    _directory: tempfile::TempDir,
}

/// A span, a log record or a point of a metric, as it was printed.
///
/// | key | value |
/// |---|---|
/// | `of` | `Span`, `LogRecord`, `NumberDataPoints`, `HistogramDataPoints` or `ExponentialHistogramDataPoints` |
/// | `resource.<key>`, `attribute.<key>` | an attribute, by its key |
/// | `scope` | the scope's name |
/// | `event.<name>` | when a span's event happened |
/// | `link` | the trace id of a span's last link |
/// | `Descriptor.<name>` | what a metric says of itself, such as `Descriptor.Name` |
/// | any other | what the collector prints under that name, such as `Parent ID`, `Status code`, `Start time`, `Timestamp`, `Body` |
///
/// Of a text of several lines, there is the first.
pub type Block = BTreeMap<String, String>;

impl Rotel {
    /// Starts it on free loopback ports; nothing where it is not installed.
    ///
    /// # Panics
    ///
    /// Panics if it does not start.
    pub fn start() -> Option<Self> {
        let program = Tool::Rotel.find()?;
        let directory = tempfile::tempdir_in(crate::target()).unwrap();
        let libraries = ["lib/usr/lib", "lib/lib"].map(|folder| {
            crate::target().join("tools/rotel").join(folder).join(format!("{}-linux-gnu", std::env::consts::ARCH))
        });
        let libraries = std::env::join_paths(libraries).unwrap();
        // It cannot choose free ports itself.
        let [grpc, http] =
            [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap()).map(|free| free.local_addr().unwrap());
        let mut child = Command::new(program)
            .arg("start")
            .args(["--otlp-grpc-endpoint", &grpc.to_string(), "--otlp-http-endpoint", &http.to_string()])
            .args(["--exporter", "blackhole", "--disable-batching", "--debug-log-verbosity", "detailed"])
            .args(["--debug-log", "traces", "--debug-log", "logs", "--debug-log", "metrics"])
            .args([PathBuf::from("--pid-file"), directory.path().join("pid")])
            .args([PathBuf::from("--log-file"), directory.path().join("log")])
            .env("LD_LIBRARY_PATH", libraries)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let printed: Arc<(Mutex<Vec<String>>, Condvar)> = Arc::default();
        let (stdout, lines) = (child.stdout.take().unwrap(), Arc::clone(&printed));
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                lines.0.lock().unwrap().push(line);
                lines.1.notify_all();
            }
        });
        let started = Self { child, printed, grpc, http, _directory: directory };
        let end = Instant::now() + PATIENCE;
        for addr in [grpc, http] {
            while TcpStream::connect(addr).is_err() {
                assert!(Instant::now() < end, "rotel does not listen on {addr}; it said: {:#?}", started.text());
                thread::yield_now();
            }
        }
        Some(started)
    }

    /// Waits until what it has received is as the test wants it, and returns that.
    ///
    /// # Panics
    ///
    /// Panics, with what it has received, if that does not come about.
    pub fn wait(&self, mut is_done: impl FnMut(&[Block]) -> bool) -> Vec<Block> {
        let (lines, printed) = &*self.printed;
        let mut blocks = Vec::new();
        let (guard, timeout) = printed
            .wait_timeout_while(lines.lock().unwrap(), PATIENCE, |lines| {
                blocks = read(lines);
                !is_done(&blocks)
            })
            .unwrap();
        drop(guard);
        assert!(!timeout.timed_out(), "rotel has received {blocks:#?}");
        blocks
    }

    /// The spans among what it has received, waiting until there are this many of which what the test looks at is printed.
    ///
    /// # Panics
    ///
    /// Panics if they do not come.
    pub fn spans(&self, count: usize, is_whole: impl Fn(&Block) -> bool) -> Vec<Block> {
        let is_span = |block: &&Block| block["of"] == "Span" && is_whole(block);
        let all = self.wait(|blocks| blocks.iter().filter(is_span).count() >= count);
        all.into_iter().filter(|block| is_span(&block)).collect()
    }

    /// What it has printed until now, line by line.
    pub fn text(&self) -> Vec<String> {
        self.printed.0.lock().unwrap().clone()
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Resource,
    Record,
    Attributes,
    Descriptor,
    Events,
    Links,
}

/// Reads what the collector has printed.
///
/// The last block may still be in the course of being printed; only what follows shows that it is whole.
fn read(lines: &[String]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // What is said of a resource and of a metric holds for all that follows of them.
    let (mut resource, mut metric) = (Block::new(), Block::new());
    let mut part = Part::Resource;
    let mut event = String::new();
    for line in lines {
        let text = line.trim();
        let numbered = text.split_once(" #").filter(|(_, number)| number.parse::<usize>().is_ok()).map(|(of, _)| of);
        match numbered {
            Some("ResourceSpans" | "ResourceLog" | "ResourceMetrics") => {
                (resource, metric, part) = (Block::new(), Block::new(), Part::Resource);
                continue;
            }
            Some("Metric") => {
                (metric, part) = (Block::new(), Part::Descriptor);
                continue;
            }
            Some("SpanEvent" | "SpanLink") => continue,
            Some(of) if of == "Span" || of == "LogRecord" || of.ends_with("DataPoints") => {
                let mut block = resource.clone();
                block.extend(metric.clone());
                block.insert("of".to_owned(), of.to_owned());
                blocks.push(block);
                part = Part::Record;
                continue;
            }
            _ => {}
        }
        match text {
            "Attributes:" | "Data point attributes:" => part = Part::Attributes,
            "Events:" => part = Part::Events,
            "Links:" => part = Part::Links,
            _ => {}
        }
        if let Some(scope) = text.strip_prefix("InstrumentationScope ") {
            resource.insert("scope".to_owned(), scope.to_owned());
            continue;
        }
        let item = text.strip_prefix("-> ");
        let Some((key, value)) = item.unwrap_or(text).split_once(':') else { continue };
        let (key, value) = (key.trim(), value.trim().to_owned());
        let block = blocks.last_mut();
        match (part, item.is_some(), block) {
            (Part::Resource, true, _) => _ = resource.insert(format!("resource.{key}"), plain(&value)),
            (Part::Descriptor, true, _) => _ = metric.insert(format!("Descriptor.{key}"), value),
            (Part::Attributes, true, Some(block)) => _ = block.insert(format!("attribute.{key}"), plain(&value)),
            (Part::Events, true, _) if key == "Name" => event = format!("event.{value}"),
            (Part::Events, true, Some(block)) if key == "Timestamp" => _ = block.insert(event.clone(), value),
            (Part::Links, true, Some(block)) if key == "Trace ID" => _ = block.insert("link".to_owned(), value),
            (Part::Record | Part::Attributes, false, Some(block)) => _ = block.insert(key.to_owned(), plain(&value)),
            _ => {}
        }
    }
    blocks
}

/// A value without its type, such as `shop` of `Str(shop)`.
fn plain(value: &str) -> String {
    let inner = ["Str(", "Int(", "Double(", "Bool("].iter().find_map(|of| value.strip_prefix(of));
    inner.map_or(value, |inner| inner.strip_suffix(')').unwrap_or(inner)).to_owned()
}
