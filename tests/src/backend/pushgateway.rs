//! A real Pushgateway, and one that answers what a test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::echo::{self, Headers};
use crate::server::{agent, get};
use crate::tool::Tool;

/// A running Pushgateway. Dropping it kills it.
pub struct Pushgateway {
    child: Child,
    /// Its URL, without a slash at its end.
    pub url: String,
}

impl Pushgateway {
    /// Starts it on a free loopback port; nothing where it is not installed.
    ///
    /// # Panics
    ///
    /// Panics, with what it said, if it does not start.
    pub fn start() -> Option<Self> {
        let mut child = Command::new(Tool::Pushgateway.find()?)
            // Nothing is kept for another start.
            .args(["--web.listen-address=127.0.0.1:0", "--persistence.file=", "--log.format=logfmt"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut started = Self { child, url: String::new() };
        let mut said = Vec::new();
        // `... msg="Listening on" address=127.0.0.1:41237`
        for line in lines.by_ref() {
            if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                started.url = format!("http://{address}");
                // What it says further must have somewhere to go.
                thread::spawn(move || lines.for_each(drop));
                return Some(started);
            }
            said.push(line);
        }
        panic!("the Pushgateway did not start; it said: {said:#?}");
    }

    /// What Prometheus would see.
    ///
    /// # Panics
    ///
    /// Panics if it does not answer.
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

/// A gateway that keeps nothing, gives the answers of a list, the last one again and again, and tells what was asked.
pub struct Answering {
    /// Its URL, without a slash at its end.
    pub url: String,
    requests: Receiver<Push>,
}

/// A request as it came.
pub struct Push {
    /// Its first line.
    pub line: String,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub body: String,
}

impl Answering {
    /// Starts it on a free loopback port. Answers are such as `503 Service Unavailable`; one without a text is never given.
    ///
    /// # Panics
    ///
    /// Panics if it cannot be started.
    pub fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        thread::spawn(move || {
            let mut unanswered: Vec<TcpStream> = Vec::new();
            let last = answers.last().unwrap();
            for (stream, answer) in listener.incoming().zip(answers.iter().chain(std::iter::repeat(last))) {
                let mut stream = stream.unwrap();
                let (line, headers, body) = echo::read(&stream);
                // Nobody listens any more when the test has ended.
                let _ = sender.send(Push { line, headers, body: String::from_utf8(body).unwrap() });
                if answer.is_empty() {
                    unanswered.push(stream);
                    continue;
                }
                // The client may have given up.
                let _ = write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsorry");
            }
        });
        Self { url, requests }
    }

    /// The requests that have come since the last call.
    pub fn requests(&self) -> Vec<Push> {
        self.requests.try_iter().collect()
    }
}
