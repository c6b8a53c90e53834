//! `/api/v1/overview`: components and routes, and what is wrong with them.

mod figures;
mod read;

use std::collections::{BTreeMap, HashMap};

use wasmetry_host::Number;

use self::figures::Figures;
use self::read::{IN_FLIGHT, INSTANCES, Increases, REQUESTS, Reader, is_failed};
use super::take_cursor;
use crate::console::Shared;
use crate::json::Json;
use crate::limits;
use crate::problem::Problem;
use crate::query::{Filter, Query, Range};
use crate::series::{Family, Grid, Labels, SeriesStore, step_of};

/// A component of a tenant.
type Key = (String, String);

fn key(labels: &Labels<'_>) -> Key {
    (labels.get("component").to_owned(), labels.get("tenant").to_owned())
}

/// Returns the version of each component of a tenant: of the one that was seen first last.
pub(crate) fn versions(series: &SeriesStore) -> BTreeMap<Key, String> {
    let mut found: BTreeMap<Key, (u32, String)> = BTreeMap::new();
    let newest = series.newest().unwrap_or(0);
    for (_, set, slot) in series.family(INSTANCES).into_iter().flat_map(Family::used) {
        let labels = series.labels(set);
        if slot.last != newest {
            continue;
        }
        let known = found.entry(key(&labels)).or_default();
        if known.1.is_empty() || slot.born > known.0 {
            *known = (slot.born, labels.get("version").to_owned());
        }
    }
    found.into_iter().map(|(key, (_, version))| (key, version)).collect()
}

/// A component, with the figures that only components have.
struct Component<'a> {
    /// The place before components are sorted.
    at: usize,
    key: &'a Key,
    version: &'a str,
    figures: Figures,
    gauges: [Option<f64>; 5],
    busy: f64,
    log_errors: f64,
}

/// The gauges of a component, in the order of the answer.
const GAUGES: [(&str, &str); 5] = [
    ("waiting", "wasm_requests_waiting"),
    ("instances", INSTANCES),
    ("instances_limit", "wasm_instances_limit"),
    ("memory_bytes", "wasm_linear_memory_bytes"),
    ("memory_limit_bytes", "wasm_linear_memory_limit_bytes"),
];

pub(crate) fn answer(shared: &Shared, mut query: Query) -> Result<String, Problem> {
    let filter = Filter::take(&mut query);
    let range = Range::take(&mut query)?;
    let limit = query.limit(limits::PAGE, limits::PAGE)?;
    let cursor = take_cursor(&mut query)?;
    query.end()?;
    let series = shared.series();
    let now = super::now();
    let newest = series.newest().unwrap_or_else(|| step_of(now));
    let end = range.end.map_or(newest, |end| step_of(end).min(newest));
    let grid = series.grid(end, range.steps(), limits::SPARKLINE);
    let reader = Reader::new(&series, &grid);
    let is_wanted = |key: &Key| filter.accepts_identity(&key.0, &key.1);
    let keys: Vec<(Key, String)> = versions(&series).into_iter().filter(|(key, _)| is_wanted(key)).collect();
    let groups = RouteGroups::find(&series, &filter, keys.iter().map(|(key, _)| key));
    let increases = groups.read(&reader);
    let figures = increases.united(&groups.component, keys.len()).figures(&reader);
    let mut components = components(&reader, &keys, figures);
    components.sort_by_cached_key(|component| (component.figures.rank(), component.key));
    let first = cursor.map_or(0, |cursor| usize::try_from(cursor).unwrap_or(usize::MAX)).min(components.len());
    let end = components.len().min(first.saturating_add(limit));
    let shown = &components[first..end];
    let routes: Vec<Routes> = if shown.iter().any(|component| groups.left_out[component.at] > 0) {
        // The components of this page have all of the groups.
        let groups = RouteGroups::find(&series, &filter, shown.iter().map(|component| component.key));
        groups.routes(&groups.read(&reader), &reader)
    } else {
        let mut routes = groups.routes(&increases, &reader);
        shown.iter().map(|component| std::mem::take(&mut routes[component.at])).collect()
    };
    // Snapshots are stored while the answer is written.
    drop(series);
    let mut json = Json::new();
    json.object(|json| {
        json.member("now").time(now);
        json.member("range_seconds").unsigned(range.seconds);
        json.member("components").array(|json| {
            for (component, routes) in shown.iter().zip(&routes) {
                json.object(|json| write_component(json, component, routes, &grid));
            }
        });
        json.member("components_left_out").unsigned((components.len() - end) as u64);
        json.member("next").optional_text((end < components.len()).then(|| end.to_string()).as_deref());
    });
    Ok(json.finish())
}

/// The routes of one component, and the number of those that are left out.
#[derive(Default)]
struct Routes {
    listed: Vec<(String, Figures)>,
    left_out: u64,
}

/// The groups of series: one for each component, and one for each of the worst routes, whose series
/// are not in their component's.
struct RouteGroups<'a> {
    filter: &'a Filter,
    /// The place of each component: its name and tenant.
    components: HashMap<(&'a str, &'a str), u32>,
    routes: HashMap<(u32, &'a str), u32>,
    /// The place of each group's component.
    component: Vec<u32>,
    /// For each component the number of routes that have no group.
    left_out: Vec<u64>,
}

