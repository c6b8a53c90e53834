//! Limits of guests and of the service, by their names.

use wasmetry_host::{GuestLimits, LimitUnit};

use super::value;
use crate::serve::limits::service::{Definition, ServiceLimits};

/// A limit that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    name: &'static str,
    value: u64,
}

impl Limit {
    /// Parses a name and a value, such as `open-spans=64`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let expected = || "expected a name and a value, such as `series-per-metric=5000`".to_owned();
        let (name, value) = text.split_once('=').ok_or_else(expected)?;
        Self::new(name, value)
    }

    /// Parses the value of a limit.
    pub(crate) fn new(name: &str, value: &str) -> Result<Self, String> {
        if let Some(&(name, unit)) = GuestLimits::NAMES.iter().find(|(known, _)| *known == name) {
            return Ok(Self { name, value: number(name, unit, value)? });
        }
        if let Some(definition) = ServiceLimits::ALL.iter().find(|known| known.name == name) {
            return Ok(Self { name: definition.name, value: in_range(definition, value)? });
        }
        let of_guests = GuestLimits::NAMES.iter().map(|(name, _)| *name);
        let names: Vec<&str> = of_guests.chain(ServiceLimits::ALL.iter().map(|known| known.name)).collect();
        Err(format!("there is no limit `{}`; the limits are: {}", name.escape_debug(), names.join(", ")))
    }

    /// Returns the limits of guests with these set, of which later ones count.
    pub(crate) fn of_guests(set: impl IntoIterator<Item = Self>) -> GuestLimits {
        let mut limits = GuestLimits::default();
        for Self { name, value } in set {
            limits.set(name, value);
        }
        limits
    }

    /// Returns the limits of the service with these set, of which later ones count.
    pub(crate) fn of_service(set: impl IntoIterator<Item = Self>) -> ServiceLimits {
        let mut limits = ServiceLimits::default();
        for Self { name, value } in set {
            limits.set(name, value);
        }
        limits
    }
}

fn number(name: &str, unit: LimitUnit, value: &str) -> Result<u64, String> {
    match unit {
        LimitUnit::Bytes => value::size(value),
        LimitUnit::Nanoseconds => Ok(value::duration(value)?.as_nanos().try_into().unwrap_or(u64::MAX)),
        _ => value.parse().map_err(|_| format!("`{name}` is a whole number, such as `64`")),
    }
}

fn in_range(definition: &Definition, value: &str) -> Result<u64, String> {
    let Definition { name, unit, values, zero } = definition;
    if zero.is_some_and(|zero| value == zero || value == "0") {
        return Ok(0);
    }
    let or_zero = zero.map(|zero| format!(", or `{zero}`")).unwrap_or_default();
    let number = number(name, *unit, value).map_err(|error| format!("{error}{or_zero}"))?;
    if values.contains(&number) {
        return Ok(number);
    }
    let (least, most) = (definition.shown(*values.start()), definition.shown(*values.end()));
    Err(match *values.end() {
        u64::MAX => format!("`{name}` is {least} or more{or_zero}"),
        _ => format!("`{name}` is from {least} to {most}{or_zero}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_set_by_name() {
        let set = ["open-spans=64", "read-time=50ms", "store-memory=8MiB", "open-spans=65"];
        let limits = Limit::of_guests(set.map(|text| Limit::parse(text).unwrap()));
        assert_eq!((limits.open_spans, limits.read_time, limits.store_memory), (65, 50_000_000, 8 << 20));
        for wrong in ["", "open-spans", "spans=1", "open-spans=1MiB", "store-memory=much", "read-time=5", "regions=-1"]
        {
            assert!(Limit::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_of_service_have_ranges() {
        let set = ["request-head-bytes=8KiB", "request-body-bytes=1MiB", "client-connections=off", "lookups=1"];
        let limits = Limit::of_service(set.map(|text| Limit::parse(text).unwrap()));
        assert_eq!((limits.request_head_bytes, limits.request_body_bytes), (8 << 10, 1 << 20));
        assert_eq!((limits.client_connections, limits.lookups), (0, 1));
        assert_eq!(limits.stalled_client_time, ServiceLimits::default().stalled_client_time);
        for (wrong, parts) in [
            ("request-head-bytes=1MiB", &["`request-head-bytes` is from `1KiB` to `64KiB`"][..]),
            ("request-body-bytes=much", &["`64MiB`", ", or `off`"]),
            ("client-requests=-1", &["`client-requests` is a whole number", ", or `off`"]),
            ("lookups=0", &["`lookups` is from `1` to `448`"]),
            ("write-time=1ms", &["`write-time` is `10ms` or more"]),
            ("outgoing-per-store=0", &["`outgoing-per-store` is `1` or more"]),
            ("heads=1", &["there is no limit `heads`", "open-spans", "request-head-bytes"]),
        ] {
            let error = Limit::parse(wrong).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{wrong}: {error}");
        }
    }
}
