//! A real Alertmanager sends notifications to a webhook, to Slack's webhook and by mail, all of
//! which are servers of these tests.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::SystemTime;

use serde_json::Value;
use wasmetry_ops::{Chat, Day, Kind, Pager, Service, WorkingHours};

use super::alertmanager::{Alertmanager, add};
use super::app::every_alert;
use super::program::http;
use super::write;

/// A server that keeps what it receives: the first line and the rest of each message.
#[derive(Clone)]
struct Inbox {
    address: SocketAddr,
    messages: Arc<Mutex<Vec<(String, String)>>>,
}

impl Inbox {
    /// Starts it with a function that reads one message of a connection.
    fn start(read: fn(TcpStream) -> Option<(String, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inbox = Self { address: listener.local_addr().unwrap(), messages: Arc::default() };
        let messages = inbox.messages.clone();
        // The thread ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                messages.lock().unwrap().extend(read(stream));
            }
        });
        inbox
    }

    fn messages(&self) -> Vec<(String, String)> {
        self.messages.lock().unwrap().clone()
    }
}

/// Reads an HTTP request: its path and body.
fn read_http(stream: TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    reader.into_inner().write_all(answer.as_bytes()).ok()?;
    Some((first.split(' ').nth(1)?.to_owned(), String::from_utf8(body).ok()?))
}

/// Reads a mail: its recipient and text.
fn read_mail(stream: TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let say = |text: &str| (&stream).write_all(format!("{text}\r\n").as_bytes()).ok();
    let (mut recipient, mut text) = (String::new(), String::new());
    say("220 test")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(of) = line.strip_prefix("RCPT TO:") {
            recipient = of.trim().to_owned();
        }
        if line.trim() != "DATA" {
            say("250 ok")?;
            continue;
        }
        say("354 go on")?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            if line.trim_end() == "." {
                break;
            }
            text += &line;
        }
        say("250 ok")?;
        return Some((recipient, text));
    }
}

/// Returns a service whose receivers are here, and their servers: the pager, the chat and mail.
fn service(secrets: &std::path::Path) -> (Service, [Inbox; 3]) {
    let inboxes = [Inbox::start(read_http), Inbox::start(read_http), Inbox::start(read_mail)];
    let [page, chat, mail] = &inboxes;
    // A file may end in a line break, as those of an editor do.
    fs::write(secrets.join("page-url"), format!("http://{}/page\n", page.address)).unwrap();
    fs::write(secrets.join("slack-url"), format!("http://{}/slack\n", chat.address)).unwrap();
    let mut service = every_alert();
    let receivers = &mut service.settings.receivers;
    (receivers.page, receivers.chat) = (Pager::Webhook, Chat::Slack);
    receivers.secrets = secrets.display().to_string();
    receivers.smtp_server = mail.address.to_string();
    receivers.smtp_tls = false;
    receivers.mail_to = "team@example.com".into();
    (service, inboxes)
}

/// Starts an Alertmanager with short waits.
fn start(service: &Service) -> Option<Alertmanager> {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), service, Kind::Alertmanager);
    let path = directory.path().join("alertmanager.yml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace("group_wait: 10s", "group_wait: 1s").replace("group_wait: 30s", "group_wait: 1s"))
        .unwrap();
    Alertmanager::start_in(directory)
}

const SUMMARY: &str = "--annotation=summary=It is <slow>";
const RUNBOOK: &str = "--annotation=runbook_url=https://example.com/runbooks/high-latency.md";

/// A critical alert reaches the pager and the chat, a warning the chat, a fact the mail; the URLs
/// are read from files.
#[test]
fn notifications_reach_receivers() {
    let secrets = tempfile::tempdir().unwrap();
    let (service, [page, chat, mail]) = service(secrets.path());
    let Some(mut alertmanager) = start(&service) else { return };
    for (name, severity, component) in
        [("Errors", "critical", "a"), ("Latency", "warning", "b"), ("Version", "info", "c"), ("Other", "page", "d")]
    {
        let labels = [("alertname", name), ("severity", severity), ("component", component)];
        add(&mut alertmanager, &labels, &[SUMMARY, RUNBOOK]);
    }
    alertmanager.daemon.wait("notifications", |_| {
        let counts = [&page, &chat, &mail].map(|inbox| inbox.messages().len());
        (counts == [1, 2, 2]).then_some(())
    });
    let (path, body) = &page.messages()[0];
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (path.as_str(), &body["receiver"], &body["commonLabels"]["alertname"]),
        ("/page", &"page".into(), &"Errors".into())
    );
    for (path, body) in chat.messages() {
        let message: Value = serde_json::from_str(&body).unwrap();
        let attachment = &message["attachments"][0];
        assert_eq!(
            (path.as_str(), &attachment["title_link"]),
            ("/slack", &"https://example.com/runbooks/high-latency.md".into())
        );
        let title = attachment["title"].as_str().unwrap();
        assert!(title == "[FIRING:1] critical Errors of a" || title == "[FIRING:1] warning Latency of b", "{title}");
        let text = attachment["text"].as_str().unwrap();
        assert!(text.contains("It is &lt;slow&gt;") && text.contains("high-latency.md|Runbook>"), "{text}");
    }
    for (recipient, text) in mail.messages() {
        assert!(recipient.contains("team@example.com"), "{recipient}");
        assert!(text.contains("Version") || text.contains("Other"), "{text}");
        assert!(text.contains("text/plain") && text.contains("text/html"), "{text}");
    }
}

/// Returns the day of a number of days from now. It may be midnight: tests treat today and tomorrow
/// alike.
fn day(offset: u64) -> Day {
    let days = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    // 1970-01-01 was a Thursday.
    Day::ALL[((days + 3 + offset) % 7) as usize]
}

/// Outside of working hours a warning waits, and a critical alert does not.
#[test]
fn working_hours_mute_warnings() {
    for (days, is_muted) in [([day(3), day(4)], true), ([day(0), day(1)], false)] {
        let secrets = tempfile::tempdir().unwrap();
        let (mut service, [page, chat, _]) = service(secrets.path());
        let mut hours = WorkingHours::default();
        (hours.days, hours.start, hours.end) = (days.to_vec(), 0, 24 * 60);
        service.settings.working_hours = Some(hours);
        let Some(mut alertmanager) = start(&service) else { return };
        for (name, severity) in [("Errors", "critical"), ("Latency", "warning")] {
            // They are of different components, so that the one does not silence the other.
            add(&mut alertmanager, &[("alertname", name), ("severity", severity), ("component", name)], &[]);
        }
        let address = alertmanager.address;
        let muted = alertmanager.daemon.wait("flush", |_| {
            let (_, body) = http(address, "GET", "/api/v2/alerts/groups", "")?;
            let groups: Value = serde_json::from_str(&body).ok()?;
            let of_warning = |group: &&Value| group["labels"]["alertname"] == "Latency";
            let group = groups.as_array()?.iter().find(of_warning)?;
            let muted = group["alerts"][0]["status"]["mutedBy"].as_array().is_some_and(|by| !by.is_empty());
            let is_sent = chat.messages().len() == 2;
            let is_paged = page.messages().len() == 1 && !chat.messages().is_empty();
            (is_paged && (muted || is_sent)).then_some(muted)
        });
        assert_eq!(muted, is_muted, "{days:?}");
        let sent = chat.messages();
        assert_eq!(
            sent.iter().filter(|(_, body)| body.contains("Latency")).count(),
            usize::from(!is_muted),
            "{sent:?}"
        );
    }
}
