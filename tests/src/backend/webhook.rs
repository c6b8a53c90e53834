//! An HTTP server that keeps the bodies of requests: a receiver of Alertmanager's notifications,
//! a destination of telemetry, and a target with a fixed exposition.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// A server on a free port.
pub struct Webhook {
    /// Its address.
    pub address: SocketAddr,
    bodies: Arc<Mutex<Vec<String>>>,
}

/// An alert of a notification: its name, its component or an empty text, and `true` if it fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notified {
    /// The label `alertname`.
    pub alert: String,
    /// The label `component`, or an empty text.
    pub component: String,
    /// `true` if it fires, `false` if it has resolved.
    pub is_firing: bool,
}

impl Webhook {
    /// Starts a server that answers every request with 200 and this text, and keeps the bodies of
    /// requests that have one, if they are text.
    ///
    /// # Panics
    ///
    /// Panics if no port is free.
    pub fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&bodies);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                thread::spawn(move || serve(&stream, answer, &kept));
            }
        });
        Self { address, bodies }
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the alerts of all notifications, in their order.
    ///
    /// # Panics
    ///
    /// Panics if a body is no notification of Alertmanager.
    pub fn notifications(&self) -> Vec<Notified> {
        let bodies = self.bodies.lock().unwrap().clone();
        let alerts = bodies.iter().flat_map(|body| {
            let body: Value = serde_json::from_str(body).expect("a notification is JSON");
            body["alerts"].as_array().expect("it has alerts").clone()
        });
        let label = |alert: &Value, label: &str| alert["labels"][label].as_str().unwrap_or_default().to_owned();
        let notified = |alert: Value| Notified {
            alert: label(&alert, "alertname"),
            component: label(&alert, "component"),
            is_firing: alert["status"] == "firing",
        };
        alerts.map(notified).collect()
    }
}

/// Answers the requests of one connection.
fn serve(stream: &TcpStream, answer: &str, kept: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        while !line.trim().is_empty() {
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        if let Ok(text) = String::from_utf8(body)
            && !text.is_empty()
        {
            kept.lock().unwrap().push(text);
        }
        let mut writer = stream;
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(answer.as_bytes())).is_err() {
            return;
        }
    }
}
