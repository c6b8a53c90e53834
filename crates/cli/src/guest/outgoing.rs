//! The requests that guests send to other services, each with a client span and the trace's
//! headers.
//!
//! A request passes four steps, each with errors of its own: `resolve` the host's name, `check` the
//! addresses by the component's `policy`, `connect` to one of them (over `tls` for https), and
//! `exchange` request and response. It has a connection of the `budget` from the first step on.
//!
//! A redirect is a response like any other: the guest that follows it sends a new request, which
//! passes all steps again.

mod address;
pub(crate) mod budget;
mod check;
mod client_header;
mod connect;
mod error;
mod exchange;
pub(crate) mod policy;
mod resolve;
mod tls;

use std::sync::Arc;

use http::header::HeaderName;
use http::{Request, Response};
use http_body_util::BodyExt;
use wasmetry_wasmtime::{ClientSpans, ObservedComponent};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::flag::outgoing::OutgoingArgs;
use crate::guest::limits;
use crate::guest::share::Owner;
use budget::{ConnectionSlot, ProcessConnections, StoreConnections, TenantConnections};
use connect::Failure;
use policy::{Denial, OwnListeners, Policy};

/// The access of the guests of one component to other services.
pub(crate) struct Access {
    policy: Policy,
    connections: TenantConnections,
    component: ObservedComponent,
}

impl Access {
    fn new(policy: Policy, connections: &ProcessConnections, component: ObservedComponent) -> Self {
        let connections = connections.tenant(Owner::of(component.identity()));
        Self { policy, connections, component }
    }

    /// Counts a request that was refused, and returns the guest's error.
    fn refuse(&self, denial: Denial) -> Error {
        self.component.refuse_outgoing(denial.label());
        match denial {
            Denial::Address | Denial::OwnListener | Denial::Private => Error::DestinationIpProhibited,
            Denial::Store | Denial::Tenant | Denial::Process => Error::ConnectionLimitReached,
        }
    }
}

/// The state that the access of all components shares: the listeners and the connections of this
/// process. A clone is of the same.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) own: OwnListeners,
    pub(crate) connections: ProcessConnections,
}

impl Network {
    /// Makes the access of a component.
    pub(crate) fn access(&self, settings: &OutgoingArgs, component: ObservedComponent) -> Access {
        Access::new(settings.policy(&self.own), &self.connections, component)
    }
}

/// Sends the requests of one guest.
pub(crate) struct Outgoing {
    spans: ClientSpans,
    access: Arc<Access>,
    connections: StoreConnections,
}

impl Outgoing {
    /// Makes the sender of a guest's requests, whose client spans are made by `spans`.
    pub(crate) fn new(spans: ClientSpans, access: Arc<Access>) -> Self {
        let connections = access.connections.store();
        Self { spans, access, connections }
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
        let of_client = client_header::unset(request.headers());
        let span = self.spans.begin(&mut request);
        let (access, slot) = (Arc::clone(&self.access), self.connections.take());
        Box::new(async move {
            let sent = match slot {
                Ok(slot) => send(&access, slot, request, &of_client, options.unwrap_or_default()).await,
                Err(denial) => Err(access.refuse(denial)),
            };
            match sent {
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

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        limits::BODY_CHUNK
    }
}

/// Sends a request. The headers `of_client` are those that the host has added for the guest's
/// client.
async fn send(
    access: &Access,
    slot: ConnectionSlot,
    mut request: Request<WasiBody>,
    of_client: &[HeaderName],
    options: RequestOptions,
) -> Result<(Response<WasiBody>, Io), Error> {
    let stream = match connect::connect(request.uri(), &options, &access.policy, slot).await {
        Ok(stream) => stream,
        Err(Failure::Denied(denial)) => return Err(access.refuse(denial)),
        Err(Failure::Error(error)) => return Err(error),
    };
    let host = request.uri().host().unwrap_or_default().to_owned();
    if !access.policy.propagates_to(&host, stream.address()) {
        client_header::remove(request.headers_mut(), of_client);
    }
    let (response, io) = exchange::exchange(stream, request, &options).await?;
    Ok((response.map(BodyExt::boxed_unsync), Box::new(io)))
}
