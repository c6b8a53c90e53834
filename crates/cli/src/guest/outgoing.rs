//! The requests that guests send to other services, each with a client span and the trace's
//! headers.
//!
//! A request passes four steps, each with errors of its own: `resolve` the host's name, `check` the
//! addresses, `connect` to one of them (over `tls` for https), and `exchange` request and response.

mod check;
mod connect;
mod error;
mod exchange;
mod resolve;
mod tls;

use http::{Request, Response};
use http_body_util::BodyExt;
use wasmetry_wasmtime::ClientSpans;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// Sends the requests of one guest.
pub(crate) struct Outgoing {
    spans: ClientSpans,
}

impl Outgoing {
    /// Makes the sender of a guest's requests, whose client spans are made by `spans`.
    pub(crate) fn new(spans: ClientSpans) -> Self {
        Self { spans }
    }
}

/// The work of a connection, which must be polled until the response's body is complete.
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
            match send(request, options.unwrap_or_default()).await {
                Ok((response, io)) => {
                    span.answered(response.status().as_u16());
                    Ok((response, io))
                }
                Err(error) => {
                    span.failed(error::type_name(&error), &error.to_string());
                    Err(error)
                }
            }
        })
    }
}

async fn send(request: Request<WasiBody>, options: RequestOptions) -> Result<(Response<WasiBody>, Io), Error> {
    let stream = connect::connect(request.uri(), &options).await?;
    let (response, io) = exchange::exchange(stream, request, &options).await?;
    Ok((response.map(BodyExt::boxed_unsync), Box::new(io)))
}