impl<'a> RouteGroups<'a> {
    /// Finds the routes that a filter accepts. Of each component, those with the most failed
    /// requests, then those with the most requests have groups.
    fn find(series: &'a SeriesStore, filter: &'a Filter, keys: impl Iterator<Item = &'a Key>) -> Self {
        let components: HashMap<(&str, &str), u32> =
            keys.zip(0..).map(|((component, tenant), at)| ((&**component, &**tenant), at)).collect();
        let mut found: HashMap<(u32, &str), [u64; 2]> = HashMap::new();
        for name in [REQUESTS, IN_FLIGHT] {
            for (_, set, slot) in series.family(name).into_iter().flat_map(Family::used) {
                let labels = series.labels(set);
                let route = labels.get("route");
                let component = components.get(&(labels.get("component"), labels.get("tenant")));
                let is_wanted = filter.route.as_ref().is_none_or(|wanted| wanted == route);
                let Some(component) = component.filter(|_| is_wanted) else { continue };
                let counts = found.entry((*component, route)).or_default();
                if let (REQUESTS, Number::Unsigned(value)) = (name, slot.value.number()) {
                    counts[usize::from(!is_failed(&labels))] += value;
                }
            }
        }
        let mut found: Vec<((u32, &str), [u64; 2])> = found.into_iter().collect();
        found.sort_unstable_by(|(a, one), (b, other)| other.cmp(one).then_with(|| a.cmp(b)));
        let mut component: Vec<u32> = (0..components.len() as u32).collect();
        let mut left_out = vec![0; components.len()];
        let mut routes = HashMap::new();
        // A component with very many routes leaves the others theirs.
        let mut ranks = vec![0u32; components.len()];
        let rank = |(route, _): ((u32, &'a str), [u64; 2])| {
            let rank = &mut ranks[route.0 as usize];
            *rank += 1;
            (*rank, route)
        };
        let mut ranked: Vec<(u32, (u32, &str))> = found.into_iter().map(rank).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        for (at, (_, route)) in ranked.into_iter().enumerate() {
            if at < limits::OVERVIEW_ROUTES {
                routes.insert(route, component.len() as u32);
                component.push(route.0);
            } else {
                left_out[route.0 as usize] += 1;
            }
        }
        Self { filter, components, routes, component, left_out }
    }

    fn group_of(&self, labels: &Labels<'_>) -> Option<u32> {
        let route = labels.get("route");
        let component = self.components.get(&(labels.get("component"), labels.get("tenant")))?;
        if let Some(group) = self.routes.get(&(*component, route)) {
            return Some(*group);
        }
        self.filter.route.as_ref().is_none_or(|wanted| wanted == route).then_some(*component)
    }

    fn read(&self, reader: &Reader<'_>) -> Increases {
        reader.read(self.component.len(), &|labels| self.group_of(labels))
    }

    /// Returns the routes of each component, the worst first.
    fn routes(&self, increases: &Increases, reader: &Reader<'_>) -> Vec<Routes> {
        let mut all: Vec<Routes> =
            self.left_out.iter().map(|left_out| Routes { left_out: *left_out, ..Routes::default() }).collect();
        for ((component, route), group) in &self.routes {
            let figures = increases.figures_of(*group as usize, reader);
            all[*component as usize].listed.push(((*route).to_owned(), figures));
        }
        for routes in &mut all {
            routes.listed.sort_by_cached_key(|(route, figures)| (figures.rank(), route.clone()));
            let listed = routes.listed.len().min(limits::COMPONENT_ROUTES);
            routes.left_out += (routes.listed.len() - listed) as u64;
            routes.listed.truncate(listed);
        }
        all
    }
}

/// Returns the components. With a route, the figures are those of the route.
fn components<'a>(reader: &Reader<'_>, keys: &'a [(Key, String)], figures: Vec<Figures>) -> Vec<Component<'a>> {
    let len = keys.len();
    let places: HashMap<(&str, &str), u32> =
        keys.iter().zip(0..).map(|((key, _), at)| ((&*key.0, &*key.1), at)).collect();
    let group_of = |labels: &Labels<'_>| places.get(&(labels.get("component"), labels.get("tenant"))).copied();
    let gauges = GAUGES.map(|(_, name)| reader.gauge(name, len, &group_of));
    let busy = reader.counter("wasm_guest_busy_seconds_total", len, &group_of);
    let refused = reader.counter("wasm_requests_refused_total", len, &group_of);
    let peaks = reader.memory_peaks(len, &group_of);
    let log_errors = reader
        .counter("wasm_log_records_total", len, &|labels| group_of(labels).filter(|_| labels.get("level") == "error"));
    let of = |(at, ((key, version), figures)): (usize, (&'a (Key, String), Figures))| Component {
        at,
        key,
        version,
        figures: Figures { refused: refused[at], memory_peak: peaks[at], ..figures },
        gauges: std::array::from_fn(|gauge| gauges[gauge][at]),
        busy: busy[at],
        log_errors: log_errors[at],
    };
    keys.iter().zip(figures).enumerate().map(of).collect()
}

fn write_component(json: &mut Json, component: &Component<'_>, routes: &Routes, grid: &Grid) {
    let Component { key: (name, tenant), version, figures, gauges, busy, log_errors, .. } = component;
    let rate = |count: f64| figures.seconds.map(|seconds| count / seconds);
    json.member("component").text(name);
    json.member("version").text(version);
    json.member("tenant").text(tenant);
    figures.write(json, grid);
    json.member("refused_rate").rounded(rate(figures.refused));
    for ((name, _), value) in GAUGES.into_iter().zip(gauges) {
        json.member(name).rounded(*value);
    }
    json.member("memory_peak_ratio").rounded(figures.memory_peak);
    json.member("busy").rounded(rate(*busy));
    json.member("log_errors_rate").rounded(rate(*log_errors));
    json.member("routes").array(|json| {
        for (route, figures) in &routes.listed {
            json.object(|json| {
                json.member("route").text(route);
                figures.write(json, grid);
            });
        }
    });
    json.member("routes_left_out").unsigned(routes.left_out);
}
