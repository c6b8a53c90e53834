//! `/api/v1/series`: the values of one metric over a range.

mod exemplar;

use std::collections::HashMap;

use self::exemplar::{Exemplar, ExemplarSlices};
use super::{now, span_text, trace_text};
use crate::console::Shared;
use crate::json::Json;
use crate::limits;
use crate::problem::Problem;
use crate::query::{Filter, Query, Range, shown};
use crate::series::{
    Aggregation, Family, Grid, Groups, HistogramSteps, Labels, SeriesStore, Totals, quantile, step_of,
};

/// The metric of the durations of requests, whose exemplars are the requests that are kept.
pub(crate) const DURATIONS: &str = "wasm_http_request_duration_seconds";

/// The series that are wanted.
struct Selection {
    filter: Filter,
    labels: Vec<(String, String)>,
    by: Option<String>,
}

impl Selection {
    fn accepts(&self, labels: &Labels<'_>) -> bool {
        let accepts = self.filter.accepts(labels.get("component"), labels.get("tenant"), || labels.get("route").into());
        accepts && self.labels.iter().all(|(key, value)| labels.get(key) == value)
    }

    /// Returns the metric of a name: of several, the latest of those with wanted series.
    fn family<'a>(&self, series: &'a SeriesStore, name: &str) -> Option<&'a Family> {
        if series.namesakes(name).nth(1).is_none() {
            return series.family(name);
        }
        let has_wanted = |family: &&Family| family.used().any(|(_, set, _)| self.accepts(&series.labels(set)));
        let wanted = series.namesakes(name).filter(has_wanted);
        wanted
            .reduce(|latest, other| if other.last > latest.last { other } else { latest })
            .or_else(|| series.family(name))
    }

    /// Returns the group of each slot, and the value of each group's label.
    fn groups(&self, series: &SeriesStore, family: &Family) -> (Groups, Vec<String>) {
        let mut groups = Groups { of_slot: vec![None; family.slots.len()], len: 0 };
        let mut known: HashMap<&str, u32> = HashMap::new();
        let mut values = Vec::new();
        for (at, set, _) in family.used() {
            let labels = series.labels(set);
            if !self.accepts(&labels) {
                continue;
            }
            let value = self.by.as_ref().map_or("", |by| labels.get(by));
            let next = values.len() as u32;
            let group = *known.entry(value).or_insert_with(|| {
                // Later groups count among the others.
                if values.len() < limits::COMPARED_GROUPS {
                    values.push(value.to_owned());
                }
                next.min(limits::COMPARED_GROUPS as u32 - 1)
            });
            groups.of_slot[at] = Some(group);
        }
        groups.len = values.len();
        (groups, values)
    }
}

fn take_aggregation(query: &mut Query) -> Result<Option<Aggregation>, Problem> {
    query.parse_as("aggregate", "`sum`, `max`, `min` or `avg`", |value| {
        Some(match value {
            "sum" => Aggregation::Sum,
            "max" => Aggregation::Max,
            "min" => Aggregation::Min,
            "avg" => Aggregation::Avg,
            _ => return None,
        })
    })
}

pub(crate) fn answer(shared: &Shared, mut query: Query) -> Result<String, Problem> {
    let Some(metric) = query.take("metric") else {
        return Err(Problem::bad_request("`metric` is missing; name one of /api/v1/metrics"));
    };
    let filter = Filter::take(&mut query);
    let labels = query.take_all("label.");
    if labels.len() > limits::LABEL_FILTERS {
        return Err(Problem::bad_request(format!("at most {} labels can be filtered by", limits::LABEL_FILTERS)));
    }
    let selection = Selection { filter, labels, by: query.take("by") };
    let range = Range::take(&mut query)?;
    let limit = query.limit(limits::GROUPS, limits::MAX_GROUPS)?;
    let aggregation = take_aggregation(&mut query)?;
    query.end()?;
    let series = shared.series();
    let Some(family) = selection.family(&series, &metric) else {
        let detail = format!("there is no metric `{}`; /api/v1/metrics lists them", shown(&metric));
        return Err(Problem::not_found(detail));
    };
    let newest = series.newest().unwrap_or_else(|| step_of(now()));
    let end = range.end.map_or(newest, |end| step_of(end).min(newest));
    let grid = series.grid(end, range.steps(), limits::STEPS as usize);
    let default = match (&*family.unit, &*family.name) {
        ("ratio", _) => Aggregation::Max,
        (_, name) if name.contains("timestamp") => Aggregation::Max,
        _ => Aggregation::Sum,
    };
    let answer = SeriesAnswer {
        shared,
        series: &series,
        family,
        selection: &selection,
        grid: &grid,
        aggregation: aggregation.unwrap_or(default),
    };
    Ok(answer.write(limit))
}

