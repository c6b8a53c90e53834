//! A logger for the crate `log` that records into a guest's own memory, as wasmetry's `info!` does.
//!
//! A library's record becomes a log of the current span, with its level, target, file and line, and
//! with the time and the trace of the request.
//!
//! ```
//! // Once in each instance, before the first log: at the beginning of `main` or of the handler.
//! wasmetry_log::init();
//!
//! # let recorded = wasmetry::testing::capture();
//! log::info!("cart of {} loaded", "Ada");
//! # recorded.assert_logs(&["INFO cart of Ada loaded"]);
//! ```
//!
//! # Levels and cost
//!
//! The host decides which levels are recorded, also while the guest runs; `log::max_level` follows
//! it, so a log that is not recorded costs a load and a comparison. A message without arguments is
//! not copied: it is part of the call site, which is defined once in an instance. Any other message
//! is formatted in the guest, because `log` passes it on only in that form; the text is cut after
//! 1 KiB.
//!
//! With the feature `kv`, integers, floats, booleans and texts of `log`'s structured fields keep
//! their types; values of other types are formatted.
//!
//! # What it does not do
//!
//! It has no filter of its own, formats no line and writes nowhere: that is the host's part. It
//! does not allocate. `wasmetry inspect` cannot list the call sites, because they are in no section
//! of the binary. An instance can define about 400 call sites; logs of further ones lose their
//! file, line and fields, and are counted as `wasmetry_dropped_total{reason="site_table_full"}`.

#![no_std]

#[cfg(feature = "kv")]
mod field;
mod site;

use core::sync::atomic::{AtomicBool, Ordering};

use log::{LevelFilter, Log, Metadata, Record};
use wasmetry::dynamic::{self, Arg, Level, Parent};

wasmetry::declare_facade!("log");

/// The logger.
///
/// [`init`] installs it. Use it by itself for a logger of your own that passes records on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Logger;

/// Installs the logger, and sets `log`'s maximum level whenever the host changes it.
///
/// Returns `false`, and changes nothing, if the program has another logger. It may be called any
/// number of times.
pub fn init() -> bool {
    static LOGGER: Logger = Logger;
    static IS_INSTALLING: AtomicBool = AtomicBool::new(false);
    static IS_INSTALLED: AtomicBool = AtomicBool::new(false);
    // One thread at a time: the next one sees what this one has installed.
    while IS_INSTALLING.swap(true, Ordering::Acquire) {
        core::hint::spin_loop();
    }
    if log::set_logger(&LOGGER).is_ok() {
        IS_INSTALLED.store(true, Ordering::Relaxed);
    }
    let is_installed = IS_INSTALLED.load(Ordering::Relaxed);
    IS_INSTALLING.store(false, Ordering::Release);
    if is_installed {
        static LISTENER: fn(Level) = set_max_level;
        dynamic::on_level_change(&LISTENER);
    }
    is_installed
}

fn set_max_level(level: Level) {
    log::set_max_level(match level {
        Level::Off => LevelFilter::Off,
        Level::Error => LevelFilter::Error,
        Level::Warn => LevelFilter::Warn,
        Level::Info => LevelFilter::Info,
        Level::Debug => LevelFilter::Debug,
        Level::Trace => LevelFilter::Trace,
    });
}

fn level(level: log::Level) -> Level {
    match level {
        log::Level::Error => Level::Error,
        log::Level::Warn => Level::Warn,
        log::Level::Info => Level::Info,
        log::Level::Debug => Level::Debug,
        log::Level::Trace => Level::Trace,
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        dynamic::is_audit(metadata.target()) || dynamic::is_enabled(level(metadata.level()))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // A message without arguments is the site's text, if it needs no escape there.
        let literal = record.args().as_str().filter(|text| !text.contains(['{', '}']));
        let message = match literal {
            Some(_) => None,
            None => Some(Arg::Display(record.args())),
        };
        #[cfg(feature = "kv")]
        field::with(record, |keys, values| write(record, literal, message, keys, values));
        #[cfg(not(feature = "kv"))]
        write(record, literal, message, &[], &[]);
    }

    fn flush(&self) {
        wasmetry::publish();
    }
}

/// Writes a record, whose message is its site's text or the first argument.
fn write(
    record: &Record<'_>,
    literal: Option<&'static str>,
    message: Option<Arg<'_>>,
    keys: &[&str],
    values: &[Arg<'_>],
) {
    let is_audit = dynamic::is_audit(record.target());
    let Some(site) = site::of(record, literal, is_audit, keys) else {
        let message = message.unwrap_or(Arg::Text(literal.unwrap_or_default()));
        return dynamic::log_without_site(Parent::Current, level(record.level()), is_audit, message, record.target());
    };
    let mut arguments = [Arg::Bool(false); dynamic::ARGUMENTS];
    let mut count = 0;
    for (place, value) in arguments.iter_mut().zip(message.iter().chain(values)) {
        *place = *value;
        count += 1;
    }
    dynamic::log(Parent::Current, site, is_audit, arguments.get(..count).unwrap_or_default());
}
