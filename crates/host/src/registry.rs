//! The registry: all metrics of one process.
//!
//! In come declarations, the reads of instances, and values of the host. Out come [`Snapshot`]s of
//! all series. It knows which component owns which name and series, but not how guests' memory is
//! laid out, what a format looks like, or what time it is.

pub(crate) mod component;
pub(crate) mod drop_reason;
pub(crate) mod family;
pub(crate) mod identity;
pub(crate) mod instrument;
mod log_counter;
pub(crate) mod owner;
pub(crate) mod start_time;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmetry_abi::name;

use crate::declaration::Metric;
use crate::{Declarations, Identity, Rejected, Snapshot, limits};
use component::{Component, ComponentState, Resolution, family_of};
use family::{Families, FamilyInfo, FamilyKind, Owner};
use instrument::{AnyFamily, Counter, Family, FloatCounter, Gauge, Histogram, Instrument};
use owner::{SeriesOwner, SeriesOwners};
use start_time::Clock;

/// The family of all drops, wherever they happen.
const DROPPED: &str = "wasmetry_dropped_total";

/// All metrics of one process: those of its components and those of the host. A clone is the same
/// registry.
///
/// ```
/// use std::time::Duration;
/// use wasmetry_host::{Declarations, Identity, Registry, encode};
///
/// let registry = Registry::new();
/// let wasm = b"\0asm\x0d\0\x01\0";
/// let component = registry.component(Identity::new("storefront"), Declarations::from_wasm(wasm)?);
/// let traps = registry.counter("wasm_traps_total", "Traps.", &["component", "reason"]);
/// traps.with(&[component.identity().component(), "unreachable"]).inc();
/// let text = encode::prometheus::encode(&registry.snapshot(Duration::ZERO));
/// assert!(text.contains("wasm_traps_total{component=\"storefront\",reason=\"unreachable\"} 1\n"));
/// # Ok::<(), wasmetry_host::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dropped: Family<Counter>,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    families: Families,
    host: BTreeMap<String, AnyFamily>,
    /// In the order of the output.
    components: BTreeMap<Identity, Arc<ComponentState>>,
    owners: SeriesOwners,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// Creates a registry with `wasmetry_build_info`, and without start times.
    pub fn new() -> Self {
        Self::with(Clock::default())
    }

    /// Creates a registry whose series have [start times](crate::Series::created). `clock` returns
    /// the wall clock in nanoseconds since 1970-01-01 00:00 UTC.
    ///
    /// It is read when a component is registered, when a series of the host is made, and when a
    /// series with a text label is first found.
    pub fn with_clock(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self::with(Clock::new(clock))
    }

    fn with(clock: Clock) -> Self {
        let keys = [Identity::KEYS[0], Identity::KEYS[1], Identity::KEYS[2], "signal", "reason"];
        let help = "Telemetry that was lost or redirected, and why.";
        let info = FamilyInfo::new(DROPPED, FamilyKind::Counter, help, "", &[]);
        let mut state = State::default();
        let info = state.families.claim(info.clone(), Owner::Host).unwrap_or_else(|_| Arc::new(info));
        let dropped = Family::new(info, &keys, &clock);
        state.host.insert(DROPPED.to_owned(), AnyFamily::Counter(dropped.clone()));
        let registry = Self { inner: Arc::new(Inner { dropped, clock, state: Mutex::new(state) }) };
        let build = registry.gauge("wasmetry_build_info", "The version of wasmetry that serves this.", &["version"]);
        build.with(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        registry
    }

    /// Registers a component. The same identity has the same series again.
    ///
    /// A metric whose name another component has declared with another type, unit or buckets is not
    /// exported, unless that component is [retired](Component::retire); see
    /// [`Component::conflicts`].
    pub fn component(&self, identity: Identity, declarations: Declarations) -> Component {
        let mut state = self.state();
        state.remove_expired(None);
        for metric in declarations.metrics() {
            state.withdraw_conflicting(&family_of(metric));
        }
        let metrics: HashSet<u64> = declarations.metrics().iter().map(|metric| metric.hash).collect();
        let owner = SeriesOwner::of_component(&identity, metrics);
        let State { families, components, owners, .. } = &mut *state;
        let component = components.entry(identity).or_insert_with_key(|identity| {
            let Inner { dropped, clock, .. } = &*self.inner;
            Arc::new(ComponentState::new(identity.clone(), dropped.clone(), clock.clone()))
        });
        component.declare(&declarations, families, |hash| owners.is_in_use(component.identity(), hash));
        Component::new(component.clone(), owners.add(owner), self.clone())
    }

    /// Makes an aggregate for a metric that a guest of this component has resolved for this owner.
    pub(crate) fn resolve(&self, component: &ComponentState, owner: &SeriesOwner, metric: &Metric) -> Resolution {
        let mut state = self.state();
        state.remove_expired(None);
        state.withdraw_conflicting(&family_of(metric));
        let State { families, owners, .. } = &mut *state;
        let resolution = component.resolve(metric, families, |hash| owners.is_in_use(component.identity(), hash));
        if resolution == Resolution::Found {
            owner.add_metric(metric.hash);
        }
        resolution
    }

    /// Returns an owner of the host's series that have these labels: key and value.
    ///
    /// Give a clone to each recorder of the series, and [retire](SeriesOwner::retire) the owner
    /// when no more will be recorded.
    pub fn series_owner(&self, labels: &[(&str, &str)]) -> SeriesOwner {
        let mut state = self.state();
        state.remove_expired(None);
        state.owners.add(SeriesOwner::new(labels))
    }

    /// Returns the values of all series.
    ///
    /// `now` is the time since a moment of the caller's choice, the same one as for an instance's
    /// reads. It ends the retention of gauges and of retired series.
    pub fn snapshot(&self, now: Duration) -> Snapshot {
        let (components, host) = {
            let mut state = self.state();
            // Before the values are collected: retention counts from the snapshot with the last
            // ones.
            state.remove_expired(Some(now));
            let components: Vec<_> = state.components.values().cloned().collect();
            (components, state.host.values().cloned().collect::<Vec<_>>())
        };
        let mut blocks = Vec::new();
        for component in components {
            component.collect(now, &mut blocks);
        }
        // After the components, so that it has the drops that were just counted.
        blocks.extend(host.iter().map(AnyFamily::collect));
        Snapshot::new(blocks)
    }

    /// Returns a counter of the host with these label keys. The same name again returns the same
    /// family.
    ///
    /// If a family of another type or of a guest has the name, or the name or a key is invalid, the
    /// family records but is not exported: `wasmetry_dropped_total` counts that, and
    /// [`Family::rejected`] is the reason. The rules are those of guests' metrics, but for the
    /// prefixes that are reserved for the host.
    pub fn counter(&self, name: &str, help: &str, keys: &[&str]) -> Family<Counter> {
        let info = FamilyInfo::new(name, FamilyKind::Counter, help, unit(name), &[]);
        self.family(info, keys, AnyFamily::Counter, |family| match family {
            AnyFamily::Counter(family) => Some(family),
            _ => None,
        })
    }

    /// Returns a counter of an amount, such as seconds; see [`counter`](Self::counter).
    pub fn float_counter(&self, name: &str, help: &str, keys: &[&str]) -> Family<FloatCounter> {
        let info = FamilyInfo::new(name, FamilyKind::Counter, help, unit(name), &[]);
        self.family(info, keys, AnyFamily::FloatCounter, |family| match family {
            AnyFamily::FloatCounter(family) => Some(family),
            _ => None,
        })
    }

    /// Returns a gauge of the host; see [`counter`](Self::counter).
    pub fn gauge(&self, name: &str, help: &str, keys: &[&str]) -> Family<Gauge> {
        let info = FamilyInfo::new(name, FamilyKind::Gauge, help, unit(name), &[]);
        self.family(info, keys, AnyFamily::Gauge, |family| match family {
            AnyFamily::Gauge(family) => Some(family),
            _ => None,
        })
    }

    /// Returns a histogram of the host with these bucket bounds, which are finite and rise; see
    /// [`counter`](Self::counter).
    pub fn histogram(&self, name: &str, help: &str, keys: &[&str], bounds: &[f64]) -> Family<Histogram> {
        let info = FamilyInfo::new(name, FamilyKind::Histogram, help, unit(name), bounds);
        self.family(info, keys, AnyFamily::Histogram, |family| match family {
            AnyFamily::Histogram(family) => Some(family),
            _ => None,
        })
    }

    /// Returns the counter of the host's drops of a signal (`metrics`, `logs`, `spans`) for a
    /// reason.
    pub fn dropped(&self, signal: &str, reason: &str) -> Counter {
        self.inner.dropped.with(&["", "", "", signal, reason])
    }

    fn family<M: Instrument>(
        &self,
        info: FamilyInfo,
        keys: &[&str],
        wrap: fn(Family<M>) -> AnyFamily,
        unwrap: fn(&AnyFamily) -> Option<&Family<M>>,
    ) -> Family<M> {
        let (reason, rejected) = {
            let mut state = self.state();
            let known = state.host.get(&info.name).and_then(unwrap).filter(|family| family.has(keys)).cloned();
            if let Some(known) = known
                && state.families.claim(info.clone(), Owner::Host).is_ok()
            {
                return known;
            }
            match check(&info, keys) {
                Err(problem) => ("invalid_declaration", problem),
                Ok(()) if state.host.contains_key(&info.name) => (
                    "type_conflict",
                    "the host has it with another type or other label keys; rename one of the two".into(),
                ),
                Ok(()) => match state.families.claim(info.clone(), Owner::Host) {
                    Ok(info) => {
                        let family = Family::new(info.clone(), keys, &self.inner.clock);
                        state.host.insert(info.name.clone(), wrap(family.clone()));
                        return family;
                    }
                    Err(conflict) => ("type_conflict", conflict.describe(None)),
                },
            }
        };
        self.dropped("metrics", reason).inc();
        let rejected = Rejected { name: info.name.clone(), reason: rejected };
        Family::new_rejected(Arc::new(info), keys, &self.inner.clock, rejected)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Withdraws the metrics that have a name of a new family and that no binary in use declares.
    fn withdraw_conflicting(&mut self, info: &FamilyInfo) {
        let State { families, components, owners, .. } = self;
        while let Some(name) = families.conflicting(info) {
            let components = components.values();
            let is_needed =
                |state: &Arc<ComponentState>| state.needs(&name, |hash| owners.is_in_use(state.identity(), hash));
            if components.clone().any(is_needed) {
                return;
            }
            components.for_each(|state| state.withdraw(&name));
            families.remove(&name);
        }
    }

    /// Removes the series whose retention is over. Without a time, only those of too many owners.
    fn remove_expired(&mut self, now: Option<Duration>) {
        let State { families, host, components, owners } = self;
        let expired = owners.remove_expired(now);
        if expired.is_empty() {
            return;
        }
        for owner in expired {
            let has_other_owner = owners.iter().any(|other| other.labels() == owner.labels());
            match owner.component().and_then(|identity| components.get(identity)) {
                Some(component) if has_other_owner => {
                    let identity = component.identity();
                    component.remove_unused(|hash| owners.iter().any(|owner| owner.declares(identity, hash)));
                }
                _ if has_other_owner => {}
                _ => {
                    for family in host.values() {
                        family.remove(owner.labels());
                    }
                    if let Some(identity) = owner.component() {
                        components.remove(identity);
                    }
                    owners.remove(owner.labels());
                }
            }
        }
        families.remove_unused(|name| {
            let exporter = components.values().find(|component| component.exports(name));
            exporter.map(|component| component.identity().clone())
        });
    }
}

/// Returns the unit in which a name of the host ends.
fn unit(name: &str) -> &'static str {
    let stem = name.strip_suffix("_total").unwrap_or(name);
    ["seconds", "bytes", "ratio"]
        .into_iter()
        .find(|unit| stem.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
        .unwrap_or_default()
}

/// Checks a metric of the host by the rules for every metric.
///
/// # Errors
///
/// Returns the rule that is broken, and the remedy.
fn check(info: &FamilyInfo, keys: &[&str]) -> Result<(), String> {
    match info.kind {
        FamilyKind::Counter => name::host_counter(&info.name)?,
        FamilyKind::Gauge | FamilyKind::UpDownCounter | FamilyKind::Info => name::host_gauge(&info.name)?,
        FamilyKind::Histogram => {
            name::host_histogram(&info.name)?;
            name::buckets(info.bounds.iter().copied())?;
        }
    }
    if info.help.len() > limits::HELP {
        return Err(format!("its help text has more than {} bytes", limits::HELP));
    }
    if keys.len() > limits::LABELS {
        return Err(format!("it has more than {} labels", limits::LABELS));
    }
    for (at, key) in keys.iter().enumerate() {
        name::label(key).map_err(|problem| format!("label `{}`: {problem}", key.escape_debug()))?;
        if keys[..at].contains(key) {
            return Err(format!("label `{key}` is there twice"));
        }
    }
    Ok(())
}