struct SeriesAnswer<'a> {
    shared: &'a Shared,
    series: &'a SeriesStore,
    family: &'a Family,
    selection: &'a Selection,
    grid: &'a Grid,
    aggregation: Aggregation,
}

/// The increases of groups of counters or histograms.
struct Increases {
    totals: Option<Totals>,
    histograms: Option<HistogramSteps>,
}

impl Increases {
    /// Unites groups; see [`Totals::united`].
    fn united(&self, place: &[u32], len: usize) -> Self {
        Self {
            totals: self.totals.as_ref().map(|totals| totals.united(place, len)),
            histograms: self.histograms.as_ref().map(|histograms| histograms.united(place, len)),
        }
    }
}

impl SeriesAnswer<'_> {
    fn write(&self, limit: usize) -> String {
        let Self { family, grid, .. } = self;
        let (groups, values) = self.selection.groups(self.series, family);
        let all = self.has_room(&groups).then(|| self.read(&groups));
        let order = self.largest(&groups, all.as_ref());
        let kept: Vec<u32> = order.iter().copied().take(limit).collect();
        // The groups that are left out become one.
        let others = kept.len() as u32;
        let mut place = vec![others; groups.len];
        kept.iter().enumerate().for_each(|(at, group)| place[*group as usize] = at as u32);
        let of_slot = groups.of_slot.iter().map(|group| group.map(|group| place[group as usize])).collect();
        let shown = Groups { of_slot, len: kept.len() + 1 };
        let is_sum = family.is_counter() || family.is_histogram();
        let read = match all {
            Some(all) => all.united(&place, shown.len),
            None => self.read(&shown),
        };
        let points = self.points(&shown, &read);
        let histograms = read.histograms;
        let last = self.last(&shown);
        let mut json = Json::new();
        json.object(|json| {
            json.member("metric").text(&family.name);
            json.member("kind").text(family.kind);
            json.member("unit").text(&family.unit);
            json.member("help").text(&family.help);
            json.member("values").text(if is_sum { "rate" } else { "value" });
            json.member("by").optional_text(self.selection.by.as_deref());
            json.member("start").unsigned(grid.first_seconds());
            json.member("step_seconds").unsigned(grid.step_seconds());
            json.member("end").unsigned(crate::series::seconds_of(grid.end()));
            json.member("groups").array(|json| {
                for (at, group) in kept.iter().enumerate() {
                    json.object(|json| {
                        json.member("labels").object(|json| {
                            if let Some(by) = &self.selection.by {
                                json.member(by).text(&values[*group as usize]);
                            }
                        });
                        write_points(json.member("points"), &points[at]);
                        json.member("last").number(last[at]);
                        if let Some(histograms) = &histograms {
                            self.write_quantiles(json, histograms, at);
                        }
                    });
                }
            });
            json.member("others").object(|json| {
                json.member("groups").unsigned((groups.len - kept.len()) as u64);
                let none = vec![None; grid.len];
                let points = if groups.len > kept.len() { &points[kept.len()] } else { &none };
                write_points(json.member("points"), points);
            });
            json.member("histogram");
            match &histograms {
                Some(histograms) => self.write_histogram(json, histograms, &shown),
                None => _ = json.null(),
            }
        });
        json.finish()
    }

    /// Returns `true` if the values of all groups may be held at a time.
    fn has_room(&self, groups: &Groups) -> bool {
        let buckets = if self.family.is_histogram() { self.family.bounds.len() + 2 } else { 1 };
        groups.len * self.grid.len * buckets <= limits::CELLS
    }

    /// Reads the increases of groups. Gauges have none.
    fn read(&self, groups: &Groups) -> Increases {
        if self.family.is_histogram() {
            let histograms = self.series.histograms(self.family, groups, self.grid);
            return Increases { totals: Some(histograms.observations()), histograms: Some(histograms) };
        }
        let is_counter = self.family.is_counter();
        let totals = is_counter.then(|| self.series.increases(self.family, groups, self.grid));
        Increases { totals, histograms: None }
    }

    /// Returns the groups, the largest first.
    fn largest(&self, groups: &Groups, all: Option<&Increases>) -> Vec<u32> {
        let whole = self.grid.whole();
        let sizes: Vec<f64> = if let Some(Increases { totals: Some(totals), .. }) = all {
            (0..groups.len).map(|group| totals.sum(group)).collect()
        } else if self.family.is_counter() || self.family.is_histogram() {
            let totals = self.series.increases(self.family, groups, &whole);
            (0..groups.len).map(|group| totals.sum(group)).collect()
        } else {
            self.last(groups).into_iter().map(wasmetry_host::Number::as_f64).collect()
        };
        let mut order: Vec<u32> = (0..groups.len as u32).collect();
        // Of equal size, the first in the registry's order.
        order.sort_by(|a, b| sizes[*b as usize].total_cmp(&sizes[*a as usize]));
        order
    }

    /// Returns the values now: sums of counters, joined values of gauges.
    fn last(&self, groups: &Groups) -> Vec<wasmetry_host::Number> {
        use wasmetry_host::Number;
        let newest = self.series.newest().unwrap_or(0);
        let mut last: Vec<Option<Number>> = vec![None; groups.len];
        let mut counts = vec![0u32; groups.len];
        let is_sum = self.family.is_counter() || self.family.is_histogram();
        for (at, _, slot) in self.family.used().filter(|(.., slot)| slot.last == newest) {
            let Some(Some(group)) = groups.of_slot.get(at) else { continue };
            let (value, known) = (slot.value.number(), &mut last[*group as usize]);
            counts[*group as usize] += 1;
            *known = Some(match (*known, value) {
                (None, value) => value,
                (Some(Number::Unsigned(a)), Number::Unsigned(b)) if is_sum => Number::Unsigned(a.saturating_add(b)),
                (Some(Number::Nanos(a)), Number::Nanos(b)) if is_sum => Number::Nanos(a.saturating_add(b)),
                (Some(a), b) => {
                    let (a, b) = (a.as_f64(), b.as_f64());
                    Number::Float(match self.aggregation {
                        Aggregation::Max if !is_sum => a.max(b),
                        Aggregation::Min if !is_sum => a.min(b),
                        _ => a + b,
                    })
                }
            });
        }
        let join = |(value, count): (Option<Number>, u32)| match value {
            Some(value) if self.aggregation == Aggregation::Avg && !is_sum => {
                Number::Float(value.as_f64() / f64::from(count))
            }
            Some(value) => value,
            None => Number::Float(f64::NAN),
        };
        last.into_iter().zip(counts).map(join).collect()
    }

    fn points(&self, groups: &Groups, read: &Increases) -> Vec<Vec<Option<f64>>> {
        let grid = self.grid;
        if let Some(totals) = &read.totals {
            let of = |(group, born)| {
                let lifetime = grid.since(born);
                let rate = |(at, increase): (usize, &f64)| lifetime.seconds(at).map(|seconds| increase / seconds);
                totals.of(group).iter().enumerate().map(rate).collect()
            };
            return groups.born(self.family).into_iter().enumerate().map(of).collect();
        }
        self.series.gauges(self.family, groups, grid, self.aggregation)
    }

    fn write_quantiles(&self, json: &mut Json, histograms: &HistogramSteps, group: usize) {
        let steps: Vec<Vec<u64>> = (0..self.grid.len)
            .map(|at| histograms.counts(group, at).iter().map(|count| u64::from(*count)).collect())
            .collect();
        json.member("quantiles").object(|json| {
            for (name, rank) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
                let points: Vec<Option<f64>> =
                    steps.iter().map(|counts| quantile(rank, &self.family.bounds, counts)).collect();
                write_points(json.member(name), &points);
            }
            let mean = |(counts, sum): (&Vec<u64>, &f64)| {
                let all: u64 = counts.iter().sum();
                (all > 0).then(|| sum / all as f64)
            };
            let means: Vec<Option<f64>> = steps.iter().zip(histograms.sums(group)).map(mean).collect();
            write_points(json.member("mean"), &means);
        });
    }

    fn write_histogram(&self, json: &mut Json, histograms: &HistogramSteps, groups: &Groups) {
        json.object(|json| {
            json.member("bounds").array(|json| {
                for bound in &self.family.bounds {
                    json.float(*bound);
                }
            });
            let lifetime = self.grid.since(groups.born(self.family).into_iter().min().unwrap_or(u32::MAX));
            json.member("buckets").array(|json| {
                for at in 0..self.grid.len {
                    if lifetime.seconds(at).is_none() {
                        json.null();
                        continue;
                    }
                    json.array(|json| {
                        for bucket in 0..=self.family.bounds.len() {
                            let of = |group| u64::from(histograms.counts(group, at)[bucket]);
                            json.unsigned((0..groups.len).map(of).sum());
                        }
                    });
                }
            });
            json.member("exemplars").array(|json| self.write_exemplars(json, groups));
        });
    }

    /// Writes the exemplars of the range: the slowest one of each slice of time, then the second of
    /// each. The requests that are kept are those of their durations.
    fn write_exemplars(&self, json: &mut Json, groups: &Groups) {
        let seconds = |step: u32| crate::series::seconds_of(step) * 1_000_000_000;
        let times = seconds(self.grid.start)..seconds(self.grid.end() + 1);
        let records = self.shared.records();
        let ordered = if self.family.name == DURATIONS {
            let mut slices = ExemplarSlices::new(times, limits::SLICE_REQUESTS);
            for (_, part) in records.traces.newest_first() {
                let identity = records.names.identity_of(part.identity);
                let route = || records.names.route_of(part.route).to_owned();
                if self.selection.filter.accepts(identity.component(), identity.tenant(), route) {
                    let (time, value) = (part.start.saturating_add(part.duration), part.duration as f64 / 1e9);
                    slices.add(Exemplar { time, value, trace_id: part.trace_id, span_id: part.root, is_kept: true });
                }
            }
            slices.ordered()
        } else {
            let mut slices = ExemplarSlices::new(times, limits::EXEMPLARS);
            for exemplar in self.family.exemplars.iter().rev() {
                if matches!(groups.of_slot.get(exemplar.slot as usize), Some(Some(_))) {
                    let (trace_id, span_id) = (exemplar.trace_id, exemplar.span_id);
                    let is_kept = records.traces.has(trace_id);
                    slices.add(Exemplar { time: exemplar.time, value: exemplar.value, trace_id, span_id, is_kept });
                }
            }
            slices.ordered()
        };
        for exemplar in ordered {
            json.object(|json| {
                json.member("time").time(exemplar.time);
                json.member("value").float(exemplar.value);
                json.member("trace_id").text(&trace_text(exemplar.trace_id));
                json.member("span_id").text(&span_text(exemplar.span_id));
                json.member("is_kept").boolean(exemplar.is_kept);
            });
        }
    }
}

pub(crate) fn write_points(json: &mut Json, points: &[Option<f64>]) {
    json.array(|json| {
        for point in points {
            json.rounded(*point);
        }
    });
}
