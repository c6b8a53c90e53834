//! Utilisation, saturation and errors of the runtime.

use crate::host;
use crate::promql::Expr;

use super::layout::Section;
use super::overview::LEGEND;
use super::panel::series;
use super::select::{OWN, RATE, Select, rate};

/// The labels of a component in a process.
const BY_PROCESS: [&str; 3] = ["component", "tenant", "instance"];
const PROCESS_LEGEND: &str = "{{component}} {{tenant}} {{instance}}";

pub(super) fn section(select: &Select<'_>) -> Section {
    let gauge = |metric| select.raw(metric).now();
    let process = |metric| select.process(metric).now();
    let sum = |by: &[&str], metric| Expr::sum(by, gauge(metric));
    let limit = || Expr::aggregate("max", &OWN, gauge(host::MEMORY_LIMIT));
    let buckets = Expr::sum(&["component", "tenant", "le"], Expr::rate(select.raw(host::MEMORY_PEAK_BUCKET), RATE));
    let peak = Expr::Call { function: "histogram_quantile", arguments: vec![Expr::Number(0.95), buckets] };
    let panels = vec![
        series("Instances", "short")
            .query(select, sum(&BY_PROCESS, host::INSTANCES), PROCESS_LEGEND)
            .query(select, Expr::aggregate("max", &OWN, gauge(host::INSTANCES_LIMIT)), &format!("{LEGEND} limit"))
            .lines()
            .bounded(Some(0.0), None)
            .describe("Live instances of each process, and the most that it may have."),
        series("Memory of an instance", "bytes")
            .query(select, sum(&OWN, host::MEMORY).op("/", sum(&OWN, host::INSTANCES)), LEGEND)
            .query(select, limit(), &format!("{LEGEND} limit"))
            .bounded(Some(0.0), None)
            .lines()
            .describe("Linear memory of an average instance, and the most that one may have."),
        series("Largest memory of an instance (P95)", "bytes")
            .query(select, peak, LEGEND)
            .query(select, limit(), &format!("{LEGEND} limit"))
            .bounded(Some(0.0), None)
            .lines()
            .describe("The most linear memory that instances had which have ended."),
        series("Requests that wait for an instance", "short")
            .query(select, sum(&BY_PROCESS, host::WAITING), PROCESS_LEGEND)
            .bounded(Some(0.0), None)
            .lines(),
        series("Requests that got no instance", "reqps")
            .query(
                select,
                rate(&["component", "tenant", "reason"], select.raw(host::REFUSED)),
                "{{component}} {{reason}}",
            )
            .bars(),
        series("Memory of all instances", "bytes")
            .query(select, sum(&BY_PROCESS, host::MEMORY), PROCESS_LEGEND)
            .bounded(Some(0.0), None)
            .stacked()
            .describe("Linear memory."),
        series("CPU of guests", "suffix:cores")
            .query(select, rate(&BY_PROCESS, select.raw(host::BUSY)), PROCESS_LEGEND)
            .bounded(Some(0.0), None)
            .stacked()
            .describe("Time spent running guests, waits excluded: seconds per second are cores."),
        series("Network", "binBps")
            .query(select, rate(&OWN, select.raw(host::REQUEST_BYTES)), &format!("{LEGEND} received"))
            .query(select, rate(&OWN, select.raw(host::RESPONSE_BYTES)), &format!("{LEGEND} sent"))
            .describe("Bytes of bodies of requests and responses."),
        series("Started instances", "cps").query(select, rate(&OWN, select.raw(host::STARTS)), LEGEND),
        series("Instances that ended early", "cps")
            .query(
                select,
                rate(&["component", "tenant", "reason"], select.raw(host::TRAPS)),
                "{{component}} {{reason}}",
            )
            .bars()
            .describe("Guests that ended in a trap, or that the host ended, by reason."),
        series("CPU of processes", "suffix:cores")
            .query(select, Expr::rate(select.process(host::PROCESS_CPU), RATE), "{{instance}}")
            .bounded(Some(0.0), None)
            .describe("User and system time, of the guests and of the host."),
        series("Memory of processes", "bytes")
            .query(select, process(host::PROCESS_MEMORY), "{{instance}}")
            .bounded(Some(0.0), None)
            .describe("Resident memory."),
        series("Open files", "short")
            .query(select, process(host::OPEN_FILES), "{{instance}}")
            .query(select, process(host::MAX_FILES), "{{instance}} limit")
            .bounded(Some(0.0), None)
            .lines(),
    ];
    Section::new("Runtime: utilisation, saturation, errors", panels)
}
