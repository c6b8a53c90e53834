//! A command in a terminal: a pseudo-terminal by `script`, and what its screen shows.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The limit of a wait for the screen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running command and its screen. Dropping it closes the terminal.
pub struct Screen {
    child: Child,
    keys: ChildStdin,
    parser: Arc<Mutex<vt100::Parser>>,
    directory: TempDir,
    /// Reads the output until its end.
    reader: Option<JoinHandle<()>>,
}

impl Screen {
    /// Starts a command in a terminal of 80 columns and 24 rows.
    ///
    /// # Panics
    ///
    /// Panics if `script` of util-linux is missing.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// Starts a command as [`start`](Self::start) does, with these environment variables.
    ///
    /// # Panics
    ///
    /// Panics if `script` of util-linux is missing.
    pub fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let command: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
        let tty = directory.path().join("tty");
        // A program in the background may have started the tests: it has them ignore Ctrl-C.
        let line = format!(
            "stty rows 24 cols 80; tty > {}; exec env --default-signal=INT {}",
            quoted(tty.to_str().unwrap()),
            command.join(" ")
        );
        let mut child = Command::new("script")
            .args(["-q", "-f", "-e", "-c", &line, "/dev/null"])
            .env("TERM", "xterm-256color")
            .envs(variables.iter().copied())
            // The shell of `script -c`: others quote in other ways.
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("`script` of util-linux is installed");
        let keys = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let parser = Arc::new(Mutex::new(vt100::Parser::new(24, 80, 0)));
        let screen = Arc::clone(&parser);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                screen.lock().unwrap().process(&buffer[..read]);
            }
        });
        Self { child, keys, parser, directory, reader: Some(reader) }
    }

    /// Sends keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// The rows of the screen, without spaces at their ends.
    pub fn rows(&self) -> Vec<String> {
        let parser = self.parser.lock().unwrap();
        let columns = parser.screen().size().1;
        parser.screen().rows(0, columns).map(|row| row.trim_end().to_owned()).collect()
    }

    /// Waits until the screen is as `done` requires, and returns its rows.
    ///
    /// # Panics
    ///
    /// Panics with the screen if that takes too long.
    pub fn wait(&self, what: &str, done: impl Fn(&[String]) -> bool) -> Vec<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let rows = self.rows();
            if done(&rows) {
                return rows;
            }
            assert!(Instant::now() < end, "the screen does not show {what}:\n{}", rows.join("\n"));
            // A pause between two looks, so that the command gets the processor.
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the colour, among those of the terminal, of the first place of a text on the screen;
    /// `None` if it has that of all others.
    ///
    /// # Panics
    ///
    /// Panics with the screen if it does not show the text.
    pub fn colour(&self, text: &str) -> Option<u8> {
        let rows = self.rows();
        let place = rows.iter().enumerate().find_map(|(row, line)| {
            let (before, _) = line.split_once(text)?;
            Some((row as u16, before.chars().count() as u16))
        });
        let (row, column) = place.unwrap_or_else(|| panic!("the screen does not show {text}:\n{}", rows.join("\n")));
        match self.parser.lock().unwrap().screen().cell(row, column)?.fgcolor() {
            vt100::Color::Idx(colour) => Some(colour),
            _ => None,
        }
    }

    /// Changes the size of the terminal.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        let tty = fs::read_to_string(self.directory.path().join("tty")).unwrap();
        self.parser.lock().unwrap().screen_mut().set_size(rows, columns);
        let sizes = [rows, columns].map(|size| size.to_string());
        let status = Command::new("stty").args(["-F", tty.trim(), "rows", &sizes[0], "cols", &sizes[1]]).status();
        assert!(status.unwrap().success());
    }

    /// Waits until the command has ended, and returns its exit status and the last screen.
    ///
    /// # Panics
    ///
    /// Panics with the screen if that takes too long.
    pub fn end(mut self) -> (ExitStatus, Vec<String>) {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // Its last output may not have been read yet.
                if let Some(reader) = self.reader.take() {
                    reader.join().unwrap();
                }
                return (status, self.rows());
            }
            assert!(Instant::now() < end, "the command runs on:\n{}", self.rows().join("\n"));
            // A pause between two looks, so that the command gets the processor.
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The command's terminal closes with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
