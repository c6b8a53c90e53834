//! The guard of the endpoint: which clients may request a path.
//!
//! In comes the head of a request with its connection's addresses; out comes permission, or the
//! response of a refusal, which is counted by the [`Source`](super::Source). It does not know the
//! content of any path.
//!
//! | area | paths | required |
//! |---|---|---|
//! | public | `/metrics`, `/healthz`, `/readyz`, `/sd` | nothing; a token or a session with [`Guard::with_token_for_all`] |
//! | view | `/`, `/api`, `/debug` | a `Host` of this endpoint, no other origin; and a loopback address, a token or a session |
//! | login | `/login`, `/logout`, the form of `/` | a `Host` of this endpoint, no other origin |
//! | control | `/recording` and others | the token of control in each request; a session is not enough |

mod guess;
mod host;
mod session;
mod token;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use http::header::{AUTHORIZATION, FORWARDED, HeaderName, HeaderValue, RETRY_AFTER, VIA, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};

use super::login;
use super::response::{Body, PLAIN, answer};
use crate::limits;
use guess::Guesses;
pub use session::SESSION_COOKIE;
use session::Sessions;
pub use token::{InvalidToken, Token};

/// The tokens, names and sessions by which clients get access to the endpoint.
///
/// A clone shares the sessions and the counts of wrong tokens.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    tokens: Arc<RwLock<Tokens>>,
    is_token_for_all: bool,
    hosts: Vec<String>,
    clients: Arc<Clients>,
}

/// The tokens that open paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tokens {
    control: Option<Token>,
    view: Option<Token>,
}

/// The clients that have sent tokens.
#[derive(Debug, Default)]
struct Clients {
    sessions: Mutex<Sessions>,
    guesses: Mutex<Guesses>,
}

/// The addresses of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The address that the client has connected to.
    pub(crate) local: SocketAddr,
    /// The client's address.
    pub(crate) remote: SocketAddr,
    pub(crate) is_tls: bool,
}

impl Peer {
    /// Returns the client's network, which stands for the client.
    pub(super) fn network(&self) -> IpAddr {
        network(self.remote.ip())
    }
}

/// Returns the address of the network that one client has: of IPv6, a /64.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// The area of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Area {
    Public,
    View,
    Login,
    Control,
}

/// The reason why a request or a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The token is missing.
    NoToken,
    /// The token is wrong.
    WrongToken,
    /// The client has sent too many wrong tokens.
    Guesses,
    /// The path is shown on loopback addresses only, as no token is configured.
    Remote,
    /// The `Host` is not a name of this endpoint.
    Host,
    /// A page of another origin has caused the request.
    Origin,
    /// The body is too large, or did not arrive in time.
    Body,
    /// TLS could not be established.
    Tls,
    /// All connections have requests in progress.
    Connections,
}

impl Refusal {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::NoToken,
        Self::WrongToken,
        Self::Guesses,
        Self::Remote,
        Self::Host,
        Self::Origin,
        Self::Body,
        Self::Tls,
        Self::Connections,
    ];

    /// Returns the name of the reason as the value of a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::Guesses => "guesses",
            Self::Remote => "remote",
            Self::Host => "host",
            Self::Origin => "origin",
            Self::Body => "body",
            Self::Tls => "tls",
            Self::Connections => "connections",
        }
    }

    /// Returns the response of the refusal. It has no part of the request.
    pub(super) fn response(self) -> Response<Body> {
        let (status, text) = match self {
            Self::NoToken => {
                (StatusCode::UNAUTHORIZED, "the token is missing; send it as `Authorization: Bearer TOKEN`\n")
            }
            Self::WrongToken => {
                (StatusCode::UNAUTHORIZED, "the token is wrong; send it as `Authorization: Bearer TOKEN`\n")
            }
            Self::Guesses => (StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens; try again in a few seconds\n"),
            Self::Remote => (
                StatusCode::FORBIDDEN,
                "this path is shown to clients on a loopback address only; to open it to others, start the process with \
                 --telemetry-token-file\n",
            ),
            Self::Host => (
                StatusCode::MISDIRECTED_REQUEST,
                "this path is not shown under this host name; use `localhost` or the address, or start the process with \
                 --telemetry-host NAME\n",
            ),
            Self::Origin => (StatusCode::FORBIDDEN, "a page of another origin must not request this path\n"),
            Self::Body => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n"),
            Self::Tls => (StatusCode::BAD_REQUEST, "TLS is required\n"),
            Self::Connections => (StatusCode::SERVICE_UNAVAILABLE, "there are too many clients\n"),
        };
        let mut response = answer(status, PLAIN, text);
        let headers = response.headers_mut();
        match self {
            Self::NoToken | Self::WrongToken => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Guesses => {
                headers.insert(RETRY_AFTER, HeaderValue::from(limits::GUESS_INTERVAL.as_secs()));
            }
            _ => {}
        }
        response
    }
}

