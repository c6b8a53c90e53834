//! Server-sent events: the lines of a stream become events.
//!
//! Source: WHATWG HTML, "Server-sent events", "Parsing an event stream".

use std::io::{self, BufRead, Read as _};

use crate::limits;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// The id of this or an earlier event of the stream.
    pub(crate) id: String,
    /// The type.
    pub(crate) kind: String,
    /// The data.
    pub(crate) data: String,
}

/// Reads events from a stream.
pub(crate) struct Events {
    stream: Box<dyn BufRead + Send>,
    id: String,
    /// The id of the block that is being read.
    next_id: Option<String>,
}

impl Events {
    pub(crate) fn new(stream: Box<dyn BufRead + Send>) -> Self {
        Self { stream, id: String::new(), next_id: None }
    }

    /// The id behind which a client resumes: that of the last block, which need not have had data.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Returns the next event, or `None` at the end of the stream. An event that the stream's end
    /// has cut is left out.
    pub(crate) fn next(&mut self) -> io::Result<Option<Event>> {
        let (mut kind, mut data, mut has_data) = (String::new(), String::new(), false);
        loop {
            let mut line = Vec::new();
            let read = (&mut self.stream).take(limits::EVENT_LINE).read_until(b'\n', &mut line)?;
            if read == 0 || line.last() != Some(&b'\n') {
                return match read as u64 {
                    limits::EVENT_LINE => Err(io::Error::new(io::ErrorKind::InvalidData, "an event is too long")),
                    _ => Ok(None),
                };
            }
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let line = String::from_utf8_lossy(&line);
            if line.is_empty() {
                // A block that the stream's end has cut was not received.
                if let Some(id) = self.next_id.take() {
                    self.id = id;
                }
                if has_data {
                    let kind = if kind.is_empty() { "message".to_owned() } else { kind };
                    return Ok(Some(Event { id: self.id.clone(), kind, data }));
                }
                kind.clear();
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.next_id = Some(value.to_owned()),
                "event" => value.clone_into(&mut kind),
                "data" => {
                    if has_data {
                        data.push('\n');
                    }
                    data.push_str(value);
                    has_data = true;
                    // The lines of one event together.
                    if data.len() as u64 > limits::EVENT_LINE {
                        return Err(io::Error::new(io::ErrorKind::InvalidData, "an event is too long"));
                    }
                }
                // A comment, or a field that is not used.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound is on the data of an event, not on each of its lines.
    #[test]
    fn long_events_are_refused() {
        let line = format!("data: {}\n", "x".repeat(1 << 20));
        let mut events = Events::new(Box::new(io::Cursor::new(line.repeat(8))));
        assert_eq!(events.next().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn streams_are_parsed() {
        let text = ": hello\n\nid: e-1\r\nevent: log\r\ndata: {\"a\":\r\ndata:1}\r\n\r\ndata\n\nid: e-2\nevent: step\n\nid: e-3\ndata: cut";
        let mut events = Events::new(Box::new(text.as_bytes()));
        let mut event = |id: &str, kind: &str, data: &str| {
            let expected = Event { id: id.to_owned(), kind: kind.to_owned(), data: data.to_owned() };
            assert_eq!(events.next().unwrap(), Some(expected));
        };
        event("e-1", "log", "{\"a\":\n1}");
        event("e-1", "message", "");
        // The event `e-3` was cut.
        assert_eq!((events.next().unwrap(), events.id()), (None, "e-2"));
    }

    #[test]
    fn id_without_data_is_kept() {
        let mut events = Events::new(Box::new("retry: 1000\nid: e-7\n\n".as_bytes()));
        assert_eq!((events.next().unwrap(), events.id()), (None, "e-7"));
    }
}
