//! Panics, and the errors that handlers return, as records of the request.
//!
//! Each is one record of `crates/abi/FORMAT.md`, section 6; the host makes a log, an event of the
//! span and the span's status of it.

use core::error::Error;
use core::fmt;
use core::panic::Location;

use wasmetry_abi::ring::ExceptionCause;

use crate::host;
use crate::record;
use crate::record::argument::Arg;
use crate::record::field::Wrap;
use crate::sync::{AtomicBool, Ordering};

/// The target of panics, whose module is not known.
const PANIC: &str = "panic";

/// The type of errors whose type says nothing, such as that of `anyhow`.
///
/// Source: OpenTelemetry, semantic conventions, `error.type`.
const OTHER: &str = "_OTHER";

/// The reason of an error that has no text.
const NO_REASON: &str = "the handler returned an error";

/// The most sources of an error that are recorded; a source may be its own source.
const CAUSES: usize = 16;

/// `true` once the panic hook is set.
static HOOKED: AtomicBool = AtomicBool::new(false);

/// Returns `true` if the panic hook is not set yet. From then on, it counts as set.
#[doc(hidden)]
pub fn must_set_hook() -> bool {
    !HOOKED.swap(true, Ordering::Relaxed)
}

/// Records a panic. A host that cannot read memory is sent the region, since the guest ends.
#[doc(hidden)]
#[cold]
#[inline(never)]
pub fn panicked(message: &dyn fmt::Display, location: Option<&Location<'_>>) {
    // The panic may come from a value that was formatted for a record.
    record::abandon();
    let (file, line, column) =
        location.map_or(("", 0, 0), |location| (location.file(), location.line(), location.column()));
    let place = Place { target: PANIC, file, line, column };
    record_exception(ExceptionCause::Panic, place, "panic", Arg::Display(message), &"");
    host::push_unasked();
}

/// A place in the source, and its target.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub target: &'a str,
    pub file: &'a str,
    pub line: u32,
    pub column: u32,
}

fn record_exception(cause: ExceptionCause, place: Place<'_>, kind: &str, message: Arg<'_>, causes: &dyn fmt::Display) {
    let (line, column) = (Arg::Unsigned(place.line.into()), Arg::Unsigned(place.column.into()));
    let (file, target) = (Arg::Text(place.file), Arg::Text(place.target));
    record::exception(cause, &[file, line, column, target, Arg::Text(kind), message, Arg::Display(causes)]);
}

/// The result of a handler, which may be an error.
#[doc(hidden)]
pub trait Fails<'a> {
    type Error;
    fn failure(&self) -> Option<&'a Self::Error>;
}

impl<'a, T, E> Fails<'a> for &Wrap<'a, Result<T, E>> {
    type Error = E;

    fn failure(&self) -> Option<&'a E> {
        self.0.as_ref().err()
    }
}

/// The result of a handler, which is no error.
#[doc(hidden)]
pub trait Succeeds<'a> {
    fn failure(&self) -> Option<&'a core::convert::Infallible>;
}

impl<'a, T: ?Sized> Succeeds<'a> for Wrap<'a, T> {
    fn failure(&self) -> Option<&'a core::convert::Infallible> {
        None
    }
}

/// An error of any type.
#[doc(hidden)]
pub trait AnyError {
    fn record(&self, place: Place<'_>, kind: Option<&str>);
}

impl<E> AnyError for Wrap<'_, E> {
    fn record(&self, place: Place<'_>, kind: Option<&str>) {
        fail(place, type_or::<E>(kind), &NO_REASON, None);
    }
}

/// An error with a text.
#[doc(hidden)]
pub trait DisplayError {
    fn record(&self, place: Place<'_>, kind: Option<&str>);
}

impl<E: fmt::Display> DisplayError for &Wrap<'_, E> {
    fn record(&self, place: Place<'_>, kind: Option<&str>) {
        fail(place, type_or::<E>(kind), self.0, None);
    }
}

/// An error in a box.
#[doc(hidden)]
pub trait BoxedError {
    fn record(&self, place: Place<'_>, kind: Option<&str>);
}

impl<E: AsRef<dyn Error> + fmt::Display> BoxedError for &&Wrap<'_, E> {
    fn record(&self, place: Place<'_>, kind: Option<&str>) {
        fail(place, kind.unwrap_or(OTHER), self.0, self.0.as_ref().source());
    }
}

