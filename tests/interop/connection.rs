//! A connection of HTTP/1.1 that sends bytes exactly as a test writes them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The limit of every read and write.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A client's end of a connection.
pub(crate) struct Connection(BufReader<TcpStream>);

/// A received response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The header lines in their order, with names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The trailer lines of a chunked body.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Response {
    /// Returns the value of a header. Returns `None` if it is missing.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body as a text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Connection {
    /// Connects to the authority of a URL.
    pub(crate) fn open(url: &str) -> Self {
        let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Receives a response with its body.
    pub(crate) fn response(&mut self) -> Response {
        let mut response = self.response_to_head();
        if response.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(&self.line(), 16).unwrap();
                if size == 0 {
                    break;
                }
                let start = response.body.len();
                response.body.resize(start + size, 0);
                self.0.read_exact(&mut response.body[start..]).unwrap();
                assert_eq!(self.line(), "");
            }
            response.trailers = self.lines();
        } else if let Some(length) = response.header("content-length") {
            response.body.resize(length.parse().unwrap(), 0);
            self.0.read_exact(&mut response.body).unwrap();
        }
        response
    }

    /// Receives a response without a body, such as one to `HEAD`, or an interim response.
    pub(crate) fn response_to_head(&mut self) -> Response {
        let line = self.line();
        let status = line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{line:?}"));
        let status = status.split(' ').next().unwrap().parse().unwrap();
        Response { status, headers: self.lines(), body: Vec::new(), trailers: Vec::new() }
    }

    /// Receives header or trailer lines up to the empty one.
    fn lines(&mut self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(':') else {
                assert_eq!(line, "");
                return lines;
            };
            lines.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "the connection ends within {line:?}");
        line.truncate(line.len() - 2);
        line
    }
}
