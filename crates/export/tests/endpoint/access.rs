//! The guard: which clients get which path, sessions, bodies, and what a refusal shows.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use wasmetry_export::limits;
use wasmetry_export::scrape::{Access, Answer as Answered, Config, Guard, Handler, SESSION_COOKIE, Server};

use crate::process::{Answer, Process, connect, get, request, start};

const CONTROL: &str = "control-0123456789";
const VIEW: &str = "view-0123456789ab";

/// Answers with the body of the request.
struct Echo;

impl Handler for Echo {
    fn answer(&self, request: Request<Bytes>) -> Answered<'_> {
        let body = Full::new(request.into_body()).map_err(|never| match never {}).boxed_unsync();
        Box::pin(std::future::ready(Response::new(body)))
    }
}

fn guard() -> Guard {
    Guard::default().with_control_token(CONTROL.parse().unwrap()).with_view_token(VIEW.parse().unwrap())
}

fn config(guard: Guard) -> Config {
    let mounts = [("/api", Access::View), ("/debug", Access::View), ("/drills", Access::Control)];
    let mount = |config: Config, (path, access)| config.with_handler(path, access, Arc::new(Echo));
    mounts.into_iter().fold(Config::default().with_guard(guard), mount)
}

/// A request with its own `Host`.
fn request_of(server: &Server, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = connect(server);
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
        .unwrap();
    Answer::read(&mut stream)
}

fn status(server: &Server, path: &str, headers: &str) -> u16 {
    request_of(server, "GET", path, headers, "").status
}

#[test]
fn foreign_host_sees_only_telemetry() {
    let (server, process) = start(config(guard().with_host("shop-1.example.org")));
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(status(&server, path, "Host: evil.example\r\n"), 200, "{path}");
    }
    for path in ["/", "/api", "/api/v1/x", "/debug", "/debug/x", "/login"] {
        let answer = request_of(&server, "GET", path, "Host: evil.example\r\n", "");
        assert_eq!(answer.status, 421, "{path}");
        assert!(answer.body.contains("--telemetry-host") && !answer.body.contains("evil"), "{}", answer.body);
        assert_eq!(process.refusals(), ["host"], "{path}");
    }
    let own = server.local_addr();
    for host in ["localhost", "127.0.0.1:1", "shop-1.example.org:80", &own.to_string()] {
        assert_eq!(status(&server, "/api", &format!("Host: {host}\r\n")), 200, "{host}");
    }
    // With a token too: a proxy may add it to what a page of another site requests.
    let headers = format!("Host: evil.example\r\nAuthorization: Bearer {CONTROL}\r\n");
    assert_eq!(status(&server, "/api", &headers), 421);
    assert_eq!(process.refusals(), ["host"]);
    server.stop();
}

#[test]
fn other_origins_are_refused() {
    let (server, process) = start(config(Guard::default()));
    let cross = "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n";
    assert_eq!(status(&server, "/api", cross), 403);
    assert_eq!(status(&server, "/debug", cross), 403);
    assert_eq!(status(&server, "/api", &format!("{cross}Sec-Fetch-Mode: navigate\r\n")), 403);
    assert_eq!(status(&server, "/", &format!("{cross}Sec-Fetch-Mode: navigate\r\n")), 200, "a link");
    assert_eq!(status(&server, "/api", "Host: localhost\r\nOrigin: http://localhost:8080\r\n"), 403);
    assert_eq!(status(&server, "/api", "Host: localhost\r\nOrigin: http://localhost\r\n"), 200);
    assert_eq!(process.refusals(), ["origin"; 4]);
    // There is no CORS, and no page of another origin can embed an answer.
    let answer = request_of(&server, "GET", "/api", "Host: localhost\r\nOrigin: http://localhost\r\n", "");
    assert!(!answer.head.to_lowercase().contains("access-control"), "{}", answer.head);
    assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    server.stop();
}

#[test]
fn forwarded_request_needs_token() {
    let (server, process) = start(config(guard()));
    for header in ["Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1", "X-Real-IP: 192.0.2.1", "Via: 1.1 proxy"] {
        let headers = format!("Host: localhost\r\n{header}\r\n");
        for path in ["/", "/api", "/debug"] {
            assert_eq!(status(&server, path, &headers), 401, "{path}, {header}");
            let headers = format!("{headers}Authorization: Bearer {VIEW}\r\n");
            assert_eq!(status(&server, path, &headers), 200, "{path}, {header}");
        }
    }
    assert_eq!(process.refusals(), ["no_token"; 12]);
    server.stop();
    // Without any token, no other client gets it.
    let (server, process) = start(config(Guard::default()));
    for path in ["/", "/api", "/debug"] {
        let answer = request_of(&server, "GET", path, "Host: localhost\r\nVia: 1.1 proxy\r\n", "");
        assert!(answer.status == 403 && answer.body.contains("--telemetry-token-file"), "{path}: {answer:?}");
        assert_eq!(process.refusals(), ["remote"], "{path}");
    }
    server.stop();
}

