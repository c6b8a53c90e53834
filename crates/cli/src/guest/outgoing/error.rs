//! The errors of outgoing requests, and their names in client spans.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use wasmtime_wasi_http::Error;

/// Returns the value of the attribute `error.type`: the name of the error code that the guest gets.
///
/// Source: the error codes of wasi:http are those of RFC 9209, section 2.3, whose registry writes
/// them with underscores. OpenTelemetry's HTTP conventions leave the names to the instrumentation,
/// and require that there are few.
pub(super) fn type_name(error: &Error) -> &'static str {
    match error {
        Error::DnsTimeout => "dns_timeout",
        Error::DnsError { .. } | Error::InvalidDnsNameError(_) => "dns_error",
        Error::DestinationNotFound => "destination_not_found",
        Error::DestinationUnavailable => "destination_unavailable",
        Error::DestinationIpProhibited => "destination_ip_prohibited",
        Error::DestinationIpUnroutable => "destination_ip_unroutable",
        Error::ConnectionRefused | Error::Connect(_) => "connection_refused",
        Error::ConnectionTerminated => "connection_terminated",
        Error::ConnectionTimeout => "connection_timeout",
        Error::ConnectionReadTimeout => "connection_read_timeout",
        Error::ConnectionWriteTimeout => "connection_write_timeout",
        Error::ConnectionLimitReached => "connection_limit_reached",
        Error::TlsProtocolError | Error::Tls(_) => "tls_protocol_error",
        Error::TlsCertificateError => "tls_certificate_error",
        Error::TlsAlertReceived { .. } => "tls_alert_received",
        Error::HttpRequestDenied => "http_request_denied",
        Error::HttpRequestBodySize(_)
        | Error::HttpRequestLengthRequired
        | Error::HttpRequestMethodInvalid
        | Error::HttpRequestUriInvalid
        | Error::HttpRequestUriTooLong
        | Error::HttpRequestHeaderSectionSize(_)
        | Error::HttpRequestHeaderSize { .. }
        | Error::HttpRequestTrailerSectionSize(_)
        | Error::HttpRequestTrailerSize { .. } => "http_request_error",
        Error::HttpResponseIncomplete => "http_response_incomplete",
        Error::HttpResponseHeaderSectionSize(_) => "http_response_header_section_size",
        Error::HttpResponseHeaderSize { .. } => "http_response_header_size",
        Error::HttpResponseBodySize(_) => "http_response_body_size",
        Error::HttpResponseTrailerSectionSize(_) => "http_response_trailer_section_size",
        Error::HttpResponseTrailerSize { .. } => "http_response_trailer_size",
        Error::HttpResponseTransferCoding(_) => "http_response_transfer_coding",
        Error::HttpResponseContentCoding(_) => "http_response_content_coding",
        Error::HttpResponseTimeout => "http_response_timeout",
        Error::HttpUpgradeFailed => "http_upgrade_failed",
        Error::LoopDetected => "proxy_loop_detected",
        Error::ConfigurationError => "proxy_configuration_error",
        Error::InternalError(_) => "proxy_internal_error",
        _ => "http_protocol_error",
    }
}

/// Converts the error of a connection that could not be opened.
pub(super) fn of_connect(error: &io::Error) -> Error {
    if is_resource_exhausted(error) {
        return Error::ConnectionLimitReached;
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        ErrorKind::TimedOut => Error::ConnectionTimeout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
            Error::DestinationIpUnroutable
        }
        _ => of_connection(error).unwrap_or(Error::DestinationUnavailable),
    }
}

/// Converts the error of an open connection, if the other side has closed it.
pub(super) fn of_connection(error: &io::Error) -> Option<Error> {
    let is_closed = matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
    );
    is_closed.then_some(Error::ConnectionTerminated)
}

/// Converts an error of the HTTP exchange.
///
/// One that the guest itself caused, by its request's body, is passed on as it is.
pub(super) fn of_exchange(error: hyper::Error) -> Error {
    if error.is_timeout() {
        return Error::HttpResponseTimeout;
    }
    if error.is_incomplete_message() {
        return Error::HttpResponseIncomplete;
    }
    if error.is_parse_too_large() {
        return Error::HttpResponseHeaderSectionSize(None);
    }
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    cause.and_then(of_connection).unwrap_or(Error::Hyper(error))
}

/// Returns `true` if this process or system has run out of file descriptors.
pub(super) fn is_resource_exhausted(error: &io::Error) -> bool {
    // EMFILE and ENFILE, for which the standard library has no kind.
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_errors() {
        let of = |kind: ErrorKind| type_name(&of_connect(&kind.into()));
        assert_eq!(of(ErrorKind::ConnectionRefused), "connection_refused");
        assert_eq!(of(ErrorKind::TimedOut), "connection_timeout");
        assert_eq!(of(ErrorKind::NetworkUnreachable), "destination_ip_unroutable");
        assert_eq!(of(ErrorKind::ConnectionReset), "connection_terminated");
        assert_eq!(of(ErrorKind::PermissionDenied), "destination_unavailable");
        #[cfg(unix)]
        assert_eq!(type_name(&of_connect(&io::Error::from_raw_os_error(24))), "connection_limit_reached");
    }
}
