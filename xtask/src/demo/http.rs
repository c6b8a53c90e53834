//! A minimal HTTP/1.1 client: one request a connection, the whole response in memory.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// The timeout of a connection and of each part of a response: well past the demo's request
/// deadline.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// The body, without its transfer coding.
    pub(crate) body: String,
}

/// Requests `path` from the server at `address`.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Response> {
    request(address, path).with_context(|| format!("GET http://{address}{path}"))
}

/// Sends the request and reads until the server closes the connection, which the request demands.
fn request(address: SocketAddr, path: &str) -> Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer)
}

/// Parses a response.
fn parse(answer: &[u8]) -> Result<Response> {
    let split =
        answer.windows(4).position(|window| window == b"\r\n\r\n").context("the answer has no end of headers")?;
    let head = std::str::from_utf8(&answer[..split]).context("the headers are not UTF-8")?;
    let mut body = &answer[split + 4..];
    let mut lines = head.lines();
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("the answer starts with {status_line:?}"))?;
    let header = |wanted: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then(|| value.trim().to_ascii_lowercase()))
    };
    let decoded;
    if header("transfer-encoding").as_deref() == Some("chunked") {
        decoded = join_chunks(body)?;
        body = &decoded;
    } else if let Some(length) = header("content-length") {
        let length: usize = length.parse().context("the content length is no number")?;
        if body.len() != length {
            bail!("the answer has {} B of the {length} B it announced", body.len());
        }
    }
    Ok(Response { status, body: String::from_utf8_lossy(body).into_owned() })
}

/// Joins the chunks of a chunked body.
fn join_chunks(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").context("a chunk has no size")?;
        let size = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).with_context(|| format!("a chunk's size is {size:?}"))?;
        if size == 0 {
            return Ok(body);
        }
        rest = &rest[end + 2..];
        let (Some(chunk), Some(b"\r\n")) = (rest.get(..size), rest.get(size..size + 2)) else {
            bail!("a chunk of {size} B was cut short");
        };
        body.extend_from_slice(chunk);
        rest = &rest[size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_status_and_measured_body() -> Result<()> {
        let response = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")?;
        assert_eq!((response.status, response.body.as_str()), (200, "hi"));
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_err());
        assert!(parse(b"nonsense\r\n\r\n").is_err());
        Ok(())
    }

    #[test]
    fn joins_chunks() -> Result<()> {
        let head = "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        let response = parse((head.clone() + "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n").as_bytes())?;
        assert_eq!((response.status, response.body.as_str()), (500, "abc0123456789"));
        for cut in ["", "3\r\nab", "3\r\nabcde", "x\r\nabc\r\n"] {
            assert!(parse((head.clone() + cut).as_bytes()).is_err(), "{cut:?}");
        }
        Ok(())
    }
}