impl Guard {
    /// Sets the token that opens everything: what is shown, and the paths that change the process.
    #[must_use]
    pub fn with_control_token(mut self, token: Token) -> Self {
        self.tokens = Arc::new(RwLock::new(Tokens { control: Some(token), ..self.tokens() }));
        self
    }

    /// Sets a token that opens what is shown, and changes nothing.
    #[must_use]
    pub fn with_view_token(mut self, token: Token) -> Self {
        self.tokens = Arc::new(RwLock::new(Tokens { view: Some(token), ..self.tokens() }));
        self
    }

    /// Replaces the tokens, of this guard and its clones. If they differ from the former ones, all
    /// sessions end.
    ///
    /// An endpoint that was started without a token of control gets no paths of control by it.
    pub fn replace_tokens(&self, control: Option<Token>, view: Option<Token>) {
        let tokens = Tokens { control, view };
        let mut current = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        if *current != tokens {
            *current = tokens;
            *lock(&self.clients.sessions) = Sessions::default();
        }
    }

    /// Requires a token for every path, `/metrics` and those of health checks included, on loopback
    /// addresses too. Without a token nothing is answered.
    #[must_use]
    pub fn with_token_for_all(mut self) -> Self {
        self.is_token_for_all = true;
        self
    }

    /// Adds a host name under which a browser may open the endpoint, without a port.
    #[must_use]
    pub fn with_host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// Returns `true` if there is a token that opens the paths of control.
    pub fn has_control_token(&self) -> bool {
        self.tokens().control.is_some()
    }

    /// Returns `true` if there is a token to log in with.
    pub(super) fn has_token(&self) -> bool {
        !self.tokens().is_empty()
    }

    /// Checks the access of a request.
    pub(super) fn check(&self, area: Area, head: &Parts, peer: &Peer) -> Result<(), Refusal> {
        match area {
            Area::Public if !self.is_token_for_all => Ok(()),
            Area::Public => self.check_credentials(head, peer),
            Area::Login => self.check_site(head, peer, false),
            Area::View => {
                self.check_site(head, peer, head.uri.path() == "/")?;
                if !self.is_token_for_all && is_local(head, peer) { Ok(()) } else { self.check_credentials(head, peer) }
            }
            Area::Control => self.check_token(bearer(&head.headers), peer, &Tokens { view: None, ..self.tokens() }),
        }
    }

    /// Returns the response of a refusal. A browser that opens the page gets the form to log in.
    pub(super) fn refuse(&self, refusal: Refusal, head: &Parts) -> Response<Body> {
        let is_page = head.uri.path() == "/" && login::accepts_html(&head.headers);
        match refusal {
            Refusal::NoToken if is_page => {
                let mut response = login::page(StatusCode::UNAUTHORIZED, "");
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                response
            }
            refusal => refusal.response(),
        }
    }

