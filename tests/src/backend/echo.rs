//! A client and a backend that show headers exactly as they are on the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// The limit of every wait for the other end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Headers in their order, with names in lower case.
#[derive(Clone, Debug)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Returns the values of all headers of this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the value of the header of this name. Returns `None` if it is missing.
    ///
    /// # Panics
    ///
    /// Panics if there are several.
    pub fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name}: {all:?}");
        all.first().copied()
    }
}

/// A backend that answers every request with 200 and the request's body, and keeps the headers for
/// the test.
pub struct EchoBackend {
    /// The host and port.
    pub authority: String,
    requests: Receiver<Headers>,
}

impl EchoBackend {
    /// Starts the backend on a free port.
    ///
    /// # Panics
    ///
    /// Panics if no port is free.
    pub fn start() -> Self {
        Self::start_on("127.0.0.1:0")
    }

    /// Starts the backend on an address of this machine.
    ///
    /// # Panics
    ///
    /// Panics if the address is not free.
    pub fn start_on(addr: &str) -> Self {
        let listener = TcpListener::bind(addr).unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let (sender, requests) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (_, headers, body) = read(&stream);
                // The test may have ended.
                let _ = sender.send(headers);
                let length = body.len();
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").unwrap();
                stream.write_all(&body).unwrap();
            }
        });
        Self { authority, requests }
    }

    /// Returns the URL.
    pub fn url(&self) -> String {
        format!("http://{}/", self.authority)
    }

    /// Waits for the next request and returns its headers.
    ///
    /// # Panics
    ///
    /// Panics if no request is received in time.
    pub fn next_request(&self) -> Headers {
        self.requests.recv_timeout(PATIENCE).expect("a request is received")
    }
}

/// Sends a request to a URL `http://host:port/path` with exactly these header lines, and returns
/// the status.
///
/// # Panics
///
/// Panics if there is no response.
pub fn send(method: &str, url: &str, lines: &[String], body: &str) -> u16 {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("{method} /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
    request += &format!("Content-Length: {}\r\n", body.len());
    for line in lines {
        request += &format!("{line}\r\n");
    }
    request += &format!("\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let (first, ..) = read(&stream);
    first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {first:?}"))
}

/// Reads a request or a response: its first line, headers and body.
pub(crate) fn read(stream: &TcpStream) -> (String, Headers, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let first = line();
    let mut headers = Vec::new();
    loop {
        let line = line();
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let headers = Headers(headers);
    let mut body = Vec::new();
    if let Some(len) = headers.one("content-length") {
        reader.take(len.parse().unwrap()).read_to_end(&mut body).unwrap();
    } else if headers.one("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).unwrap();
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    }
    (first, headers, body)
}
