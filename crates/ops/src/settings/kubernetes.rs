//! The table `[ops.kubernetes]`, and the image.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::deployment::name;

/// The table `[ops.kubernetes]` of a configuration. Every key has a default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Table")]
#[non_exhaustive]
pub struct Kubernetes {
    /// The name of the objects and the label `app` of the pods. The default is made of the
    /// service's name.
    pub name: Option<String>,
    /// The namespace of the objects. Without one they belong to the namespace that `kubectl` uses.
    pub namespace: Option<String>,
    /// The label `version` of the pods. The default is the component's version, or a fingerprint of
    /// all versions if there are several.
    pub version: Option<String>,
    /// The pods that always run. With two, one is left while the other is replaced or its node is
    /// drained.
    pub replicas: u32,
    /// The pods to which the autoscaler may go. Five times the default of `replicas` absorbs a
    /// peak, and bounds the cost of a wrong metric.
    pub max_replicas: u32,
    /// The requests per second that one pod takes. With it the autoscaler scales on the request
    /// rate; without it, on saturation, because only a load test gives this number.
    pub request_rate: Option<f64>,
    /// The share of a component's instances that may be in use in the average pod. At 70% there is
    /// room for the time in which a new pod starts, and the alert about saturation (90%) is silent.
    pub saturation: f64,
    /// The processor time that a pod requests, as a quantity such as `500m`. It has no limit,
    /// because throttling would let guests run into their deadlines.
    pub cpu_request: String,
    /// The memory that a pod requests, as a quantity such as `512Mi`. The default is what all of
    /// its instances may have together.
    pub memory_request: Option<String>,
    /// The namespace of Prometheus, which may reach the telemetry port.
    pub monitoring_namespace: String,
    /// Labels of the `ServiceMonitor` and the `PrometheusRule`, by which a Prometheus of the
    /// operator selects them, such as `release = "kube-prometheus-stack"`.
    pub monitor_labels: BTreeMap<String, String>,
    /// `true` if Prometheus itself finds the pods, for one that the operator does not manage.
    pub discovery: bool,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            name: None,
            namespace: None,
            version: None,
            replicas: 2,
            max_replicas: 10,
            request_rate: None,
            saturation: 0.7,
            cpu_request: "500m".to_owned(),
            memory_request: None,
            monitoring_namespace: "monitoring".to_owned(),
            monitor_labels: BTreeMap::new(),
            discovery: false,
        }
    }
}

/// The largest number of replicas.
const MAX_REPLICAS: u32 = 1000;

/// The keys of the table, before those that depend on one another are compared.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
struct Table {
    #[serde(default, deserialize_with = "dns_label")]
    name: Option<String>,
    #[serde(default, deserialize_with = "dns_label")]
    namespace: Option<String>,
    #[serde(default, deserialize_with = "label_value")]
    version: Option<String>,
    #[serde(default, deserialize_with = "replicas")]
    replicas: Option<u32>,
    #[serde(default, deserialize_with = "replicas")]
    max_replicas: Option<u32>,
    #[serde(default, deserialize_with = "request_rate")]
    request_rate: Option<f64>,
    #[serde(default, deserialize_with = "saturation")]
    saturation: Option<f64>,
    #[serde(default, deserialize_with = "cpu")]
    cpu_request: Option<String>,
    #[serde(default, deserialize_with = "memory")]
    memory_request: Option<String>,
    #[serde(default, deserialize_with = "dns_label")]
    monitoring_namespace: Option<String>,
    #[serde(default, deserialize_with = "labels")]
    monitor_labels: BTreeMap<String, String>,
    #[serde(default)]
    discovery: bool,
}

