//! Reads what groups of series have: once for components and routes.

use std::collections::HashMap;

use wasmetry_host::Number;

use super::super::series::DURATIONS;
use super::figures::{Figures, Traps};
use crate::series::{Family, Grid, Groups, HistogramSteps, Labels, SeriesStore, Totals, quantile};

pub(super) const REQUESTS: &str = "wasm_http_requests_total";
pub(super) const IN_FLIGHT: &str = "wasm_http_requests_in_flight";
pub(super) const INSTANCES: &str = "wasm_instances";
const TRAPS: &str = "wasm_traps_total";
const MEMORY_PEAK: &str = "wasm_instance_memory_peak_ratio";

/// Returns `true` if the requests of a series have failed.
pub(super) fn is_failed(labels: &Labels<'_>) -> bool {
    labels.get("status").parse::<u16>().is_ok_and(|status| status >= 500)
}

/// The values of groups of series.
pub(super) struct Increases {
    /// Two for each group: the good requests, and those that failed.
    requests: Totals,
    totals: Vec<u64>,
    durations: Option<HistogramSteps>,
    in_flight: Vec<f64>,
    traps: Vec<Traps>,
    /// The step in which the first series of each group was seen.
    born: Vec<u32>,
}

impl Increases {
    /// Returns what `len` groups have, of which each has those with its number in `place`.
    pub(super) fn united(&self, place: &[u32], len: usize) -> Self {
        let of_requests: Vec<u32> = place.iter().flat_map(|place| [2 * place, 2 * place + 1]).collect();
        let (mut totals, mut in_flight, mut traps) = (vec![0; len], vec![0.0; len], vec![Traps::new(); len]);
        let mut born = vec![u32::MAX; len];
        for (group, place) in place.iter().enumerate() {
            let place = *place as usize;
            totals[place] += self.totals[group];
            in_flight[place] += self.in_flight[group];
            born[place] = self.born[group].min(born[place]);
            for (reason, (count, total)) in &self.traps[group] {
                let known = traps[place].entry(reason.clone()).or_default();
                *known = (known.0 + count, known.1 + total);
            }
        }
        Self {
            requests: self.requests.united(&of_requests, 2 * len),
            totals,
            durations: self.durations.as_ref().map(|durations| durations.united(place, len)),
            in_flight,
            traps,
            born,
        }
    }

    /// Returns the figures of each group.
    pub(super) fn figures(&self, reader: &Reader<'_>) -> Vec<Figures> {
        (0..self.totals.len()).map(|group| self.figures_of(group, reader)).collect()
    }

    pub(super) fn figures_of(&self, group: usize, Reader { series, grid, .. }: &Reader<'_>) -> Figures {
        let none = vec![None; grid.len];
        let lifetime = grid.since(self.born[group]);
        let mut figures = Figures {
            total: self.totals[group],
            in_flight: self.in_flight[group],
            traps: self.traps[group].clone(),
            seconds: lifetime.all_seconds(),
            rates: none.clone(),
            error_rates: none.clone(),
            p99s: none,
            ..Figures::default()
        };
        let (good, errors) = (self.requests.of(2 * group), self.requests.of(2 * group + 1));
        for at in 0..grid.len {
            figures.requests += good[at] + errors[at];
            figures.errors += errors[at];
            let Some(seconds) = lifetime.seconds(at) else { continue };
            figures.rates[at] = Some((good[at] + errors[at]) / seconds);
            figures.error_rates[at] = Some(errors[at] / seconds);
        }
        let (Some(steps), Some(family)) = (&self.durations, series.family(DURATIONS)) else { return figures };
        let all = steps.all(group);
        figures.quantiles = [0.5, 0.95, 0.99].map(|rank| quantile(rank, &family.bounds, &all));
        let mut counts = Vec::with_capacity(all.len());
        for (at, p99) in figures.p99s.iter_mut().enumerate() {
            counts.clear();
            counts.extend(steps.counts(group, at).iter().map(|count| u64::from(*count)));
            *p99 = quantile(0.99, &family.bounds, &counts);
        }
        figures
    }
}

/// Reads the figures of groups of series.
pub(super) struct Reader<'a> {
    pub(super) series: &'a SeriesStore,
    grid: &'a Grid,
    /// The whole range as one step.
    whole: Grid,
}

impl<'a> Reader<'a> {
    pub(super) fn new(series: &'a SeriesStore, grid: &'a Grid) -> Self {
        Self { series, grid, whole: grid.whole() }
    }

