//! The state of one instance of the core: a registry, with its components and instances by handle.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use wasmetry_export::scrape::{Format, Negotiated};
use wasmetry_host::encode::{openmetrics, prometheus};
use wasmetry_host::{Declarations, Family, Identity, Instrument, Registry};

use crate::error::Error;
use crate::guest::{Guest, Metrics, Observed};
use crate::handle::Handles;
use crate::message::Message;

/// Copies bytes at an address of the guest that JavaScript has selected; returns `false` if its
/// memory ends before.
pub(crate) type Copy = fn(u64, &mut [u8]) -> bool;

/// The formats, in the order of JavaScript's numbers for them.
const FORMATS: [Format; 2] = [Format::Text, Format::OpenMetrics];

/// A registry and its components and instances.
#[derive(Debug)]
pub(crate) struct State {
    registry: Registry,
    metrics: Metrics,
    components: Handles<Arc<Observed>>,
    by_identity: HashMap<Identity, u32>,
    guests: Handles<Guest>,
}

impl Default for State {
    fn default() -> Self {
        let registry = Registry::new();
        Self {
            metrics: Metrics::new(&registry),
            registry,
            components: Handles::new("component"),
            by_identity: HashMap::new(),
            guests: Handles::new("instance"),
        }
    }
}

impl State {
    /// Registers a component. Input: name, version, tenant, and the descriptor sections, or the
    /// binary if `sections` is 0.
    pub(crate) fn component(&mut self, input: &[u8], sections: u32) -> Result<u32, Error> {
        let mut message = Message::new(input);
        let [name, version, tenant] = [message.text()?, message.text()?, message.text()?];
        let identity = Identity::new(name).with_version(version).with_tenant(tenant);
        let declarations = if sections == 0 {
            Declarations::from_wasm(message.bytes()?)?
        } else {
            let sections: Result<Vec<_>, _> = (0..sections).map(|_| message.bytes()).collect();
            Declarations::from_sections(sections?)
        };
        let component = self.registry.component(identity.clone(), declarations.clone());
        let observed = Observed::new(component, declarations, &self.metrics);
        // The same identity has the same handle, so that a host which registers often does not fill
        // the memory.
        if let Some(handle) = self.by_identity.get(&identity)
            && let Ok(known) = self.components.get(*handle)
        {
            *known = observed;
            return Ok(*handle);
        }
        let handle = self.components.insert(observed);
        self.by_identity.insert(identity, handle);
        Ok(handle)
    }

    /// Returns the warnings for the author of a component.
    pub(crate) fn warnings(&mut self, component: u32) -> Result<Vec<String>, Error> {
        Ok(self.components.get(component)?.warnings())
    }

    /// Starts an instance of a component.
    pub(crate) fn start(&mut self, component: u32) -> Result<u32, Error> {
        let observed = self.components.get(component)?.clone();
        Ok(self.guests.insert(Guest::start(observed)))
    }

    /// Returns `true` if regions of this version can be read.
    pub(crate) fn admit(&mut self, abi: u32) -> bool {
        let is_ours = abi == wasmetry_abi::VERSION;
        if !is_ours {
            self.registry.dropped("metrics", "format_version").inc();
        }
        is_ours
    }

    /// Opens a region of an instance that sends batches; returns its number, or 0 if the instance
    /// has too many.
    pub(crate) fn open(&mut self, guest: u32) -> Result<u32, Error> {
        Ok(self.guests.get(guest)?.open())
    }

    /// Receives a batch.
    pub(crate) fn push(&mut self, guest: u32, batch: &[u8], now: Duration) -> Result<(), Error> {
        self.guests.get(guest)?.push(batch, now);
        Ok(())
    }

    /// Attaches a region in the instance's memory.
    pub(crate) fn attach(&mut self, guest: u32, header: u64) -> Result<(), Error> {
        if !self.guests.get(guest)?.attach(header) {
            self.registry.dropped("metrics", "region_limit").inc();
        }
        Ok(())
    }