impl TryFrom<Table> for Kubernetes {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let default = Self::default();
        let replicas = table.replicas.unwrap_or(default.replicas);
        // Without the key, the default must not contradict `replicas`.
        let max_replicas = table.max_replicas.unwrap_or_else(|| default.max_replicas.max(replicas));
        if max_replicas < replicas {
            return Err(format!(
                "`max-replicas` ({max_replicas}) is below `replicas` ({replicas}); raise the one or lower the other"
            ));
        }
        Ok(Self {
            name: table.name,
            namespace: table.namespace,
            version: table.version,
            replicas,
            max_replicas,
            request_rate: table.request_rate,
            saturation: table.saturation.unwrap_or(default.saturation),
            cpu_request: table.cpu_request.unwrap_or(default.cpu_request),
            memory_request: table.memory_request,
            monitoring_namespace: table.monitoring_namespace.unwrap_or(default.monitoring_namespace),
            monitor_labels: table.monitor_labels,
            discovery: table.discovery,
        })
    }
}

/// Reads a text, and returns an error with `expected` if it is not `valid`.
fn checked<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &str,
    valid: impl Fn(&str) -> bool,
) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if valid(&text) {
        return Ok(Some(text));
    }
    Err(D::Error::custom(format!("`{}` is not {expected}", text.escape_debug())))
}

pub(super) fn dns_label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let expected = "a name of Kubernetes: up to 50 small letters, digits and `-`, from a letter to a letter or digit";
    checked(deserializer, expected, name::is_dns_label)
}

fn label_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let expected = "a label's value: up to 63 letters, digits, `-`, `_` and `.`, from a letter or digit to another";
    checked(deserializer, expected, name::is_label_value)
}

fn cpu<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let valid = |text: &str| quantity(text, &["m", ""]).is_some();
    checked(deserializer, "a quantity of processors above 0, such as `500m` for a half, or `2`", valid)
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let valid = |text: &str| bytes(text).is_some();
    checked(deserializer, "a quantity of memory above 0 with the unit `Mi` or `Gi`, such as `512Mi`", valid)
}

/// Returns the whole number above 0 and the unit of a quantity with one of these units.
fn quantity<'a>(text: &str, units: &[&'a str]) -> Option<(u64, &'a str)> {
    // Longer numbers are no machine.
    const DIGITS: usize = 9;
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text.get(..end).filter(|digits| digits.len() <= DIGITS)?.parse().ok()?;
    let unit = units.iter().find(|unit| text.get(end..) == Some(*unit))?;
    (number > 0).then_some((number, *unit))
}

/// Returns the bytes of a quantity of memory.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = quantity(text, &["Mi", "Gi"])?;
    Some(number << if unit == "Gi" { 30 } else { 20 })
}

fn replicas<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = i64::deserialize(deserializer)?;
    match u32::try_from(number) {
        Ok(number @ 1..=MAX_REPLICAS) => Ok(Some(number)),
        _ => Err(D::Error::custom(format!("expected a number of pods from 1 to {MAX_REPLICAS}, not {number}"))),
    }
}

fn request_rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let expected = "requests per second of one pod, from 0.001 to 1000000";
    let number = super::Number { expected, min: None, max: 1e6 };
    let rate = deserializer.deserialize_any(number)?;
    // Kubernetes' quantities have thousandths.
    if rate < 0.001 { Err(D::Error::custom(format!("expected {expected}"))) } else { Ok(Some(rate)) }
}

fn saturation<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let expected = "a share from 0.05 to 0.95 of the instances, such as `0.7` for 70%";
    let share = deserializer.deserialize_any(super::Number { expected, min: None, max: super::MAX_RATIO })?;
    if share < 0.05 { Err(D::Error::custom(format!("expected {expected}"))) } else { Ok(Some(share)) }
}

fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let labels = BTreeMap::<String, String>::deserialize(deserializer)?;
    for (key, value) in &labels {
        if !name::is_label_key(key) {
            return Err(D::Error::custom(format!(
                "`{}` is not a label's key: up to 63 letters, digits, `-`, `_` and `.`, from a letter or digit to another, \
                 after an optional domain and `/`",
                key.escape_debug()
            )));
        }
        if !(value.is_empty() || name::is_label_value(value)) {
            return Err(D::Error::custom(format!("`{}` is not the value of a label", value.escape_debug())));
        }
    }
    Ok(labels)
}

