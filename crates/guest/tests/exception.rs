//! Errors that handlers return, by their types.

#![allow(clippy::unnecessary_wraps, reason = "a handler may never succeed")]

use std::error::Error;
use std::fmt;

/// An error with a type parameter and a source.
#[derive(Debug)]
struct CartError<T>(T);

impl<T: fmt::Debug> fmt::Display for CartError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot load cart {:?}", self.0)
    }
}

impl<T: fmt::Debug> Error for CartError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&fmt::Error)
    }
}

/// An error without a text.
struct Silent;

/// An error that is only a text.
struct Shown;

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shown")
    }
}

/// A box of any error, as `anyhow` has it: it is no error itself.
#[derive(Debug)]
struct Report(Box<dyn Error + Send + Sync>);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsRef<dyn Error + Send + Sync> for Report {
    fn as_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl AsRef<dyn Error> for Report {
    fn as_ref(&self) -> &(dyn Error + 'static) {
        &*self.0
    }
}

#[wasmetry::handler]
fn typed() -> Result<(), CartError<u8>> {
    Err(CartError(7))
}

#[wasmetry::handler]
fn boxed() -> Result<(), Box<dyn Error>> {
    Err(CartError(7))?
}

#[wasmetry::handler]
async fn sent() -> Result<http::Response<()>, Box<dyn Error + Send + Sync>> {
    Err(CartError(7))?
}

#[wasmetry::handler]
fn reported() -> Result<(), Report> {
    Err(Report(Box::new(CartError(7u8))))
}

#[wasmetry::handler]
fn text() -> Result<(), String> {
    Err("out of stock".to_owned())
}

#[wasmetry::handler]
fn shown() -> Result<(), Shown> {
    Err(Shown)
}

#[wasmetry::handler]
fn silent() -> Result<(), Silent> {
    Err(Silent)
}

fn kind(report: &Report) -> String {
    if report.0.is::<CartError<u8>>() { "cart".to_owned() } else { "other".to_owned() }
}

#[wasmetry::handler(error_type = kind)]
fn named() -> Result<(), Report> {
    Err(Report(Box::new(CartError(7u8))))
}

#[wasmetry::handler]
fn fine() -> Result<u8, CartError<u8>> {
    Ok(7)
}

#[wasmetry::handler]
fn plain() -> u8 {
    7
}

#[test]
fn errors_have_types_and_causes() {
    let recorded = wasmetry::testing::capture();
    let _ = (typed(), boxed(), reported(), text(), shown(), silent(), named(), fine(), plain());
    let mut future = std::pin::pin!(sent());
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(Future::poll(future.as_mut(), &mut task).is_ready());
    let cart = "cannot load cart 7: an error occurred when formatting an argument";
    let cart = |kind: &str| format!("ERROR {cart} exception.type={kind:?} exception.message=\"cannot load cart 7\"");
    let silent = "the handler returned an error";
    let plain = |kind: &str, text: &str| format!("ERROR {text} exception.type={kind:?} exception.message={text:?}");
    recorded.assert_logs(
        &[
            cart("exception::CartError"),
            cart("_OTHER"),
            cart("_OTHER"),
            plain("_OTHER", "out of stock"),
            plain("exception::Shown", "shown"),
            plain("exception::Silent", silent),
            cart("cart"),
            cart("_OTHER"),
        ]
        .each_ref()
        .map(String::as_str),
    );
}
