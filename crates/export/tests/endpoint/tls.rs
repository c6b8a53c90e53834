//! TLS of the endpoint, with certificates of a test authority.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use wasmetry_export::scrape::{Config, Guard, Server, ServerTls};

use crate::process::{PATIENCE, connect, start};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

fn tls() -> ServerTls {
    ServerTls::from_pem_files(&file("localhost.pem"), &file("localhost.key")).unwrap()
}

/// A connection of a client that trusts the authority of the tests.
fn secure(server: &Server) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("authority.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    StreamOwned::new(client, connect(server))
}

fn request(server: &Server, text: &str) -> String {
    let mut stream = secure(server);
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn scrapes_are_answered_by_tls() {
    let (server, process) = start(Config::default().with_tls(tls()));
    let answer = request(&server, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\ntest_events_total 7\n"), "{answer}");
    assert_eq!(process.refusals(), [""; 0]);
    server.stop();
    assert_eq!(process.delivered.lock().unwrap().len(), 1);
}

#[test]
fn cookie_of_tls_is_secure() {
    let guard = Guard::default().with_view_token("0123456789abcdef".parse().unwrap());
    let (server, _) = start(Config::default().with_tls(tls()).with_guard(guard));
    let body = "{\"token\":\"0123456789abcdef\"}";
    let answer = request(
        &server,
        &format!(
            "POST /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    assert!(answer.starts_with("HTTP/1.1 204 ") && answer.contains("SameSite=Strict; Secure"), "{answer}");
    server.stop();
}

#[test]
fn clients_without_tls_are_counted() {
    let config = Config::default().with_tls(tls()).with_header_timeout(Duration::from_millis(50));
    let (server, process) = start(config);
    let mut plain = connect(&server);
    plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // The server closes with an alert, or with a reset.
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let mut silent = connect(&server);
    assert_eq!(silent.read_to_end(&mut Vec::new()).unwrap(), 0);
    // The second one is counted after its stream was closed.
    let begin = Instant::now();
    while process.refused.lock().unwrap().len() < 2 && begin.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    assert_eq!(process.refusals(), ["tls", "tls"]);
    server.stop();
}

#[test]
fn stop_ignores_unfinished_handshakes() {
    let config = Config::default().with_tls(tls()).with_shutdown_timeout(Duration::from_secs(3600));
    let (server, _) = start(config);
    let silent = connect(&server);
    request(&server, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    server.stop();
    drop(silent);
}

#[test]
fn wrong_files_are_explained() {
    for (certificates, key, at_fault, cause) in [
        ("missing.pem", "localhost.key", "missing.pem", "No such file"),
        ("localhost.key", "localhost.key", "localhost.key", "there is no certificate in it"),
        ("README.md", "localhost.key", "README.md", "there is no certificate in it"),
        ("localhost.pem", "localhost.pem", "localhost.pem", "no items found"),
        ("localhost.pem", "other.key", "other.key", "it is the key of another certificate"),
    ] {
        let error = ServerTls::from_pem_files(&file(certificates), &file(key)).unwrap_err();
        let text = error.to_string();
        assert!(error.path.ends_with(at_fault) && text.contains(cause) && text.contains("PEM"), "{text}");
    }
}

// A certificate that is renewed is used by new connections; a faulty one is not.
#[test]
fn reload_replaces_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let (certificates, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
    std::fs::copy(file("localhost.pem"), &certificates).unwrap();
    std::fs::copy(file("localhost.key"), &key).unwrap();
    let tls = ServerTls::from_pem_files(&certificates, &key).unwrap();
    let (server, _) = start(Config::default().with_tls(tls.clone()));
    std::fs::copy(file("authority.pem"), &certificates).unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains("another certificate"));
    let health = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(request(&server, health).starts_with("HTTP/1.1 200 "));
    std::fs::copy(file("localhost.pem"), &certificates).unwrap();
    tls.reload().unwrap();
    assert!(request(&server, health).starts_with("HTTP/1.1 200 "));
    server.stop();
}
