//! A real Pushgateway, and one with scripted responses.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::backend::echo::{self, Headers};
use crate::server::{agent, get};
use crate::tool::Tool;

/// A running Pushgateway. Dropping it kills it.
pub struct Pushgateway {
    child: Child,
    /// The URL, without a slash at its end.
    pub url: String,
}

impl Pushgateway {
    /// Starts the Pushgateway on a free loopback port. Returns `None` if it is not installed.
    ///
    /// # Panics
    ///
    /// Panics with its output if it does not start.
    pub fn start() -> Option<Self> {
        let mut child = Command::new(Tool::Pushgateway.find()?)
            // Without a file, nothing outlives the process.
            .args(["--web.listen-address=127.0.0.1:0", "--persistence.file=", "--log.format=logfmt"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut started = Self { child, url: String::new() };
        let mut written = Vec::new();
        // `... msg="Listening on" address=127.0.0.1:41237`
        for line in lines.by_ref() {
            if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                started.url = format!("http://{address}");
                // The pipe must not fill up.
                thread::spawn(move || lines.for_each(drop));
                return Some(started);
            }
            written.push(line);
        }
        panic!("the Pushgateway did not start; its output: {written:#?}");
    }

    /// Returns a scrape in the Prometheus text format.
    ///
    /// # Panics
    ///
    /// Panics if the Pushgateway does not respond with 200.
    pub fn scrape(&self) -> String {
        let (status, text) = get(&agent(), &format!("{}/metrics", self.url));
        assert_eq!(status, 200, "{text}");
        text
    }
}

impl Drop for Pushgateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gateway that responds with the statuses of a list, then with the last one for ever, and keeps
/// the requests.
pub struct ScriptedGateway {
    /// The URL, without a slash at its end.
    pub url: String,
    requests: Receiver<Push>,
}

/// A received push request.
pub struct Push {
    /// The first line.
    pub line: String,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: String,
}

impl ScriptedGateway {
    /// Starts the gateway on a free loopback port. Statuses are such as `503 Service Unavailable`;
    /// an empty one stands for a connection without a response.
    ///
    /// # Panics
    ///
    /// Panics if no port is free.
    pub fn start(statuses: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        thread::spawn(move || {
            let mut unanswered: Vec<TcpStream> = Vec::new();
            let last = statuses.last().unwrap();
            for (stream, status) in listener.incoming().zip(statuses.iter().chain(std::iter::repeat(last))) {
                let mut stream = stream.unwrap();
                let (line, headers, body) = echo::read(&stream);
                // The test may have ended.
                let _ = sender.send(Push { line, headers, body: String::from_utf8(body).unwrap() });
                if status.is_empty() {
                    unanswered.push(stream);
                    continue;
                }
                // The client may have given up.
                let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsorry");
            }
        });
        Self { url, requests }
    }

    /// Returns the requests since the last call.
    pub fn take_requests(&self) -> Vec<Push> {
        self.requests.try_iter().collect()
    }
}