    fn groups(&self, family: &Family, len: usize, group_of: impl Fn(&Labels<'_>) -> Option<u32>) -> Groups {
        let mut of_slot = vec![None; family.slots.len()];
        for (at, set, _) in family.used() {
            of_slot[at] = group_of(&self.series.labels(set));
        }
        Groups { of_slot, len }
    }

    /// Returns what `len` groups have.
    pub(super) fn read(&self, len: usize, group_of: &dyn Fn(&Labels<'_>) -> Option<u32>) -> Increases {
        let (requests, totals) = self.read_requests(len, group_of);
        let mut born = vec![u32::MAX; len];
        // The others may begin with the first request.
        for family in [INSTANCES, IN_FLIGHT, REQUESTS, DURATIONS].iter().filter_map(|name| self.series.family(name)) {
            let of_family = self.groups(family, len, group_of).born(family);
            born.iter_mut().zip(of_family).for_each(|(known, other)| *known = other.min(*known));
        }
        Increases {
            requests,
            totals,
            durations: self.read_durations(len, group_of),
            in_flight: self.gauge(IN_FLIGHT, len, group_of).into_iter().map(|value| value.unwrap_or(0.0)).collect(),
            traps: self.read_traps(len, group_of),
            born,
        }
    }

    /// Returns the requests of each group, the good ones and those that failed, and all since the
    /// start.
    fn read_requests(&self, len: usize, group_of: &dyn Fn(&Labels<'_>) -> Option<u32>) -> (Totals, Vec<u64>) {
        let Some(family) = self.series.family(REQUESTS) else {
            return (Totals::new(2 * len, self.grid.len), vec![0; len]);
        };
        let groups = self
            .groups(family, 2 * len, |labels| group_of(labels).map(|group| 2 * group + u32::from(is_failed(labels))));
        let mut totals = vec![0; len];
        for (at, _, slot) in family.used() {
            if let (Some(Some(group)), Number::Unsigned(value)) = (groups.of_slot.get(at), slot.value.number()) {
                totals[*group as usize / 2] += value;
            }
        }
        (self.series.increases(family, &groups, self.grid), totals)
    }

    fn read_durations(&self, len: usize, group_of: &dyn Fn(&Labels<'_>) -> Option<u32>) -> Option<HistogramSteps> {
        let family = self.series.family(DURATIONS)?;
        Some(self.series.histograms(family, &self.groups(family, len, group_of), self.grid))
    }

    fn read_traps(&self, len: usize, group_of: &dyn Fn(&Labels<'_>) -> Option<u32>) -> Vec<Traps> {
        let mut all = vec![Traps::new(); len];
        let Some(family) = self.series.family(TRAPS) else { return all };
        let mut known: HashMap<(u32, String), u32> = HashMap::new();
        let mut groups = Groups { of_slot: vec![None; family.slots.len()], len: 0 };
        for (at, set, slot) in family.used() {
            let labels = self.series.labels(set);
            let Some(group) = group_of(&labels) else { continue };
            let reason = labels.get("reason");
            let next = known.len() as u32;
            groups.of_slot[at] = Some(*known.entry((group, reason.to_owned())).or_insert(next));
            let total = &mut all[group as usize].entry(reason.to_owned()).or_default().1;
            if let Number::Unsigned(value) = slot.value.number() {
                *total += value;
            }
        }
        groups.len = known.len();
        let totals = self.series.increases(family, &groups, &self.whole);
        for ((group, reason), at) in known {
            if let Some((count, _)) = all[group as usize].get_mut(&reason) {
                *count += totals.sum(at as usize);
            }
        }
        all
    }

    /// Returns the sums of gauges now.
    pub(super) fn gauge(
        &self,
        name: &str,
        len: usize,
        group_of: &dyn Fn(&Labels<'_>) -> Option<u32>,
    ) -> Vec<Option<f64>> {
        let mut values = vec![None; len];
        let newest = self.series.newest().unwrap_or(0);
        for (_, set, slot) in self.series.family(name).into_iter().flat_map(Family::used) {
            if slot.last != newest {
                continue;
            }
            if let Some(group) = group_of(&self.series.labels(set)) {
                let value = &mut values[group as usize];
                *value = Some(value.unwrap_or(0.0) + slot.value.number().as_f64());
            }
        }
        values
    }

    /// Returns the increases of a counter in the range.
    pub(super) fn counter(&self, name: &str, len: usize, group_of: &dyn Fn(&Labels<'_>) -> Option<u32>) -> Vec<f64> {
        let Some(family) = self.series.family(name) else { return vec![0.0; len] };
        let groups = self.groups(family, len, group_of);
        let totals = self.series.increases(family, &groups, &self.whole);
        (0..len).map(|group| totals.sum(group)).collect()
    }

    /// Returns the upper bound of the greatest share of its memory that an instance had.
    pub(super) fn memory_peaks(&self, len: usize, group_of: &dyn Fn(&Labels<'_>) -> Option<u32>) -> Vec<Option<f64>> {
        let Some(family) = self.series.family(MEMORY_PEAK) else { return vec![None; len] };
        let groups = self.groups(family, len, group_of);
        let steps = self.series.histograms(family, &groups, &self.whole);
        let peak = |group| {
            let greatest = steps.all(group).iter().rposition(|count| *count > 0)?;
            Some(family.bounds.get(greatest).copied().unwrap_or(1.0))
        };
        (0..len).map(peak).collect()
    }
}
