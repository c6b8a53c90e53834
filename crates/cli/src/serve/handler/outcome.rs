//! The end of a guest: its outcome, and its wait at the deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use http::StatusCode;

use super::body::Upload;
use super::response::Delivery;

/// The end of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It returned.
    Returned,
    /// It set an error code in place of a response.
    Declined,
    /// It trapped, or its instance could not be made.
    Trapped,
    /// It was ended at its deadline.
    TimedOut,
    /// It waited at its deadline for a client that stalled.
    ClientTimedOut,
    /// It failed after its client had left.
    ClientGone,
    /// It failed, or set no response, after the request's body had exceeded its limit.
    BodyTooLarge,
    /// It was ended because the process shuts down.
    Killed,
}

impl Outcome {
    /// The status of the host's answer if the guest set no response.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Returned | Self::Declined | Self::Trapped => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::ClientTimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::ClientGone => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Killed => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The text of the host's answer if the guest set no response.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Returned => "the service gave no response",
            Self::Declined | Self::Trapped => "the service failed",
            Self::TimedOut => "the service did not respond in time",
            Self::ClientTimedOut => "the request did not arrive in time",
            Self::ClientGone => "the request is incomplete",
            Self::BodyTooLarge => "the request's body is too large; send less",
            Self::Killed => "the service is shutting down",
        }
    }
}

/// The end of a guest's task.
pub(super) enum Ended {
    /// The guest ended by itself, or is killed.
    Itself(wasmtime::Result<()>),
    /// At its deadline, the guest waits for the client: for the rest of the upload, or until the
    /// client reads the response.
    WaitingForClient,
    /// At its deadline, the guest waits for something else.
    Waiting,
}

impl Ended {
    /// Returns what a guest waits for at its deadline. It is polled once more, so that its waker
    /// shows it.
    pub(super) fn wait_of(
        guest: Pin<&mut impl Future<Output = wasmtime::Result<()>>>,
        upload: &Upload,
        delivery: &Delivery,
    ) -> Self {
        upload.start_poll();
        let woken = Arc::new(WakeFlag::default());
        let waker = Waker::from(Arc::clone(&woken));
        // If it has just stopped waiting, the epoch ends it now.
        if let Poll::Ready(result) = guest.poll(&mut Context::from_waker(&waker)) {
            return Self::Itself(result);
        }
        woken.is_woken.store(false, Ordering::Relaxed);
        // Reading what the guest has written wakes a guest that waits to write more.
        let is_client_slow = delivery.is_client_slow() && woken.is_woken.load(Ordering::Relaxed);
        if upload.is_awaited() || is_client_slow { Self::WaitingForClient } else { Self::Waiting }
    }
}

/// A waker that notes that it was woken.
#[derive(Default)]
struct WakeFlag {
    is_woken: AtomicBool,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Relaxed);
    }
}
