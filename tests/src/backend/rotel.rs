//! Rotel, a real OpenTelemetry collector, which prints what it receives.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::daemon::free_addresses;
use crate::tool::Tool;

/// The limit of every wait for the collector.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running collector. Dropping it kills it.
pub struct Rotel {
    child: Child,
    printed: Arc<(Mutex<Vec<String>>, Condvar)>,
    /// The address of OTLP over gRPC.
    pub grpc: SocketAddr,
    /// The address of OTLP over HTTP.
    pub http: SocketAddr,
    _directory: tempfile::TempDir,
}

/// A printed span, log record or metric data point.
///
/// | key | value |
/// |---|---|
/// | `of` | `Span`, `LogRecord`, `NumberDataPoints`, `HistogramDataPoints` or `ExponentialHistogramDataPoints` |
/// | `resource.<key>`, `attribute.<key>` | an attribute, by its key |
/// | `scope` | the scope's name |
/// | `event.<name>` | the time of a span event |
/// | `link` | the trace id of a span's last link |
/// | `Descriptor.<name>` | a field of the metric's descriptor, such as `Descriptor.Name` |
/// | any other | a field as the collector names it, such as `Parent ID`, `Status code`, `Start time`, `Timestamp`, `Body` |
///
/// Only the first line of a text is kept.
pub type Block = BTreeMap<String, String>;

impl Rotel {
    /// Starts the collector on free loopback ports. Returns `None` if it is not installed.
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
        // Rotel cannot choose free ports itself.
        let [grpc, http] = free_addresses();
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
                assert!(Instant::now() < end, "rotel does not listen on {addr}; its output: {:#?}", started.lines());
                thread::yield_now();
            }
        }
        Some(started)
    }

    /// Waits until `is_done` returns `true` for the received blocks, and returns them.
    ///
    /// # Panics
    ///
    /// Panics with the received blocks if that takes too long.
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
        assert!(!timeout.timed_out(), "rotel received {blocks:#?}");
        blocks
    }

    /// Waits for `count` spans for which `is_whole` returns `true`, and returns them.
    ///
    /// A span is printed line by line, so that the last one may lack its last lines.
    ///
    /// # Panics
    ///
    /// Panics if there are fewer in time.
    pub fn spans(&self, count: usize, is_whole: impl Fn(&Block) -> bool) -> Vec<Block> {
        let is_span = |block: &&Block| block["of"] == "Span" && is_whole(block);
        let all = self.wait(|blocks| blocks.iter().filter(is_span).count() >= count);
        all.into_iter().filter(|block| is_span(&block)).collect()
    }

    /// Returns all printed lines.
    pub fn lines(&self) -> Vec<String> {
        self.printed.0.lock().unwrap().clone()
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The part of the output that is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Resource,
    Record,
    Attributes,
    Descriptor,
    Events,
    Links,
}

/// Parses the collector's output.
///
/// The last block may be incomplete.
fn read(lines: &[String]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // Fields of a resource and of a metric hold for all blocks that follow.
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
            (Part::Resource, true, _) => _ = resource.insert(format!("resource.{key}"), untyped(&value)),
            (Part::Descriptor, true, _) => _ = metric.insert(format!("Descriptor.{key}"), value),
            (Part::Attributes, true, Some(block)) => _ = block.insert(format!("attribute.{key}"), untyped(&value)),
            (Part::Events, true, _) if key == "Name" => event = format!("event.{value}"),
            (Part::Events, true, Some(block)) if key == "Timestamp" => _ = block.insert(event.clone(), value),
            (Part::Links, true, Some(block)) if key == "Trace ID" => _ = block.insert("link".to_owned(), value),
            (Part::Record | Part::Attributes, false, Some(block)) => _ = block.insert(key.to_owned(), untyped(&value)),
            _ => {}
        }
    }
    blocks
}

/// Returns a value without its type, such as `shop` of `Str(shop)`.
fn untyped(value: &str) -> String {
    let inner = ["Str(", "Int(", "Double(", "Bool("].iter().find_map(|of| value.strip_prefix(of));
    inner.map_or(value, |inner| inner.strip_suffix(')').unwrap_or(inner)).to_owned()
}
