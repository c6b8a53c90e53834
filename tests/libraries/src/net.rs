//! Libraries for protocols and services. All but tungstenite use `tracing`.

use std::convert::Infallible;
use std::future::Future;
use std::io::{Cursor, Read, Write};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures_util::future::join;
use http::{Request, Response};
use tower::{Layer as _, Service as _, ServiceExt as _};

/// Polls a future to its end. Nothing here waits for anything outside of the guest.
fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("the future waits for nothing");
}

/// A connection whose peer has sent everything.
struct Connection {
    received: Cursor<Vec<u8>>,
    sent: Vec<u8>,
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.received.read(buffer)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.sent.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) fn open_websocket() {
    let request = "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let connection = Connection { received: Cursor::new(request.into()), sent: Vec::new() };
    let mut socket = tungstenite::accept(connection).expect("the handshake is valid");
    socket.send(tungstenite::Message::text("hello")).expect("the connection is open");
    assert!(socket.get_ref().sent.starts_with(b"HTTP/1.1 101"));
}

pub(crate) fn send_request() {
    let (client, server) = tokio::io::duplex(64 << 10);
    let serve = async {
        let mut connection = h2::server::handshake(server).await.expect("the client shakes hands");
        while let Some(request) = connection.accept().await {
            let (request, mut respond) = request.expect("the request is valid");
            assert_eq!(request.uri().path(), "/cart");
            respond.send_response(Response::new(()), true).expect("the stream is open");
        }
    };
    let send = async {
        let (client, connection) = h2::client::handshake(client).await.expect("the server shakes hands");
        let request = async move {
            let mut client = client.ready().await.expect("the connection is open");
            let request = Request::get("http://localhost/cart").body(()).expect("the request is valid");
            let (response, _) = client.send_request(request, true).expect("the stream is open");
            assert_eq!(response.await.expect("there is a response").status(), 200);
        };
        let (connection, ()) = join(connection, request).await;
        connection.expect("the connection ends well");
    };
    run(join(serve, send));
}

pub(crate) fn buffer_requests() {
    let double = tower::service_fn(|number: u32| async move { Ok::<_, Infallible>(2 * number) });
    let (mut buffer, worker) = tower::buffer::Buffer::pair(double, 4);
    let requests = async move {
        let service = buffer.ready().await.expect("the worker lives");
        let (first, second) = (service.call(1), service.clone().oneshot(2));
        let answers = join(first, second).await;
        drop(buffer);
        answers
    };
    let (answers, ()) = run(join(requests, worker));
    assert_eq!((answers.0.ok(), answers.1.ok()), (Some(2), Some(4)));

    let mut cache = tower::ready_cache::ReadyCache::default();
    cache.push("shop", tower::service_fn(|number: u32| async move { Ok::<_, Infallible>(number) }));
    let pending = |context: &mut Context<'_>| cache.poll_pending(context).map(|result| result.is_ok());
    assert!(run(std::future::poll_fn(pending)));
}

pub(crate) fn trace_request() {
    let echo = tower::service_fn(|request: Request<http_body_util::Full<bytes::Bytes>>| async move {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let service = tower_http::trace::TraceLayer::new_for_http().layer(echo);
    let request = Request::get("/cart").body(http_body_util::Full::from("three items")).expect("the request is valid");
    let response = run(service.oneshot(request)).expect("the service answers");
    assert_eq!(response.status(), 200);
}
