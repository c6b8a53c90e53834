//! A collector that takes OTLP by each of its transports, decodes it with the OpenTelemetry project's own types, and answers 400
//! to what they do not take.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Read;
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use wasmetry_host::encode::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use wasmetry_host::encode::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use wasmetry_host::encode::otlp::proto::common::v1::any_value::Value;
use wasmetry_host::encode::otlp::proto::common::v1::{AnyValue, KeyValue};
use wasmetry_host::encode::otlp::proto::logs::v1::LogRecord;
use wasmetry_host::encode::otlp::proto::trace::v1::Span;

/// How long what is waited for may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// How OTLP is carried: as `OTEL_EXPORTER_OTLP_PROTOCOL` names it.
pub const PROTOCOLS: [&str; 3] = ["grpc", "http/protobuf", "http/json"];

/// Attributes by their keys, with every value as a text.
pub type Attributes = BTreeMap<String, String>;

/// What has arrived.
#[derive(Clone, Debug, Default)]
pub struct Arrived {
    /// Spans, each with the attributes of its resource.
    pub spans: Vec<(Attributes, Span)>,
    /// Log records, likewise.
    pub logs: Vec<(Attributes, LogRecord)>,
    /// The requests that are no OTLP, and why.
    pub refused: Vec<String>,
}

#[derive(Default)]
struct Shared {
    arrived: Mutex<Arrived>,
    changed: Condvar,
}

/// A running collector. It ends when it is dropped.
pub struct Collector {
    /// What to set `OTEL_EXPORTER_OTLP_ENDPOINT` to.
    pub endpoint: String,
    /// What to set `OTEL_EXPORTER_OTLP_PROTOCOL` to.
    pub protocol: &'static str,
    shared: Arc<Shared>,
    _stop: watch::Sender<()>,
}

impl Collector {
    /// Takes OTLP by one of [`PROTOCOLS`], on a free port.
    pub fn start(protocol: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared::default());
        let (stop, mut stopped) = watch::channel(());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let stream = tokio::select! {
                        _ = stopped.changed() => return,
                        accepted = listener.accept() => TokioIo::new(accepted.unwrap().0),
                    };
                    let shared = Arc::clone(&served);
                    // A connection that breaks is its client's affair.
                    tokio::spawn(async move {
                        if protocol == "grpc" {
                            let service = service_fn(move |request| grpc(Arc::clone(&shared), request));
                            http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await
                        } else {
                            let service = service_fn(|request| http(&shared, protocol, request));
                            http1::Builder::new().serve_connection(stream, service).await
                        }
                    });
                }
            });
        });
        Self { endpoint, protocol, shared, _stop: stop }
    }

    /// The environment variables that send everything here, without waiting for more to send along.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.endpoint.clone()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", self.protocol.to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "10".to_owned()),
            ("OTEL_BLRP_SCHEDULE_DELAY", "10".to_owned()),
        ]
    }

    /// Waits until what has arrived is as the test wants it, and returns it.
    ///
    /// # Panics
    ///
    /// Panics, with what has arrived, if that takes too long or something was refused.
    pub fn wait(&self, mut is_done: impl FnMut(&Arrived) -> bool) -> Arrived {
        let arrived = self.shared.arrived.lock().unwrap();
        let (arrived, timeout) =
            self.shared.changed.wait_timeout_while(arrived, PATIENCE, |arrived| !is_done(arrived)).unwrap();
        assert_eq!(arrived.refused, [""; 0]);
        assert!(!timeout.timed_out(), "{arrived:#?}");
        arrived.clone()
    }
}

/// Takes a request by HTTP.
async fn http(
    shared: &Shared,
    protocol: &str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let content_type = if protocol == "http/json" { "application/json" } else { "application/x-protobuf" };
    let found = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let result = if head.method != Method::POST || found != content_type.as_bytes() {
        Err(format!("{} of {}", head.method, String::from_utf8_lossy(found)))
    } else {
        unpack(head.headers.get(CONTENT_ENCODING), body)
            .and_then(|body| shared.take(head.uri.path(), &body, protocol == "http/json"))
    };
    let is_taken = shared.note(result);
    // An empty message, in both encodings, says that all of it was taken.
    let answer = if protocol == "http/json" { "{}" } else { "" };
    let mut response = Response::new(Full::new(Bytes::from_static(answer.as_bytes())));
    *response.status_mut() = if is_taken { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// Takes a unary call.
///
/// Source: gRPC over HTTP2, the protocol's own description.
async fn grpc(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<impl Body<Data = Bytes, Error = Infallible> + use<>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = match head.uri.path() {
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => "/v1/logs",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => "/v1/traces",
        other => other,
    };
    let result = match body.split_at_checked(5) {
        Some((&[flag, a, b, c, d], message)) if u32::from_be_bytes([a, b, c, d]) as usize == message.len() => {
            let encoding = head.headers.get("grpc-encoding").filter(|_| flag == 1);
            unpack(encoding, Bytes::copy_from_slice(message)).and_then(|message| shared.take(path, &message, false))
        }
        _ => Err("not one message".to_owned()),
    };
    let status = if shared.note(result) { "0" } else { "3" };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let message = Full::new(Bytes::from_static(&[0; 5]));
    let mut response = Response::new(message.with_trailers(std::future::ready(Some(Ok(trailers)))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(response)
}

fn unpack(encoding: Option<&HeaderValue>, body: Bytes) -> Result<Bytes, String> {
    match encoding.map_or(&b""[..], HeaderValue::as_bytes) {
        b"" | b"identity" => Ok(body),
        b"gzip" => {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain).map_err(|error| error.to_string())?;
            Ok(plain.into())
        }
        other => Err(format!("encoding {}", String::from_utf8_lossy(other))),
    }
}

impl Shared {
    /// Takes one message.
    fn take(&self, path: &str, body: &[u8], is_json: bool) -> Result<(), String> {
        fn decode<M: Message + Default + DeserializeOwned>(body: &[u8], is_json: bool) -> Result<M, String> {
            if is_json {
                serde_json::from_slice(body).map_err(|error| error.to_string())
            } else {
                M::decode(body).map_err(|error| error.to_string())
            }
        }
        let mut arrived = self.arrived.lock().unwrap();
        match path {
            "/v1/traces" => {
                for of in decode::<ExportTraceServiceRequest>(body, is_json)?.resource_spans {
                    let resource = attributes(&of.resource.unwrap_or_default().attributes);
                    let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
                    arrived.spans.extend(spans.map(|span| (resource.clone(), span)));
                }
            }
            "/v1/logs" => {
                for of in decode::<ExportLogsServiceRequest>(body, is_json)?.resource_logs {
                    let resource = attributes(&of.resource.unwrap_or_default().attributes);
                    let logs = of.scope_logs.into_iter().flat_map(|scope| scope.log_records);
                    arrived.logs.extend(logs.map(|log| (resource.clone(), log)));
                }
            }
            other => return Err(format!("path {other}")),
        }
        Ok(())
    }

    /// Notes what was refused; returns whether nothing was.
    fn note(&self, result: Result<(), String>) -> bool {
        let is_taken = result.is_ok();
        if let Err(cause) = result {
            self.arrived.lock().unwrap().refused.push(cause);
        }
        self.changed.notify_all();
        is_taken
    }
}

/// Attributes by their keys.
pub fn attributes(attributes: &[KeyValue]) -> Attributes {
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute.value.as_ref()))).collect()
}

/// A value as a text.
pub fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(is_true)) => is_true.to_string(),
        other => format!("{other:?}"),
    }
}
