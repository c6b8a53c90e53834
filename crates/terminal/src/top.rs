//! `wasmetry top`: components and routes in a table that follows the host.
//!
//! Three threads share channels: one reads keys, one sends requests, and the caller's draws.
//! `state` decides what a key does, `view` what is drawn, and `frame` writes it; none of them
//! knows a terminal.

mod frame;
mod state;
mod view;

use std::io::{self, IsTerminal as _, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use termion::event::Key;
use termion::input::TermRead as _;
use termion::raw::IntoRawMode as _;
use termion::screen::IntoAlternateScreen as _;

use crate::client::json;
use crate::{Client, Error};
use frame::Painter;
use state::{Effect, State};

/// The options of the command.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The host's address, for the first line.
    pub address: String,
    /// Only this component.
    pub component: Option<String>,
}

/// The time between two requests.
const INTERVAL: Duration = Duration::from_secs(2);

/// The time between two looks at the terminal's size.
const TICK: Duration = Duration::from_millis(250);

/// A report of a thread.
enum Message {
    Key(Key),
    /// The answer to a target.
    Answer(String, Result<Value, Error>),
}

/// Shows the table until the user quits.
///
/// # Errors
///
/// Returns an error if the output is no terminal, or if the first request fails.
pub fn run(client: Box<dyn Client + Send>, options: &Options) -> Result<(), Error> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Error::Refused("`top` needs a terminal; use `wasmetry tail` in a pipe".to_owned()));
    }
    let mut state = State::new(options);
    // Its error is one line in the user's own screen.
    let first = state.target();
    state.receive(&first, json(&*client, &first));
    if let Some(error) = state.take_first_error() {
        return Err(error);
    }
    let (to_main, messages) = mpsc::channel();
    let (to_client, targets) = mpsc::channel::<String>();
    let to_answer = to_main.clone();
    thread::spawn(move || {
        for target in targets {
            let answer = json(&*client, &target);
            if to_answer.send(Message::Answer(target, answer)).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for key in io::stdin().keys().map_while(Result::ok) {
            if to_main.send(Message::Key(key)).is_err() {
                return;
            }
        }
    });
    let mut screen = HiddenCursor::new(io::stdout().into_raw_mode()?.into_alternate_screen()?)?;
    let mut painter = Painter::default();
    let (mut requested, mut in_flight) = (Instant::now(), None::<String>);
    loop {
        let (width, height) = termion::terminal_size()?;
        painter.paint(&view::draw(width, height, &mut state), &mut screen)?;
        let target = state.target();
        let is_due = requested.elapsed() >= INTERVAL && !state.is_paused() || state.needs_answer();
        if in_flight.is_none() && is_due && to_client.send(target.clone()).is_ok() {
            (requested, in_flight) = (Instant::now(), Some(target));
        }
        match messages.recv_timeout(TICK) {
            Ok(Message::Key(key)) => {
                if state.press(key) == Effect::Quit {
                    return Ok(());
                }
            }
            Ok(Message::Answer(target, answer)) => {
                in_flight = None;
                state.receive(&target, answer);
            }
            Err(RecvTimeoutError::Timeout) => {}
            // The terminal is gone.
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// A terminal without a cursor, which is shown again when this is dropped: at the end, and on every
/// error.
struct HiddenCursor<W: Write>(W);

impl<W: Write> HiddenCursor<W> {
    fn new(mut terminal: W) -> io::Result<Self> {
        write!(terminal, "{}", termion::cursor::Hide)?;
        Ok(Self(terminal))
    }
}

impl<W: Write> Write for HiddenCursor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> Drop for HiddenCursor<W> {
    fn drop(&mut self) {
        let _ = write!(self.0, "{}", termion::cursor::Show).and_then(|()| self.0.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_shows_the_cursor() {
        let mut written = Vec::new();
        let fail = |terminal: &mut Vec<u8>| -> io::Result<()> {
            let mut screen = HiddenCursor::new(terminal)?;
            screen.write_all(b"rows")?;
            Err(io::ErrorKind::Other.into())
        };
        assert!(fail(&mut written).is_err());
        assert_eq!(String::from_utf8(written).unwrap(), "\x1b[?25lrows\x1b[?25h");
    }
}