#[test]
fn control_requires_its_token() {
    let (server, process) = start(config(guard()));
    assert_eq!(status(&server, "/drills", "Host: localhost\r\n"), 401);
    assert_eq!(status(&server, "/drills", &format!("Host: localhost\r\nAuthorization: Bearer {VIEW}\r\n")), 401);
    let headers = format!("Host: shop-1\r\nAuthorization: Bearer {CONTROL}\r\n");
    assert_eq!(request_of(&server, "POST", "/drills/1", &headers, "a drill").body, "a drill");
    assert_eq!(process.refusals(), ["no_token", "wrong_token"]);
    // A session shows and does not change.
    let cookie = log_in(&server, CONTROL);
    assert_eq!(status(&server, "/drills", &format!("Host: localhost\r\nCookie: {cookie}\r\n")), 401);
    server.stop();
}

#[test]
fn token_for_all_covers_every_path() {
    let (server, process) = start(config(guard().with_token_for_all()));
    for path in ["/metrics", "/healthz", "/readyz", "/sd", "/", "/api", "/debug", "/nothing"] {
        assert_eq!(status(&server, path, "Host: localhost\r\n"), 401, "{path}");
        assert_eq!(process.refusals(), ["no_token"], "{path}");
    }
    for token in [CONTROL, VIEW] {
        let headers = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\n");
        for path in ["/metrics", "/healthz", "/", "/api", "/debug"] {
            assert_eq!(status(&server, path, &headers), 200, "{path}");
        }
    }
    server.stop();
}

