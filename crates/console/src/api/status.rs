//! `/api/v1/status`: the console itself.

use super::now;
use crate::console::{Change, Shared};
use crate::json::Json;
use crate::limits;

/// The counts of all that the console dropped.
struct Drops {
    counts: Vec<(&'static str, &'static str, u64)>,
}

impl Drops {
    fn of(shared: &Shared) -> Self {
        let (_, refused) = shared.series().counts();
        let (_, cut) = shared.streams.counts();
        let (seen, selected) = shared.sampling.counts();
        let (fingerprints, attributes) = {
            let explainer = shared.explainer();
            (explainer.removed(), explainer.cut())
        };
        let changes = shared.dropped_changes();
        let records = shared.records();
        let [_, _, dropped, spans] = records.traces.counts();
        let counts = vec![
            ("series", "memory", refused as u64),
            ("logs", "memory", records.logs.dropped()),
            ("fields", "log_size", records.dropped_fields),
            ("names", "memory", records.names.others()),
            ("changes", "memory", changes),
            ("traces", "memory", dropped),
            ("spans", "unfinished", spans),
            ("traps", "memory", records.traps.dropped),
            ("fingerprints", "memory", fingerprints),
            ("attributes", "memory", attributes),
            ("streams", "slow_reader", cut),
            ("traces", "sampled_out", seen - selected.min(seen)),
        ];
        Self { counts: counts.into_iter().filter(|(.., count)| *count > 0).collect() }
    }
}

pub(crate) fn answer(shared: &Shared) -> String {
    let drops = Drops::of(shared);
    let [series_bytes, logs_bytes, traces_bytes, other] = shared.bytes();
    let fingerprints = shared.explainer().size();
    let mut json = Json::new();
    json.object(|json| {
        json.member("version").text(&shared.config.version);
        json.member("start").time(shared.begin);
        json.member("now").time(now());
        json.member("epoch").text(&shared.epoch());
        json.member("services").array(|json| shared.services().iter().for_each(|url| _ = json.text(url)));
        let series = shared.series();
        json.member("snapshots").object(|json| {
            let last = series.last();
            json.member("interval_seconds").unsigned(limits::STEP_SECONDS);
            match last.time {
                0 => json.member("last").null(),
                time => json.member("last").time(time),
            };
            json.member("duration_seconds").float(last.took.as_secs_f64());
            json.member("series").unsigned(last.series as u64);
        });
        json.member("memory").object(|json| {
            let used = series_bytes + logs_bytes + traces_bytes + fingerprints + other;
            json.member("limit_bytes").unsigned(shared.config.memory as u64);
            json.member("used_bytes").unsigned(used as u64);
            json.member("series_bytes").unsigned(series_bytes as u64);
            json.member("logs_bytes").unsigned(logs_bytes as u64);
            json.member("traces_bytes").unsigned(traces_bytes as u64);
            json.member("fingerprints_bytes").unsigned(fingerprints as u64);
            json.member("other_bytes").unsigned(other as u64);
        });
        json.member("series").object(|json| {
            let (kept, refused) = series.counts();
            json.member("kept").unsigned(kept as u64);
            json.member("refused").unsigned(refused as u64);
            match series.oldest() {
                Some(oldest) => json.member("oldest").unsigned(oldest),
                None => json.member("oldest").null(),
            };
            json.member("steps").array(|json| {
                for (step, age) in series.steps() {
                    json.object(|json| {
                        json.member("step_seconds").unsigned(step);
                        json.member("from_age_seconds").unsigned(age);
                    });
                }
            });
        });
        drop(series);
        let records = shared.records();
        json.member("logs").object(|json| {
            json.member("kept").unsigned(records.logs.len());
            json.member("received").unsigned(records.logs.last_id());
            json.member("dropped").unsigned(records.logs.dropped());
            optional_time(json.member("oldest"), records.logs.oldest());
        });
        json.member("traces").object(|json| {
            let [kept, received, dropped, _] = records.traces.counts();
            json.member("kept").unsigned(kept);
            json.member("received").unsigned(received);
            json.member("dropped").unsigned(dropped);
            optional_time(json.member("oldest"), records.traces.oldest());
        });
        drop(records);
        json.member("sampling").object(|json| {
            json.member("share").rounded(Some(shared.sampling.share()));
            json.member("limit_per_second").unsigned(limits::NORMAL_REQUESTS_PER_SECOND);
        });
        json.member("streams").object(|json| {
            let (open, cut) = shared.streams.counts();
            json.member("open").unsigned(open as u64);
            json.member("limit").unsigned(limits::STREAMS as u64);
            json.member("cut").unsigned(cut);
        });
        json.member("dropped").array(|json| {
            for (what, reason, count) in &drops.counts {
                json.object(|json| {
                    json.member("what").text(what);
                    json.member("reason").text(reason);
                    json.member("count").unsigned(*count);
                });
            }
        });
        json.member("changes").array(|json| {
            for change in shared.latest_changes() {
                write_change(json, &change);
            }
        });
    });
    json.finish()
}

/// Returns the data of the event `status`.
pub(crate) fn event(shared: &Shared) -> String {
    let dropped: u64 = Drops::of(shared).counts.iter().map(|(.., count)| count).sum();
    let used = shared.bytes().iter().sum::<usize>() + shared.explainer().size();
    let mut json = Json::new();
    json.object(|json| {
        json.member("dropped").unsigned(dropped);
        json.member("share").rounded(Some(shared.sampling.share()));
        json.member("used_bytes").unsigned(used as u64);
    });
    json.finish()
}

pub(crate) fn optional_time(json: &mut Json, time: Option<u64>) {
    match time {
        Some(time) => json.time(time),
        None => json.null(),
    };
}

pub(crate) fn write_change(json: &mut Json, change: &Change) {
    json.object(|json| {
        json.member("time").time(change.time);
        json.member("kind").text(change.kind.name());
        json.member("component").text(&change.component);
        json.member("tenant").text(&change.tenant);
        json.member("text").text(&change.text);
    });
}
