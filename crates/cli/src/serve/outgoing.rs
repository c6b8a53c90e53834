//! The requests that guests send: each with a client span and the trace's headers.

use http::{Request, Response};
use http_body_util::BodyExt;
use wasmetry_wasmtime::ClientSpans;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, default_send_request};

/// Sends one guest's requests.
pub(super) struct Outgoing {
    pub(super) spans: ClientSpans,
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Io,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Io), Error>> + Send> {
        let span = self.spans.begin(&mut request);
        Box::new(async move {
            match default_send_request(request, options).await {
                Ok((response, io)) => {
                    span.answered(response.status().as_u16());
                    Ok((response.map(BodyExt::boxed_unsync), Box::new(io) as Io))
                }
                Err(error) => {
                    span.failed(kind(&error), &error.to_string());
                    Err(error)
                }
            }
        })
    }
}

/// A name for what went wrong, of which there are few.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::Connect(_) | Error::ConnectionRefused => "connection_refused",
        Error::ConnectionTimeout | Error::ConnectionReadTimeout | Error::ConnectionWriteTimeout => "timeout",
        Error::HttpResponseTimeout | Error::DnsTimeout => "timeout",
        Error::DnsError { .. } | Error::InvalidDnsNameError(_) | Error::DestinationNotFound => "dns_error",
        Error::Tls(_) | Error::TlsProtocolError | Error::TlsCertificateError | Error::TlsAlertReceived { .. } => {
            "tls_error"
        }
        Error::ConnectionTerminated | Error::HttpResponseIncomplete => "connection_terminated",
        Error::HttpRequestDenied | Error::DestinationIpProhibited => "denied",
        _ => "protocol_error",
    }
}
