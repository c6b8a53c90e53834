//! The address and the name of a connection: an address that has passed the check, and the name
//! that the guest wrote. The addresses are given as a resolver would return them.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A listener that must get no connection, and its address.
fn untouched() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn is_untouched(listener: &TcpListener) -> bool {
    listener.accept().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// A policy that refuses one address of this machine.
fn refusing(addr: SocketAddr) -> Policy {
    let policy = Policy::default();
    policy.own.add(addr);
    policy
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A file of the test authority, whose certificate `localhost.pem` is for `localhost` and 127.0.0.1
/// only.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../export/tests/certificates").join(name)
}

/// The configuration of a client that trusts the test authority.
fn trusting() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("authority.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Starts a TLS server that answers each connection with the name that its client has sent.
async fn name_server() -> SocketAddr {
    let chain = CertificateDer::pem_file_iter(file("localhost.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(file("localhost.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that refuses the certificate ends the handshake.
            let Ok(mut stream) = TlsAcceptor::from(Arc::clone(&config)).accept(stream).await else { continue };
            let name = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
            let _ = stream.write_all(name.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    addr
}

// A name with a refused and an allowed address, in either order: the refused one gets no packet,
// and the one that was checked is the one that is connected to.
#[tokio::test]
async fn refused_address_of_name_is_skipped() {
    let (refused, bad) = untouched();
    let allowed = TcpListener::bind("127.0.0.1:0").unwrap();
    let good = allowed.local_addr().unwrap();
    let policy = refusing(bad);
    for addresses in [vec![bad, good], vec![good, bad], vec![bad, good, bad]] {
        let (transport, address) = open("service.test", addresses, None, &policy, deadline()).await.unwrap();
        let Transport::Plain(stream) = transport else { panic!("there is no TLS") };
        assert_eq!((address, stream.peer_addr().unwrap()), (good, good));
        assert_eq!(allowed.accept().unwrap().1, stream.local_addr().unwrap());
    }
    let failure = open("service.test", vec![bad], None, &policy, deadline()).await.err().unwrap();
    assert!(matches!(failure, Failure::Denied(Denial::OwnListener)), "{failure:?}");
    assert!(is_untouched(&refused));
}

// An address that does not answer leads to the next one that has passed, not to a refused one.
#[tokio::test]
async fn closed_address_leads_to_checked_one() {
    let (refused, bad) = untouched();
    // Bound, so that no other program gets the port, and not listening.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let gone = closed.local_addr().unwrap();
    let allowed = TcpListener::bind("127.0.0.1:0").unwrap();
    let good = allowed.local_addr().unwrap();
    let (_, address) = open("service.test", vec![gone, bad, good], None, &refusing(bad), deadline()).await.unwrap();
    assert_eq!(address, good);
    let failure = open("service.test", vec![gone, bad], None, &refusing(bad), deadline()).await.err().unwrap();
    assert!(matches!(failure, Failure::Error(Error::ConnectionRefused)), "{failure:?}");
    assert!(is_untouched(&refused));
}

// TLS has the name that the guest wrote, not the address that was checked: the server gets it, and
// its certificate must be for it.
#[tokio::test]
async fn tls_keeps_name_of_checked_address() {
    let (refused, bad) = untouched();
    let server = name_server().await;
    let policy = refusing(bad);
    let open = |host: &'static str, addresses| open(host, addresses, Some(trusting()), &policy, deadline());
    let (transport, address) = open("localhost", vec![bad, server]).await.unwrap();
    assert_eq!(address, server);
    let Transport::Tls(mut stream) = transport else { panic!("there is TLS") };
    let mut name = String::new();
    stream.read_to_string(&mut name).await.unwrap();
    assert_eq!(name, "localhost");
    // The same address by another name, and by its own.
    for host in ["service.test", "[::1]"] {
        let failure = open(host, vec![bad, server]).await.err().unwrap();
        assert!(matches!(failure, Failure::Error(Error::TlsCertificateError)), "{host}: {failure:?}");
    }
    assert!(is_untouched(&refused));
}