    /// Reads the regions in the instance's memory.
    pub(crate) fn read(&mut self, guest: u32, copy: Copy, now: Duration) -> Result<(), Error> {
        self.guests.get(guest)?.read(copy, now);
        Ok(())
    }

    /// Sets the size of the instance's linear memory.
    pub(crate) fn set_memory(&mut self, guest: u32, pages: u32) -> Result<(), Error> {
        self.guests.get(guest)?.set_memory(pages);
        Ok(())
    }

    /// Counts a trap of the instance's guest, with its reason.
    pub(crate) fn trapped(&mut self, guest: u32, reason: &str) -> Result<(), Error> {
        self.guests.get(guest)?.trapped(reason);
        Ok(())
    }

    /// Ends an instance.
    pub(crate) fn end(&mut self, guest: u32, copy: Copy, now: Duration) -> Result<(), Error> {
        self.guests.remove(guest)?.end(copy, now);
        Ok(())
    }

    /// Records in a metric of the host. Input: name, help, the keys of its labels, their values,
    /// and a histogram's bounds.
    ///
    /// Returns the reason if the metric is rejected, so that it is not exported.
    pub(crate) fn record(
        &mut self,
        input: &[u8],
        operation: u32,
        labels: u32,
        value: f64,
    ) -> Result<Option<String>, Error> {
        let mut message = Message::new(input);
        let (name, help) = (message.text()?, message.text()?);
        let (keys, values) = (message.texts(labels)?, message.texts(labels)?);
        let registry = &self.registry;
        let rejected = match operation {
            0 => record_in(&registry.float_counter(name, help, &keys), &values, |counter| counter.add(value)),
            1 => record_in(&registry.gauge(name, help, &keys), &values, |gauge| gauge.set(value)),
            2 => record_in(&registry.gauge(name, help, &keys), &values, |gauge| gauge.add(value as i64)),
            3 => {
                let bounds = message.numbers()?;
                let histogram = registry.histogram(name, help, &keys, &bounds);
                record_in(&histogram, &values, |histogram| histogram.observe(value))
            }
            number => return Err(Error::Choice { what: "operation", number }),
        };
        if message.is_empty() { Ok(rejected) } else { Err(Error::Input) }
    }

    /// Chooses a format for the value of an `Accept` header.
    pub(crate) fn negotiate(accept: &[u8]) -> u32 {
        let accept = HeaderValue::from_bytes(accept).ok();
        let format = Format::negotiate(&accept);
        FORMATS.iter().zip(0..).find(|(known, _)| **known == format).map_or(0, |(_, number)| number)
    }

    /// Returns the media type of a format, with the parameters that the value of an `Accept` header
    /// requests.
    pub(crate) fn content_type(number: u32, accept: &[u8]) -> Result<HeaderValue, Error> {
        let format = format(number)?;
        let negotiated = Negotiated::new(&HeaderValue::from_bytes(accept).ok());
        let is_requested = negotiated.format() == format;
        Ok(if is_requested { negotiated.content_type() } else { HeaderValue::from_static(format.content_type()) })
    }

    /// Encodes the values of all series in a format.
    pub(crate) fn encode(&self, number: u32, now: Duration) -> Result<String, Error> {
        let format = format(number)?;
        let snapshot = self.registry.snapshot(now);
        Ok(match format {
            Format::OpenMetrics => openmetrics::encode(&snapshot),
            _ => prometheus::encode(&snapshot),
        })
    }
}

/// Records in the series of a family with these label values. Returns the reason if the family is
/// rejected.
fn record_in<M: Instrument>(family: &Family<M>, values: &[&str], record: impl FnOnce(M)) -> Option<String> {
    record(family.with(values));
    family.rejected().map(ToString::to_string)
}

fn format(number: u32) -> Result<Format, Error> {
    let known = usize::try_from(number).ok().and_then(|index| FORMATS.get(index));
    known.copied().ok_or(Error::Choice { what: "format", number })
}
