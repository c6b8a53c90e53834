//! The form by which a browser logs in, and the bodies of its requests.
//!
//! The form needs neither scripts nor other files, so it is shown before anything else is. It is
//! shown at `/` and sent there: its address has the fragment of the link that was opened, and a
//! browser keeps the fragment on the way to where it is led.

use bytes::Bytes;
use http::header::{
    ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, REFERRER_POLICY, SET_COOKIE,
};
use http::{Response, StatusCode};
use serde::Deserialize;

use super::guard::Refusal;
use super::response::{Body, HTML, answer};

const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// The policy of the form. The hash is that of [`STYLE`]: a browser that finds another one names it
/// in its console, where `tests/page.rs` fails.
const POLICY: &str = "default-src 'none'; style-src 'sha256-IX36vYlx245jszNgSl8YHS9srhjHAwNTYRkWGTRTNuU='; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The look of the form, in the document because other files need the token.
const STYLE: &str = "\
:root { color-scheme: light dark; --ground: #f7f8fa; --panel: #fff; --line: #c3c8d1; --text: #171b23; --accent: #5140cc; --on: #fff; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
:root { --ground: #0d0f14; --panel: #14171e; --line: #3d4452; --text: #e5e8ee; --accent: #a99fff; --on: #14112e; --bad: #ff8a80; }
}
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--ground); color: var(--text); font: 13px/1.45 system-ui, sans-serif; }
main { box-sizing: border-box; width: min(100%, 360px); padding: 16px; }
form { display: grid; gap: 10px; padding: 24px; background: var(--panel); border: 1px solid var(--line); border-radius: 10px; }
h1, p { margin: 0; }
h1 { font-size: 17px; }
label { font-weight: 600; }
input, button { font: inherit; min-height: 34px; padding: 3px 9px; border: 1px solid var(--line); border-radius: 6px; background: var(--panel); color: var(--text); }
button { background: var(--accent); border-color: var(--accent); color: var(--on); font-weight: 500; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
[role=status]:not(:empty) { color: var(--bad); }
";

/// Returns `true` if a client requests a page.
pub(super) fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| value.contains("text/html"))
}

/// Returns `true` if a body comes from a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM_TYPE))
}

/// Returns the token of a form's body. A token has no character that a form escapes but `%`, `+`
/// and the like, which are decoded.
pub(super) fn form_token(body: &[u8]) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    let value = body.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    let mut token = Vec::new();
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        token.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    Some(String::from_utf8(token).ok()?.trim().to_owned())
}

/// Returns the token of a body in JSON: `{"token": "…"}`.
pub(super) fn json_token(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Login {
        token: String,
    }
    serde_json::from_slice::<Login>(body).ok().map(|login| login.token)
}

/// Returns the form, with a line about the last attempt.
pub(super) fn page(status: StatusCode, line: &'static str) -> Response<Body> {
    let text = format!(
        "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta name=\"color-scheme\" content=\"light dark\">
<title>wasmetry: log in</title>
<style>{STYLE}</style>
<main>
<form method=\"post\">
<h1>wasmetry</h1>
<p>This address needs the token that its process was started with (--telemetry-token-file or --telemetry-view-token-file).</p>
<label for=\"token\">Token</label>
<input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus aria-describedby=\"status\">
<p role=\"status\" id=\"status\">{line}</p>
<button>Log in</button>
</form>
</main>
</html>
"
    );
    let mut response = answer(status, HTML, text);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// Returns the form after a token was refused.
pub(super) fn refused_form(refusal: Refusal) -> Response<Body> {
    let refused = refusal.response();
    let line = match refusal {
        Refusal::Guesses => "Too many wrong tokens; try again in a few seconds.",
        _ => "The token is wrong. It is the content of the file that the process was started with.",
    };
    let mut response = page(refused.status(), line);
    for (name, value) in refused.headers() {
        response.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    response
}

/// Returns the response to a login or a logout: a form leads to the page, without a fragment, so
/// that the browser's own stays (RFC 9110, section 10.2.2).
pub(super) fn done(is_form: bool, cookie: Option<HeaderValue>) -> Response<Body> {
    let mut response = match is_form {
        true => answer(StatusCode::SEE_OTHER, HTML, Bytes::new()),
        false => answer(StatusCode::NO_CONTENT, HTML, Bytes::new()),
    };
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    if is_form {
        headers.insert(LOCATION, HeaderValue::from_static("/"));
    }
    headers.extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_from_bodies() {
        assert_eq!(form_token(b"a=b&token=0%31%2B2+").as_deref(), Some("01+2"));
        for wrong in [&b"tokens=1"[..], b"token=%", b"token=%1", b"token=%zz", b"token=%ff", b"token=\xff"] {
            assert_eq!(form_token(wrong), None, "{wrong:?}");
        }
        assert_eq!(json_token(br#"{"token":"x"}"#).as_deref(), Some("x"));
        for wrong in [&b""[..], b"{}", b"\"x\"", br#"{"token":1}"#, br#"{"token":"x","b":1}"#] {
            assert_eq!(json_token(wrong), None, "{wrong:?}");
        }
    }
}