/// An error in a box that can be sent, as `anyhow` and `eyre` have.
#[doc(hidden)]
pub trait SendError {
    fn record(&self, place: Place<'_>, kind: Option<&str>);
}

impl<E: AsRef<dyn Error + Send + Sync> + fmt::Display> SendError for &&&Wrap<'_, E> {
    fn record(&self, place: Place<'_>, kind: Option<&str>) {
        fail(place, kind.unwrap_or(OTHER), self.0, self.0.as_ref().source());
    }
}

/// An error of a type of its own.
#[doc(hidden)]
pub trait TypedError {
    fn record(&self, place: Place<'_>, kind: Option<&str>);
}

impl<E: Error> TypedError for &&&&Wrap<'_, E> {
    fn record(&self, place: Place<'_>, kind: Option<&str>) {
        fail(place, type_or::<E>(kind), self.0, self.0.source());
    }
}

/// Records the error that a handler returns.
#[cold]
#[inline(never)]
fn fail(place: Place<'_>, kind: &str, error: &dyn fmt::Display, source: Option<&dyn Error>) {
    record_exception(ExceptionCause::Error, place, kind, Arg::Display(error), &Causes(source));
}

/// The sources of an error, one in a line.
struct Causes<'a>(Option<&'a dyn Error>);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut source = self.0;
        for index in 0..CAUSES {
            let Some(error) = source else { break };
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// The type that a handler's option has named, else that of the error.
fn type_or<E: ?Sized>(named: Option<&str>) -> &str {
    match named {
        Some(named) => named,
        None => type_name::<E>(),
    }
}

/// The name of an error's type as the attribute `error.type` has it: its path without parameters,
/// and [`OTHER`] for texts and boxes of any error.
fn type_name<E: ?Sized>() -> &'static str {
    shorten(core::any::type_name::<E>())
}

fn shorten(mut name: &'static str) -> &'static str {
    // Texts are no types of errors, nor is what has no path: `()`, numbers, tuples.
    const TEXTS: [&str; 2] = ["alloc::string::String", "alloc::borrow::Cow"];
    const BOXES: [&str; 3] = ["alloc::boxed::Box<", "alloc::rc::Rc<", "alloc::sync::Arc<"];
    name = name.trim_start_matches('&');
    while let Some(inner) = BOXES.into_iter().find_map(|prefix| name.strip_prefix(prefix)) {
        name = inner;
    }
    let end = name.find(['<', '>', ',']).unwrap_or(name.len());
    let name = name.get(..end).unwrap_or(name);
    let has_path = name.contains("::") && !name.starts_with(['(', '[']);
    if !has_path || name.starts_with("dyn ") || TEXTS.contains(&name) { OTHER } else { name }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::borrow::Cow;
    use std::boxed::Box;
    use std::rc::Rc;
    use std::string::{String, ToString as _};

    struct Generic<T>(core::marker::PhantomData<T>);

    #[test]
    fn types_lose_their_parameters() {
        let own = "wasmetry::request::exception::tests::Generic";
        assert_eq!(type_name::<Generic<String>>(), own);
        assert_eq!(type_name::<Box<Generic<u8>>>(), own);
        assert_eq!(type_name::<Rc<Box<Generic<(u8, u8)>>>>(), own);
        assert_eq!(type_name::<&Generic<u8>>(), own);
        assert_eq!(type_name::<fmt::Error>(), "core::fmt::Error");
        assert_eq!([type_name::<()>(), type_name::<u32>(), type_name::<(fmt::Error, u8)>()], [OTHER; 3]);
        let opaque =
            [type_name::<Box<dyn Error>>(), type_name::<String>(), type_name::<&str>(), type_name::<Cow<'_, str>>()];
        assert_eq!(opaque, [OTHER; 4]);
    }

    #[test]
    fn endless_sources_end() {
        #[derive(Debug)]
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("again")
            }
        }
        impl Error for Endless {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(self)
            }
        }
        assert_eq!(Causes(Some(&Endless)).to_string().lines().count(), CAUSES);
        assert_eq!(Causes(None).to_string(), "");
    }
}
