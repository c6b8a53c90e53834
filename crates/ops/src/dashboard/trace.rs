//! Traces: those that failed, and those that were slow.

use crate::Service;
use crate::format::grafana::{DataSource, Jaeger, Target, Tempo};
use crate::promql::duration;
use crate::settings::TraceStore;

use super::layout::Section;
use super::panel::table;

/// The traces that a panel shows.
const TRACES: u32 = 20;

/// Returns the data source of the store of traces.
pub(super) const fn source(service: &Service) -> DataSource {
    match service.settings.dashboards.traces {
        TraceStore::Jaeger => DataSource::JAEGER,
        TraceStore::Tempo => DataSource::TEMPO,
    }
}

pub(super) fn section(service: &Service) -> Section {
    let threshold = service.settings.latency;
    let slow = if threshold.fract() == 0.0 { duration(threshold as u64) } else { format!("{}ms", threshold * 1000.0) };
    let search = |is_failed: bool| match service.settings.dashboards.traces {
        TraceStore::Jaeger => {
            let (tags, least) = if is_failed { ("error=true", "") } else { ("", slow.as_str()) };
            Target::Jaeger(Jaeger::new("${component}", tags, least, TRACES))
        }
        TraceStore::Tempo => {
            let condition = if is_failed { "status = error".to_owned() } else { format!("traceDuration > {slow}") };
            let component = "${component:doublequote}";
            Target::Tempo(Tempo::new(format!("{{ resource.component = {component} && {condition} }}"), TRACES))
        }
    };
    let note = match service.settings.dashboards.traces {
        TraceStore::Jaeger => {
            " The name of a service in Jaeger is that of the component, unless OTEL_SERVICE_NAME gives the process another one."
        }
        TraceStore::Tempo => "",
    };
    let panels = vec![
        table("Failed traces of ${component}", None)
            .target(search(true))
            .wide(12)
            .for_each_component()
            .describe(&format!("Traces with a span that failed.{note}")),
        table("Slow traces of ${component}", None)
            .target(search(false))
            .wide(12)
            .for_each_component()
            .describe(&format!("Traces of {slow} and longer, the threshold of the alert on latency.{note}")),
    ];
    Section::new("Traces", panels).collapsed()
}
