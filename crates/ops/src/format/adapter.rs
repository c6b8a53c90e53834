//! The configuration of the Prometheus adapter: metrics of pods for autoscalers.
//!
//! Source: the adapter's "Metrics Discovery and Presentation Configuration". Its queries are
//! templates of Go with the delimiters `<<` and `>>`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::promql::Expr;
use crate::scope::job;
use crate::{Service, host};

/// The name of the requests per second of a pod.
pub(crate) const REQUEST_RATE: &str = "wasm_http_requests_per_second";

/// The name of the share of a component's instances that are in use in a pod; of its components,
/// the fullest.
pub(crate) const SATURATION: &str = "wasm_instances_saturation";

/// Seconds over which values are averaged. A pod that starts takes about as long.
const RANGE: u64 = 120;

/// The samples of a range, at least: a rate needs two, and one scrape may be missing.
const SAMPLES: u64 = 4;

/// A configuration.
#[derive(Debug, Serialize)]
pub(crate) struct Config {
    rules: [Rule; 2],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    series_query: String,
    resources: Resources,
    name: Name,
    metrics_query: String,
}

#[derive(Debug, Serialize)]
struct Resources {
    overrides: BTreeMap<&'static str, Resource>,
}

#[derive(Debug, Serialize)]
struct Resource {
    resource: &'static str,
}

#[derive(Debug, Serialize)]
struct Name {
    r#as: &'static str,
}

/// The labels of the requested pods, in a template.
const MATCHERS: &str = "<<.LabelMatchers>>";

/// The labels that the result has, in a template.
const GROUP_BY: &str = "<<.GroupBy>>";

/// The label of a matcher that stands for [`MATCHERS`]. Names have no control characters.
const MATCHERS_MARK: &str = "\u{1}";

/// A label that stands for [`GROUP_BY`].
const GROUP_BY_MARK: &str = "\u{2}";

/// Returns the rules of both metrics.
pub(crate) fn rules(service: &Service) -> Config {
    let range = RANGE.max(SAMPLES.saturating_mul(service.settings.scrape_interval));
    let rate = job(&service.settings, host::REQUESTS).with(MATCHERS_MARK, "=", "").over(range);
    let mean =
        |metric| Expr::call("avg_over_time", job(&service.settings, metric).with(MATCHERS_MARK, "=", "").over(range));
    let saturation = mean(host::INSTANCES).op("/", mean(host::INSTANCES_LIMIT));
    Config {
        rules: [
            rule(service, host::REQUESTS, REQUEST_RATE, Expr::sum(&[GROUP_BY_MARK], Expr::call("rate", rate))),
            rule(service, host::INSTANCES, SATURATION, Expr::aggregate("max", &[GROUP_BY_MARK], saturation)),
        ],
    }
}

fn rule(service: &Service, series: &str, name: &'static str, query: Expr) -> Rule {
    // A name with the template's delimiter must not be an action.
    let text = query.to_string().replace('\n', " ").replace("<<", "\\x3c\\x3c");
    let series = job(&service.settings, series).with("namespace", "!=", "").with("pod", "!=", "");
    let resource = |resource| (resource, Resource { resource });
    Rule {
        series_query: series.to_string(),
        resources: Resources { overrides: [resource("namespace"), resource("pod")].into() },
        name: Name { r#as: name },
        metrics_query: text.replace("\u{1}=\"\"", MATCHERS).replace(GROUP_BY_MARK, GROUP_BY),
    }
}
