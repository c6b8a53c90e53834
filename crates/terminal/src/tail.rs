//! `wasmetry tail`: logs and finished traces as they come.

use std::io::Write;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::client::{events, query};
use crate::event::{Event, Events};
use crate::{Client, Error, answer, format};

/// The filters and the form of the output.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Logs of this level and more severe ones. There are no traces then.
    pub level: Option<String>,
    /// Logs with this part in their message or a field. There are no traces then.
    pub text: Option<String>,
    /// The component.
    pub component: Option<String>,
    /// The tenant; an empty text stands for none.
    pub tenant: Option<String>,
    /// The route.
    pub route: Option<String>,
    /// The id of the trace.
    pub trace: Option<String>,
    /// Leave out traces.
    pub only_logs: bool,
    /// Leave out logs.
    pub only_traces: bool,
    /// Begin with this number of earlier logs and traces.
    pub last: u32,
    /// One JSON object for each event, as the host sends it.
    pub json: bool,
    /// Write levels and outcomes in colours.
    pub colours: bool,
}

/// The delays before another connection: the first, and the longest.
const DELAYS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// The position in the events of a host.
#[derive(Debug, Default)]
struct Position {
    /// The id of the latest event.
    id: String,
    /// The process and the number of the latest log or trace that was written.
    written: Option<(String, u64)>,
}

impl Position {
    /// Moves behind an event. Returns `false` if it was written before.
    fn advance(&mut self, event: &Event) -> bool {
        let is_record = matches!(event.kind.as_str(), "log" | "trace");
        event.id.clone_into(&mut self.id);
        let Some((epoch, number)) = event.id.rsplit_once('-') else { return true };
        let Ok(number) = number.parse::<u64>() else { return true };
        if !is_record {
            return true;
        }
        if self.written.as_ref().is_some_and(|(known, written)| known == epoch && number <= *written) {
            return false;
        }
        self.written = Some((epoch.to_owned(), number));
        true
    }
}