/// Reads the name of an image.
pub(super) fn image<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let expected = "an image's name, such as `registry.example.com/shop:1.4.0`";
    checked(deserializer, expected, name::is_image)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Settings;

    fn read(table: Value) -> Result<Settings, String> {
        serde_json::from_value(table).map_err(|error: serde_json::Error| error.to_string())
    }

    #[test]
    fn keys_are_read() {
        let table = json!({
            "image": "registry.example.com/shop:1",
            "kubernetes": {
                "name": "shop", "namespace": "prod", "version": "1.4.0", "replicas": 3, "max-replicas": 3,
                "request-rate": 50.0, "saturation": 0.5, "cpu-request": "2", "memory-request": "2Gi",
                "monitoring-namespace": "metrics", "monitor-labels": {"release": "prometheus"}, "discovery": true,
            },
        });
        let settings = read(table).unwrap();
        assert_eq!(settings.image.as_deref(), Some("registry.example.com/shop:1"));
        let expected = Kubernetes {
            name: Some("shop".into()),
            namespace: Some("prod".into()),
            version: Some("1.4.0".into()),
            replicas: 3,
            max_replicas: 3,
            request_rate: Some(50.0),
            saturation: 0.5,
            cpu_request: "2".into(),
            memory_request: Some("2Gi".into()),
            monitoring_namespace: "metrics".into(),
            monitor_labels: BTreeMap::from([("release".into(), "prometheus".into())]),
            discovery: true,
        };
        assert_eq!(settings.kubernetes, expected);
        assert_eq!(bytes("2Gi"), Some(2 << 30));
        assert_eq!(read(json!({"kubernetes": {}})).unwrap(), Settings::default());
        // A larger minimum moves the default maximum.
        assert_eq!(read(json!({"kubernetes": {"replicas": 20}})).unwrap().kubernetes.max_replicas, 20);
    }

    #[test]
    fn errors_name_their_remedy() {
        for (table, parts) in [
            (json!({"image": "A b"}), ["`A b` is not an image's name", "shop:1.4.0"]),
            (json!({"kubernetes": {"replica": 2}}), ["unknown field `replica`", "`replicas`"]),
            (json!({"kubernetes": {"name": "Shop"}}), ["`Shop` is not a name of Kubernetes", "small letters"]),
            (json!({"kubernetes": {"namespace": "a\n"}}), ["`a\\n` is not", "from a letter"]),
            (json!({"kubernetes": {"version": "1+2"}}), ["`1+2` is not a label's value", "63"]),
            (json!({"kubernetes": {"replicas": 0}}), ["a number of pods from 1 to 1000", "not 0"]),
            (json!({"kubernetes": {"replicas": 4, "max-replicas": 2}}), ["`max-replicas` (2) is below", "raise"]),
            (json!({"kubernetes": {"request-rate": 0}}), ["requests per second of one pod", "from 0.001"]),
            (json!({"kubernetes": {"saturation": 1.5}}), ["a share from 0.05 to 0.95", "`0.7`"]),
            (json!({"kubernetes": {"saturation": 0.01}}), ["a share from 0.05 to 0.95", "`0.7`"]),
            (json!({"kubernetes": {"cpu-request": "0m"}}), ["`0m` is not a quantity of processors", "`500m`"]),
            (json!({"kubernetes": {"memory-request": "512MB"}}), ["`512MB` is not a quantity of memory", "`512Mi`"]),
            (
                json!({"kubernetes": {"monitor-labels": {"a b": "c"}}}),
                ["`a b` is not a label's key", "optional domain"],
            ),
            (json!({"kubernetes": {"monitor-labels": {"a": "c d"}}}), ["`c d` is not the value", "label"]),
        ] {
            let error = read(table).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "`{part}` is missing in: {error}");
            }
        }
    }
}