    /// Checks that a request names this endpoint, and that no other site has caused it.
    fn check_site(&self, head: &Parts, peer: &Peer, allows_links: bool) -> Result<(), Refusal> {
        if !host::is_own(head, peer.local, &self.hosts) {
            return Err(Refusal::Host);
        }
        if host::is_cross_origin(head, allows_links) {
            return Err(Refusal::Origin);
        }
        Ok(())
    }

    /// Checks that a request has a token or a session.
    fn check_credentials(&self, head: &Parts, peer: &Peer) -> Result<(), Refusal> {
        let bearer = bearer(&head.headers);
        let address = peer.remote.ip();
        if bearer.is_none() && lock(&self.clients.sessions).contain(&head.headers, address, Instant::now()) {
            return Ok(());
        }
        self.check_token(bearer, peer, &self.tokens())
    }

    fn tokens(&self) -> Tokens {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks a token against those that open a path, and counts a wrong one.
    fn check_token(&self, token: Option<&[u8]>, peer: &Peer, accepted: &Tokens) -> Result<(), Refusal> {
        if accepted.is_empty() {
            return Err(Refusal::Remote);
        }
        let Some(token) = token else { return Err(Refusal::NoToken) };
        let (address, now) = (peer.remote.ip(), Instant::now());
        let mut guesses = lock(&self.clients.guesses);
        if !guesses.is_allowed(address, now) {
            return Err(Refusal::Guesses);
        }
        // Each token is compared, so that the time does not depend on which one matches.
        let accepted = [&accepted.control, &accepted.view].into_iter().flatten();
        let matching = accepted.filter(|accepted| accepted.matches(token));
        if matching.count() == 0 {
            guesses.record(address, now);
            return Err(Refusal::WrongToken);
        }
        Ok(())
    }

    /// Opens a session for the token in the body of a request.
    pub(super) fn log_in(&self, request: &Request<Bytes>, peer: &Peer) -> (Response<Body>, Option<Refusal>) {
        // Held until the session is open: replacing the tokens ends it then.
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        if tokens.is_empty() {
            let text = "not found: no token is configured; start the process with --telemetry-token-file\n";
            return (answer(StatusCode::NOT_FOUND, PLAIN, text), None);
        }
        let is_form = login::is_form(request.headers());
        let token = if is_form { login::form_token(request.body()) } else { login::json_token(request.body()) };
        if let Err(refusal) = self.check_token(token.as_deref().map(str::as_bytes), peer, &tokens) {
            let response = if is_form { login::refused_form(refusal) } else { refusal.response() };
            return (response, Some(refusal));
        }
        let cookie = lock(&self.clients.sessions).open(peer.remote.ip(), peer.is_tls, Instant::now());
        let Some(cookie) = cookie else {
            let text = "the system has no random bytes for a session\n";
            return (answer(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, text), None);
        };
        (login::done(is_form, Some(cookie)), None)
    }

    /// Ends the session of a request.
    pub(super) fn log_out(&self, request: &Request<Bytes>, peer: &Peer) -> Response<Body> {
        let cookie = lock(&self.clients.sessions).close(request.headers(), peer.remote.ip(), peer.is_tls);
        login::done(login::is_form(request.headers()), cookie)
    }
}

impl Tokens {
    fn is_empty(&self) -> bool {
        self.control.is_none() && self.view.is_none()
    }
}

/// Locks a state that no panic leaves inconsistent.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the token of a request's header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let header = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = header.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Returns `true` if a client is on this machine: both addresses of its connection are loopback
/// addresses, and no proxy has forwarded the request.
fn is_local(head: &Parts, peer: &Peer) -> bool {
    const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    let is_forwarded = [FORWARDED, VIA, FORWARDED_FOR, REAL_IP].iter().any(|name| head.headers.contains_key(name));
    is_loopback(peer.local.ip()) && is_loopback(peer.remote.ip()) && !is_forwarded
}
