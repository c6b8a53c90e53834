//! The registry: all metrics of one process.
//!
//! In come declarations, the reads of instances, and values of the host. Out come [`Snapshot`]s of
//! all series. It knows which component owns which name and series, but not how guests' memory is
//! laid out, what a format looks like, or what time it is.

pub(crate) mod component;
pub(crate) mod drop_log;
pub(crate) mod drop_reason;
pub(crate) mod exposition;
pub(crate) mod family;
pub(crate) mod identity;
pub(crate) mod instrument;
mod log_counter;
pub(crate) mod name_table;
pub(crate) mod owner;
pub(crate) mod start_time;
pub(crate) mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmetry_abi::name;

use crate::declaration::Metric;
use crate::ledger::Ledgers;
use crate::{Declarations, GuestLimits, Identity, Rejected, Snapshot, limits};
use component::{Component, ComponentState, Prepared, Resolution, family_of};
use drop_log::{DropLog, NewDrop};
use exposition::{ComponentRoom, ExpositionLimits, ExpositionRoom, HiddenSeries};
use family::{FamilyInfo, FamilyKind, WantedFamily};
use instrument::family::{AnyFamily, Family};
use instrument::index::SeriesLimits;
use instrument::{Counter, FloatCounter, Gauge, Histogram, Instrument};
use name_table::{Conflict, NameTable};
use owner::{MetricSet, SeriesOwner, SeriesOwners};
use start_time::Clock;
use step::step;

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
    drops: DropLog,
    clock: Clock,
    limits: Mutex<Arc<GuestLimits>>,
    host_series: Arc<SeriesLimits>,
    ledgers: Ledgers,
    exposition: Arc<ExpositionRoom>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    names: NameTable,
    host: BTreeMap<String, AnyFamily>,
    /// In the order of the output.
    components: BTreeMap<Identity, Arc<ComponentState>>,
    /// The number of the latest component.
    latest: u32,
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
        let wanted = WantedFamily::new(info);
        let info = state.names.claim(&wanted).unwrap_or(wanted.info);
        let limits = GuestLimits::default();
        let host_series = Arc::new(SeriesLimits::new(&limits));
        let dropped = Family::new(info, &keys, &clock, &host_series, None);
        state.host.insert(DROPPED.to_owned(), AnyFamily::Counter(dropped.clone()));
        let drops = DropLog::new(dropped);
        let ledgers = Ledgers::new(&limits);
        let (limits, exposition) = (Mutex::new(Arc::new(limits)), Arc::default());
        let inner = Inner { drops, clock, limits, host_series, ledgers, exposition, state: Mutex::new(state) };
        let registry = Self { inner: Arc::new(inner) };
        let build = registry.gauge("wasmetry_build_info", "The version of wasmetry that serves this.", &["version"]);
        build.with(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        registry
    }

    /// Registers a component. The same identity has the same series again.
    ///
    /// A metric whose name another component of the tenant has declared with another type, unit or
    /// buckets is not exported, unless that component is [retired](Component::retire); see
    /// [`Component::conflicts`]. Tenants have no such conflicts with each other.
    pub fn component(&self, identity: Identity, declarations: Declarations) -> Component {
        let (clock, limits) = (&self.inner.clock, self.limits());
        let known = self.state().components.get(&identity).cloned();
        // Whatever takes long is made here, where no other component waits for it.
        let prepared = Prepared::new(&declarations, &identity, known.as_deref(), clock);
        let metrics = MetricSet::new(declarations.metrics().iter().map(|metric| metric.hash));

        let mut state = self.state();
        state.remove_expired(None, &self.inner.drops);
        // Before anything is declared, because it replaces the owner of a binary without users.
        let owner = state.owners.add_component(&identity, metrics);
        for family in prepared.families() {
            state.withdraw_conflicting(identity.tenant(), family);
        }
        let State { names, components, owners, latest, .. } = &mut *state;
        let component = components.entry(identity).or_insert_with_key(|identity| {
            let Inner { drops, clock, exposition, ledgers, .. } = &*self.inner;
            *latest += 1;
            let room = ComponentRoom::new(exposition, identity);
            let accounts = ledgers.open(identity.tenant(), &limits);
            Arc::new(ComponentState::new(
                *latest,
                identity.clone(),
                drops.clone(),
                clock.clone(),
                room,
                accounts,
                limits,
            ))
        });
        component.declare(&declarations, prepared, names, |hash| owners.is_in_use(component.identity(), hash));
        Component::new(component.clone(), owner, self.clone())
    }

    /// Sets the limits of guests. `telemetry-memory`, `metrics`, `series`, `host-series` and all of
    /// a tenant (`tenant-…`) apply at once; what is there stays. The others apply to components
    /// that are registered later.
    pub fn set_limits(&self, limits: GuestLimits) {
        self.inner.ledgers.set_limits(&limits);
        self.inner.host_series.set(&limits);
        *self.inner.limits.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(limits);
    }

    fn limits(&self) -> Arc<GuestLimits> {
        self.inner.limits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the bytes that the host keeps for guests and their series: of all tenants, and of each
    /// tenant. They are `telemetry_memory` and `tenant_memory` of [`GuestLimits`]. Of all, each
    /// tenant gets a [fair share](crate::limits::is_fair_share) of seven eighths: alone, half of
    /// them. The last eighth is for tenants that have no more than a
    /// [small share](limits::SMALL_SHARE).
    ///
    /// Beyond a limit, running guests are read only when they end, records are dropped, and new
    /// series are counted in overflow series; `wasmetry_dropped_total` counts it.
    pub fn set_memory_limits(&self, all: u64, tenant: u64) {
        self.set_limits(GuestLimits { telemetry_memory: all, tenant_memory: tenant, ..(*self.limits()).clone() });
    }

    /// Returns the bytes that the host keeps for all guests, their declarations and their series,
    /// and for the host's own series. Those of series are exact as of the last snapshot.
    pub fn memory_bytes(&self) -> u64 {
        self.inner.ledgers.memory.process().bytes()
    }

    /// Makes an aggregate for a metric that a guest of this component has resolved for this owner.
    pub(crate) fn resolve(
        &self,
        component: &Arc<ComponentState>,
        owner: &SeriesOwner,
        metric: &Arc<Metric>,
    ) -> Resolution {
        let tenant = component.identity().tenant();
        let family = WantedFamily::new(family_of(metric, &tenant.into()));
        let mut state = self.state();
        state.remove_expired(None, &self.inner.drops);
        state.withdraw_conflicting(tenant, &family);
        let State { names, owners, .. } = &mut *state;
        let is_in_use = |hash| owners.is_in_use(component.identity(), hash);
        let resolution = component.resolve(metric, &family, names, is_in_use);
        if resolution == Resolution::Found {
            owners.add_metric(owner, metric.hash);
        }
        resolution
    }

    /// Returns an owner of the host's series that have these labels: key and value.
    ///
    /// Give a clone to each recorder of the series, and [retire](SeriesOwner::retire) the owner
    /// when no more will be recorded.
    pub fn series_owner(&self, labels: &[(&str, &str)]) -> SeriesOwner {
        let mut state = self.state();
        state.remove_expired(None, &self.inner.drops);
        state.owners.add(labels)
    }

    /// Sets the bounds of expositions. They apply to series that are first shown later.
    pub fn set_exposition_limits(&self, limits: ExpositionLimits) {
        self.inner.exposition.set_limits(limits);
    }

    /// Returns the components of whose series some are not shown, because a bound of expositions is
    /// reached. A component is returned once for each bound.
    ///
    /// `wasmetry_dropped_total{reason="exposition_limit"}` counts the series, and the families that
    /// are left out as a whole.
    pub fn take_hidden_series(&self) -> Vec<HiddenSeries> {
        self.inner.exposition.take_hidden()
    }

    /// Returns the values of all series.
    ///
    /// `now` is the time since a moment of the caller's choice, the same one as for an instance's
    /// reads. It ends the retention of gauges and of retired series.
    pub fn snapshot(&self, now: Duration) -> Snapshot {
        let (components, host, contested) = {
            let mut state = self.state();
            // Before the values are collected: retention counts from the snapshot with the last
            // ones.
            state.remove_expired(Some(now), &self.inner.drops);
            let components: Vec<_> = state.components.values().cloned().collect();
            (components, state.host.values().cloned().collect::<Vec<_>>(), state.names.contested())
        };
        let mut blocks = Vec::new();
        for component in components {
            component.collect(now, &mut blocks);
        }
        // After the components, so that it has the drops that were just counted.
        blocks.extend(host.iter().map(AnyFamily::collect));
        host.iter().for_each(|family| family.charge(&self.inner.ledgers.memory));
        Snapshot::new(blocks, &contested)
    }

    /// Returns a counter of the host with these label keys. The same name again returns the same
    /// family.
    ///
    /// The name is the host's from now on: metrics of guests that have it are withdrawn, and
    /// counted in `wasmetry_dropped_total`. If the host has a family of another type under the
    /// name, or the name or a key is invalid, the family records but is not exported:
    /// `wasmetry_dropped_total` counts that, and [`Family::rejected`] is the reason. The rules are
    /// those of guests' metrics, but for the prefixes that are reserved for the host.
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
        self.inner.drops.ownerless(signal, reason)
    }

    /// Returns the counter of the drops of a signal of one component. To count there, use
    /// [`count_dropped`](Self::count_dropped), which has the first drop reported.
    pub fn dropped_of(&self, component: &Identity, signal: &str, reason: &str) -> Counter {
        self.inner.drops.counter(component, signal, reason)
    }

    /// Counts drops of a signal of one component in `wasmetry_dropped_total`. The first ones are a
    /// [new kind](Self::report_new_drops).
    ///
    /// A component that is not registered may have been removed while its last records waited in a
    /// queue. Its counts are removed again after [`limits::RETENTION`].
    pub fn count_dropped(&self, component: &Identity, signal: &str, reason: &str, count: u64) {
        if self.inner.drops.count(component, signal, reason, count) {
            let mut state = self.state();
            if !state.components.contains_key(component) {
                let labels: Vec<_> = Identity::KEYS.into_iter().zip(component.values()).collect();
                state.owners.add(&labels).retire();
            }
        }
    }

    /// Counts in a counter of the caller. `kind` returns the [new kind](Self::report_new_drops)
    /// that the first ones are.
    pub fn count_dropped_in(&self, counter: &Counter, count: u64, kind: impl FnOnce() -> NewDrop) {
        self.inner.drops.count_in(counter, count, kind);
    }

    /// Passes to `report` each kind of drop of a component that was counted for the first time, so
    /// that it is logged once.
    ///
    /// `report` returns `false` if it cannot report one now. That one and those after it are passed
    /// to the next call. At most [`NEW_DROPS`](limits::NEW_DROPS) wait, those of a component until
    /// it is removed.
    pub fn report_new_drops(&self, report: impl FnMut(&NewDrop) -> bool) {
        self.inner.drops.report(report);
    }

    fn family<M: Instrument>(
        &self,
        info: FamilyInfo,
        keys: &[&str],
        wrap: fn(Family<M>) -> AnyFamily,
        unwrap: fn(&AnyFamily) -> Option<&Family<M>>,
    ) -> Family<M> {
        let wanted = WantedFamily::new(info);
        let info = &wanted.info;
        let (reason, rejected) = {
            let mut state = self.state();
            let known = state.host.get(info.name()).and_then(unwrap).filter(|family| family.has(keys)).cloned();
            if let Some(known) = known
                && state.names.claim(&wanted).is_ok()
            {
                return known;
            }
            match check(info, keys) {
                Err(problem) => ("invalid_declaration", problem),
                Ok(()) if state.host.contains_key(info.name()) => (
                    "type_conflict",
                    "the host has it with another type or other label keys; rename one of the two".into(),
                ),
                Ok(()) => match state.claim(&wanted) {
                    Ok(info) => {
                        let Inner { clock, host_series, drops, .. } = &*self.inner;
                        let family = Family::new(info.clone(), keys, clock, host_series, Some(drops));
                        state.host.insert(info.name().to_owned(), wrap(family.clone()));
                        return family;
                    }
                    Err(conflict) => ("type_conflict", conflict.describe(None)),
                },
            }
        };
        self.dropped("metrics", reason).inc();
        let rejected = Rejected { name: info.name().to_owned(), reason: rejected };
        Family::new_rejected(wanted.info, keys, &self.inner.clock, &self.inner.host_series, rejected)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Withdraws the metrics of a tenant that have a name of a new family of it and that no binary
    /// in use declares.
    fn withdraw_conflicting(&mut self, tenant: &str, wanted: &WantedFamily) {
        let State { names, owners, .. } = self;
        while let Some(known) = names.conflicting(tenant, wanted).cloned() {
            let exporters = names.exporters(&known);
            let is_needed = |state: &Arc<ComponentState>| {
                state.needs(known.name(), |hash| owners.is_in_use(state.identity(), hash))
            };
            if exporters.iter().inspect(|_| step()).any(is_needed) {
                return;
            }
            for state in exporters {
                step();
                state.withdraw(known.name());
            }
            names.remove(&known);
        }
    }

    /// Returns a new family of the host. The host's names are its own, whoever came first: metrics
    /// of guests that have one are withdrawn and counted.
    fn claim(&mut self, wanted: &WantedFamily) -> Result<Arc<FamilyInfo>, Box<Conflict>> {
        let info = self.names.claim(wanted)?;
        while let Some(known) = self.names.conflicting_with_host(wanted).cloned() {
            for component in self.names.exporters(&known) {
                component.yield_to_host(known.name(), &info);
            }
            self.names.remove(&known);
        }
        Ok(info)
    }

    /// Removes the series whose retention is over. Without a time, only those of too many owners.
    fn remove_expired(&mut self, now: Option<Duration>, drops: &DropLog) {
        let State { names, host, components, owners, .. } = self;
        for expired in owners.remove_expired(now) {
            let component = expired.component.and_then(|identity| components.get(&*identity).cloned());
            if expired.has_other_owner {
                if let Some(component) = component {
                    component.remove_unused(names, |hash| owners.has_metric(component.identity(), hash));
                }
                continue;
            }
            for family in host.values() {
                step();
                family.remove(&expired.labels);
            }
            if let Some(component) = component {
                component.release_names(names);
                drops.forget(component.identity());
                components.remove(component.identity());
            }
            owners.remove_all(&expired.labels);
        }
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
    match info.kind() {
        FamilyKind::Counter => name::host_counter(info.name())?,
        FamilyKind::Gauge | FamilyKind::UpDownCounter | FamilyKind::Info => name::host_gauge(info.name())?,
        FamilyKind::Histogram => {
            name::host_histogram(info.name())?;
            name::buckets(info.bounds().iter().copied())?;
        }
    }
    if info.help().len() > limits::HELP {
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