/// Writes events to `output` until the process ends, and notes about the connection to `notes`.
///
/// After a lost connection it resumes behind the last event that it has got. What the host does not
/// keep any more is counted in a note.
///
/// # Errors
///
/// Returns an error if the first connection fails, if the host refuses the request, or if the
/// output cannot be written.
pub fn run(client: &dyn Client, options: &Options, output: &mut dyn Write, notes: &mut dyn Write) -> Result<(), Error> {
    // A trace has no level and no message.
    let is_of_logs = options.level.is_some() || options.text.is_some();
    let kinds = match (options.only_logs || is_of_logs, options.only_traces) {
        (true, _) => "log",
        (_, true) => "trace",
        _ => "log,trace",
    };
    let last = options.last.to_string();
    let mut parameters = vec![
        ("kinds", Some(kinds)),
        ("level", options.level.as_deref()),
        ("text", options.text.as_deref()),
        ("component", options.component.as_deref()),
        ("tenant", options.tenant.as_deref()),
        ("route", options.route.as_deref()),
        ("trace", options.trace.as_deref()),
    ];
    // `step` shows that the connection lives.
    let kinds = format!("{kinds},step");
    parameters[0].1 = Some(&kinds);
    let resumed = format!("/api/v1/events{}", query(&parameters));
    parameters.push(("last", Some(&last)));
    let first = format!("/api/v1/events{}", query(&parameters));
    let (mut position, mut delay, mut is_lost) = (Position::default(), DELAYS.0, false);
    let mut stream = Some(events(client, &first, None)?);
    loop {
        if let Some(stream) = stream.take() {
            let mut events = Events::new(stream);
            let cause = loop {
                match events.next() {
                    Ok(Some(event)) => {
                        if std::mem::take(&mut is_lost) {
                            writeln!(notes, "connected again")?;
                        }
                        delay = DELAYS.0;
                        let is_new = position.advance(&event);
                        if is_new && !write(&event, options, output, notes)? {
                            return Ok(());
                        }
                    }
                    Ok(None) => break "the host has closed it".to_owned(),
                    Err(error) => break error.to_string(),
                }
            };
            // A stream begins with the id before its first event.
            if !events.id().is_empty() {
                events.id().clone_into(&mut position.id);
            }
            if !std::mem::replace(&mut is_lost, true) {
                writeln!(notes, "the connection was lost ({cause}); trying again")?;
            }
        }
        thread::sleep(delay);
        delay = (2 * delay).min(DELAYS.1);
        let (target, id) = if position.id.is_empty() { (&first, None) } else { (&resumed, Some(position.id.as_str())) };
        match events(client, target, id) {
            Ok(next) => stream = Some(next),
            // A host that starts answers without its console for a moment, or has all streams open.
            Err(Error::Connection(_) | Error::NoConsole(_) | Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes one event. Returns `false` if the reader of the output has closed it.
fn write(event: &Event, options: &Options, output: &mut dyn Write, notes: &mut dyn Write) -> Result<bool, Error> {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    let line = match event.kind.as_str() {
        "log" | "trace" if options.json => {
            crate::escape::json(&serde_json::json!({"event": event.kind, "id": event.id, "data": data}))
        }
        "log" => log_line(&data, options.colours),
        "trace" => trace_line(&data, options.colours),
        "lost" => {
            let count = answer::number(&data, "count").unwrap_or(0.0);
            writeln!(notes, "lost {count} logs and traces, which the host does not keep any more")?;
            return Ok(true);
        }
        "restart" => {
            writeln!(notes, "the host has restarted")?;
            return Ok(true);
        }
        _ => return Ok(true),
    };
    match writeln!(output, "{line}").and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The escape sequence of a colour, and the one that ends it.
fn coloured(text: &str, colour: Option<u8>, colours: bool) -> String {
    match colour.filter(|_| colours) {
        Some(colour) => format!("\u{1b}[{colour}m{text}\u{1b}[0m"),
        None => text.to_owned(),
    }
}

/// A log in one line.
fn log_line(log: &Value, colours: bool) -> String {
    let level = match answer::text(log, "stream") {
        "" => answer::text(log, "level").to_uppercase(),
        stream => stream.to_owned(),
    };
    let colour = match level.as_str() {
        "ERROR" => Some(31),
        "WARN" => Some(33),
        "DEBUG" | "TRACE" => Some(90),
        _ => None,
    };
    let mut line = format!(
        "{} {} {}: {}",
        format::time(answer::number(log, "time").unwrap_or(0.0)),
        coloured(&format!("{:<5}", crate::escape(&level)), colour, colours),
        answer::component(log),
        answer::message(log),
    );
    let trace = answer::text(log, "trace_id");
    if !trace.is_empty() {
        line.push_str(&coloured(&format!(" trace={}", crate::escape(trace)), Some(90), colours));
    }
    line
}

/// A trace in one line.
fn trace_line(trace: &Value, colours: bool) -> String {
    let outcome = answer::text(trace, "outcome");
    let colour = match outcome {
        "failed" => Some(31),
        "slow" => Some(33),
        _ => Some(32),
    };
    let id = format!(" trace={}", crate::escape(answer::text(trace, "trace_id")));
    format!(
        "{} {} {}: {}{}",
        format::time(answer::number(trace, "start").unwrap_or(0.0)),
        coloured(&format!("{:<5}", crate::escape(outcome)), colour, colours),
        answer::component(trace),
        answer::trace(trace),
        coloured(&id, Some(90), colours),
    )
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;
    use crate::Response;

    /// Answers each connection with the next text, and the last one with an error.
    struct Script {
        answers: Mutex<Vec<&'static str>>,
        requests: Mutex<Vec<(String, Option<String>)>>,
    }

    impl Client for Script {
        fn get(&self, target: &str, last_event: Option<&str>) -> Result<Response, Error> {
            self.requests.lock().unwrap().push((target.to_owned(), last_event.map(str::to_owned)));
            match self.answers.lock().unwrap().pop() {
                Some(answer) => Ok(Response::new(200, "text/event-stream; charset=utf-8", Box::new(answer.as_bytes()))),
                None => Err(Error::Token("over".to_owned())),
            }
        }
    }

    const FIRST: &str = "id: a-1\nevent: log\ndata: {\"time\":1764374401.125,\"level\":\"error\",\"message\":\"cart \
                         \\u001b[2J\",\"component\":\"shop\",\"tenant\":\"\",\"fields\":[[\"n\",1],[\"k\",\"a b\"]],\
                         \"trace_id\":\"0af7\",\"stream\":null}\n\nid: a-2\nevent: step\ndata: {}\n\n";
    const SECOND: &str = "id: a-2\nevent: lost\ndata: {\"count\":12}\n\nid: a-1\nevent: log\ndata: \
                          {\"message\":\"repeated\"}\n\nid: a-15\nevent: trace\ndata: {\"start\":1,\"name\":\"GET \
                          /\",\"status\":500,\"duration_seconds\":0.25,\"outcome\":\"failed\",\"reason\":\
                          \"unreachable\",\"component\":\"shop\",\"trace_id\":\"0af7\"}\n\n";
    const THIRD: &str = "id: b-0\nevent: restart\ndata: {\"epoch\":\"b\"}\n\nid: b-1\nevent: log\ndata: \
                         {\"level\":\"info\",\"message\":\"restored\",\"component\":\"shop\"}\n\n";

    #[test]
    fn lost_connection_is_resumed() {
        let script = Script { answers: Mutex::new(vec![THIRD, SECOND, FIRST]), requests: Mutex::default() };
        let (mut output, mut notes) = (Vec::new(), Vec::new());
        let options = Options { route: Some("/cart".into()), last: 5, ..Options::default() };
        let ended = run(&script, &options, &mut output, &mut notes);
        assert!(matches!(ended, Err(Error::Token(_))));
        let lines = String::from_utf8(output).unwrap();
        let expected = "2025-11-29T00:00:01.125Z ERROR shop: cart \\u{1b}[2J n=1 k=\"a b\" trace=0af7\n\
                        1970-01-01T00:00:01.000Z failed shop: GET / 500 250ms reason=\"unreachable\" trace=0af7\n\
                        1970-01-01T00:00:00.000Z INFO  shop: restored\n";
        assert_eq!(lines, expected);
        let notes = String::from_utf8(notes).unwrap();
        assert!(notes.contains("lost 12 logs and traces"), "{notes}");
        assert!(notes.contains("the host has restarted"), "{notes}");
        assert_eq!(notes.matches("connected again").count(), 2, "{notes}");
        let requests = script.requests.lock().unwrap();
        assert_eq!(requests[0], ("/api/v1/events?kinds=log%2Ctrace%2Cstep&route=%2Fcart&last=5".to_owned(), None));
        let resumed = "/api/v1/events?kinds=log%2Ctrace%2Cstep&route=%2Fcart".to_owned();
        assert_eq!(requests[1], (resumed.clone(), Some("a-2".to_owned())));
        assert_eq!(requests[2], (resumed.clone(), Some("a-15".to_owned())));
        assert_eq!(requests[3], (resumed, Some("b-1".to_owned())));
    }

    /// A connection that is lost before the first event: what came meanwhile follows.
    #[test]
    fn stream_without_events_is_resumed() {
        let first = "retry: 1000\nid: a-7\n\n";
        let script = Script { answers: Mutex::new(vec![SECOND, first]), requests: Mutex::default() };
        let (mut output, mut notes) = (Vec::new(), Vec::new());
        let _ = run(&script, &Options::default(), &mut output, &mut notes);
        let requests = script.requests.lock().unwrap();
        let target = "/api/v1/events?kinds=log%2Ctrace%2Cstep";
        assert_eq!(requests[0], (format!("{target}&last=0"), None));
        assert_eq!(requests[1], (target.to_owned(), Some("a-7".to_owned())));
        assert!(String::from_utf8(notes).unwrap().contains("lost 12 logs and traces"));
    }

    /// Filters of logs leave traces out, and the others select both.
    #[test]
    fn filters_select_kinds() {
        let target = |options: Options| {
            let script = Script { answers: Mutex::default(), requests: Mutex::default() };
            let _ = run(&script, &options, &mut io::sink(), &mut io::sink());
            script.requests.into_inner().unwrap().remove(0).0
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            target(Options { level: some("warn"), ..Options::default() }),
            "/api/v1/events?kinds=log%2Cstep&level=warn&last=0"
        );
        assert_eq!(
            target(Options { text: some("sold"), ..Options::default() }),
            "/api/v1/events?kinds=log%2Cstep&text=sold&last=0"
        );
        assert_eq!(
            target(Options { component: some("shop"), trace: some("0af7"), ..Options::default() }),
            "/api/v1/events?kinds=log%2Ctrace%2Cstep&component=shop&trace=0af7&last=0"
        );
    }

    #[test]
    fn json_lines_are_objects() {
        let script = Script { answers: Mutex::new(vec![FIRST]), requests: Mutex::default() };
        let mut output = Vec::new();
        let options = Options { json: true, ..Options::default() };
        let _ = run(&script, &options, &mut output, &mut io::sink());
        let value: Value = serde_json::from_slice(&output).unwrap();
        assert_eq!((value["event"].as_str(), value["id"].as_str()), (Some("log"), Some("a-1")));
        assert_eq!(value["data"]["message"], "cart \u{1b}[2J");
    }
}