/// Logs in, and returns the cookie.
fn log_in(server: &Server, token: &str) -> String {
    let answer = request_of(server, "POST", "/login", "Host: localhost\r\n", &format!("{{\"token\":\"{token}\"}}"));
    assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Strict") && !cookie.contains(token), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

#[test]
fn session_stands_for_token() {
    let (server, _) = start(config(guard().with_token_for_all()));
    let cookie = log_in(&server, VIEW);
    assert!(cookie.starts_with(SESSION_COOKIE), "{cookie}");
    let headers = format!("Host: localhost\r\nCookie: {cookie}\r\n");
    for path in ["/metrics", "/", "/api", "/debug"] {
        assert_eq!(status(&server, path, &headers), 200, "{path}");
    }
    assert_eq!(status(&server, "/api", &format!("Host: localhost\r\nCookie: {cookie}0\r\n")), 401);
    assert_eq!(request_of(&server, "POST", "/logout", &headers, "").status, 204);
    assert_eq!(status(&server, "/api", &headers), 401);
    server.stop();
}

// The files of the tokens have changed. Whoever has logged in by a former one must do so again.
#[test]
fn replaced_tokens_end_sessions() {
    const NEW: &str = "new-0123456789abcdef";
    let guard = guard().with_token_for_all();
    let (server, _) = start(config(guard.clone()));
    let bearer = |token: &str| format!("Host: localhost\r\nAuthorization: Bearer {token}\r\n");
    let cookie = format!("Host: localhost\r\nCookie: {}\r\n", log_in(&server, VIEW));
    guard.replace_tokens(Some(CONTROL.parse().unwrap()), Some(VIEW.parse().unwrap()));
    assert_eq!(status(&server, "/api", &cookie), 200, "nothing has changed");
    guard.replace_tokens(Some(NEW.parse().unwrap()), Some(VIEW.parse().unwrap()));
    assert_eq!(status(&server, "/api", &cookie), 401);
    assert_eq!([CONTROL, NEW, VIEW].map(|token| status(&server, "/drills", &bearer(token))), [401, 200, 401]);
    assert_eq!([CONTROL, NEW, VIEW].map(|token| status(&server, "/metrics", &bearer(token))), [401, 200, 200]);
    server.stop();
}

// A browser that opens the page gets a form, which works without scripts.
#[test]
fn browser_logs_in_by_form() {
    let (server, _) = start(config(guard().with_token_for_all()));
    let page = request_of(&server, "GET", "/", "Host: localhost\r\nAccept: text/html,*/*\r\n", "");
    assert_eq!((page.status, page.header("content-type")), (401, Some("text/html; charset=utf-8")));
    // It is sent to its own address, with the fragment that only the browser knows.
    assert!(page.body.contains("<form method=\"post\">") && !page.body.contains("<script"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let form = "Host: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nOrigin: http://localhost\r\n";
    for path in ["/", "/login"] {
        let refused = request_of(&server, "POST", path, form, "token=0123456789abcdef");
        assert!(refused.status == 401 && refused.body.contains("The token is wrong."), "{path}: {refused:?}");
        let entered = request_of(&server, "POST", path, form, &format!("token={VIEW}"));
        assert_eq!((entered.status, entered.header("location")), (303, Some("/")), "{path}");
        let cookie = entered.header("set-cookie").unwrap().split(';').next().unwrap();
        let headers = format!("Host: localhost\r\nAccept: text/html\r\nCookie: {cookie}\r\n");
        assert_eq!(status(&server, "/", &headers), 200, "{path}");
    }
    let foreign = form.replace("Origin: http://localhost", "Origin: http://evil.example");
    assert_eq!(request_of(&server, "POST", "/", &foreign, &format!("token={VIEW}")).status, 403);
    server.stop();
    // Without a token there is nothing to log in to.
    let (server, _) = start(config(Guard::default()));
    assert_eq!(request_of(&server, "POST", "/", form, "token=x").status, 405);
    server.stop();
}

#[test]
fn wrong_tokens_are_limited() {
    let (server, process) = start(config(guard()));
    for guess in 0..limits::GUESSES {
        let (headers, body) = ("Host: localhost\r\n", format!("{{\"token\":\"guess-{guess}\"}}"));
        assert_eq!(request_of(&server, "POST", "/login", headers, &body).status, 401);
    }
    // From now on a right token is refused too, so that nothing can be learned.
    let right = request_of(&server, "POST", "/login", "Host: localhost\r\n", &format!("{{\"token\":\"{VIEW}\"}}"));
    assert_eq!((right.status, right.header("retry-after")), (429, Some("2")));
    let headers = format!("Host: localhost\r\nAuthorization: Bearer {CONTROL}\r\n");
    assert_eq!(status(&server, "/drills", &headers), 429);
    assert_eq!(get(&server, "/metrics").status, 200, "what needs no token");
    let refusals = process.refusals();
    assert_eq!(refusals.iter().filter(|reason| **reason == "wrong_token").count(), limits::GUESSES as usize);
    assert_eq!(refusals[limits::GUESSES as usize..], ["guesses", "guesses"]);
    server.stop();
}

#[test]
fn bodies_are_bounded() {
    let headers = format!("Host: localhost\r\nAuthorization: Bearer {CONTROL}\r\n");
    let full = "x".repeat(limits::MAX_BODY_BYTES);
    let (patient, process) = start(config(guard()));
    assert_eq!(request_of(&patient, "PUT", "/drills", &headers, &full).body.len(), full.len());
    assert_eq!(process.refusals(), [""; 0]);
    patient.stop();
    let (server, process) = start(config(guard()).with_body_timeout(Duration::from_millis(50)));

    // Its length alone refuses it; nothing of it is sent.
    let announce = |method: &str, path: &str, headers: &str| {
        let mut stream = connect(&server);
        write!(stream, "{method} {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").unwrap();
        Answer::read(&mut stream)
    };
    let large = format!("{headers}Content-Length: {}\r\n", limits::MAX_BODY_BYTES + 1);
    assert_eq!(announce("PUT", "/drills", &large).status, 413);
    // Without access the body is not waited for.
    let stalled = "Content-Length: 10\r\n";
    assert_eq!(announce("PUT", "/drills", &format!("Host: localhost\r\n{stalled}")).status, 401);
    for (method, path) in [("PUT", "/drills"), ("POST", "/login"), ("POST", "/metrics")] {
        assert_eq!(announce(method, path, &format!("{headers}{stalled}")).status, 408, "{method} {path}");
    }
    assert_eq!(process.refusals(), ["body", "no_token", "body", "body", "body"]);
    server.stop();
}

// A client that has sent half a body has no right to keep a scraper out.
#[test]
fn stalled_bodies_leave_room() {
    let (server, _) = start(config(guard()).with_max_connections(4));
    let stalled: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nx").unwrap();
            stream
        })
        .collect();
    assert_eq!(get(&server, "/metrics").status, 200);
    server.stop();
    drop(stalled);
}

#[test]
fn responses_do_not_reflect_requests() {
    let (server, _) = start(config(Guard::default()));
    for (path, headers) in [
        ("/<s3cr3t>", "Host: localhost\r\n"),
        ("/api/s3cr3t", "Host: s3cr3t\r\n"),
        ("/metrics?s3cr3t", "Host: localhost\r\nAccept: s3cr3t\r\nX-S3cr3t: s3cr3t\r\n"),
        ("/drills", "Host: localhost\r\nAuthorization: Bearer s3cr3t-s3cr3t-s3cr3t\r\n"),
    ] {
        let answer = request(&server, "GET", path, headers);
        assert!(!format!("{}{}", answer.head, answer.body).to_lowercase().contains("s3cr3t"), "{answer:?}");
    }
    server.stop();
}

#[test]
fn listener_of_wildcard_address_is_guarded() {
    let process = Arc::<Process>::default();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let server = Server::start_with(listener, Arc::<Process>::clone(&process), config(Guard::default())).unwrap();
    let addr = ([127, 0, 0, 1], server.local_addr().port());
    let mut stream = std::net::TcpStream::connect(std::net::SocketAddr::from(addr)).unwrap();
    write!(stream, "GET /api HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(Answer::read(&mut stream).status, 200, "this connection is on a loopback address");
    server.stop();
}
