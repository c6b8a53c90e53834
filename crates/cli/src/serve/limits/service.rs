//! The limits of the service that can be set, by their names: those of clients, and of guests'
//! requests to other services.

use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use wasmetry_host::LimitUnit;

use crate::guest::limits as guest;
use crate::guest::outgoing::budget::OutgoingLimits;

/// A limit that can be set.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) unit: LimitUnit,
    pub(crate) values: RangeInclusive<u64>,
    /// The word for 0, if that is a value: `off`, or `auto` for a share of the open files.
    pub(crate) zero: Option<&'static str>,
}

impl Definition {
    /// Returns a value as it is written.
    pub(crate) fn shown(&self, value: u64) -> String {
        match (value, self.zero, self.unit) {
            (0, Some(zero), _) => format!("`{zero}`"),
            (_, _, LimitUnit::Bytes) if value.is_multiple_of(1 << 20) => format!("`{}MiB`", value >> 20),
            (_, _, LimitUnit::Bytes) if value.is_multiple_of(1 << 10) => format!("`{}KiB`", value >> 10),
            (_, _, LimitUnit::Nanoseconds) => format!("`{}`", humantime::format_duration(time(value))),
            _ => format!("`{value}`"),
        }
    }
}

/// Defines [`ServiceLimits`] by one table: documentation, field, name, unit, values, the word for
/// 0, and default.
macro_rules! service_limits {
    ($($(#[$doc:meta])+ $field:ident, $name:literal, $unit:ident, $values:expr, $zero:expr, $default:expr;)+) => {
        /// The limits of the service that can be set. Those of time are in nanoseconds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct ServiceLimits {
            $($(#[$doc])+ pub(crate) $field: u64,)+
        }

        impl Default for ServiceLimits {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl ServiceLimits {
            /// The limits, in the order of the table.
            pub(crate) const ALL: &[Definition] = &[$(
                Definition { name: $name, unit: LimitUnit::$unit, values: $values, zero: $zero },
            )+];

            /// Sets the limit of this name. Returns `false` if there is none.
            pub(crate) fn set(&mut self, name: &str, value: u64) -> bool {
                match name {
                    $($name => self.$field = value,)+
                    _ => return false,
                }
                true
            }

            /// Returns the limits with their values, in the order of [`ALL`](Self::ALL).
            pub(crate) fn values(&self) -> impl Iterator<Item = (&'static Definition, u64)> {
                Self::ALL.iter().zip([$(self.$field,)+])
            }
        }
    };
}

/// Any value from one on.
const ANY: RangeInclusive<u64> = 1..=u64::MAX;

/// Any time from that of one look at a client on.
const TIME: RangeInclusive<u64> = milliseconds(10)..=u64::MAX;

const fn milliseconds(count: u64) -> u64 {
    count * 1_000_000
}

service_limits! {
    /// Bytes of a request's head. WASI charges the fields of a request at 64 KiB, so that a longer
    /// head would end its guest.
    request_head_bytes, "request-head-bytes", Bytes, 1 << 10..=guest::RESOURCE as u64, None, 64 << 10;
    /// The time in which the rest of a head must arrive. Every client that has begun a head has it
    /// ready.
    request_head_time, "request-head-time", Nanoseconds, TIME, None, milliseconds(10_000);
    /// The lifetime of an idle connection: the time in which a client must begin a request's head.
    idle_connection_time, "idle-connection-time", Nanoseconds, TIME, None, milliseconds(30_000);
    /// Bytes of a request's body. The host keeps none of it, and its request has a deadline.
    request_body_bytes, "request-body-bytes", Bytes, ANY, Some("off"), 0;
    /// The time without a byte after which an instance does not wait for its client any longer.
    stalled_client_time, "stalled-client-time", Nanoseconds, TIME, None, milliseconds(10_000);
    /// The same if other requests wait for an instance.
    contended_client_time, "contended-client-time", Nanoseconds, TIME, None, milliseconds(2000);
    /// The time without progress of a write after which a connection is dropped.
    write_time, "write-time", Nanoseconds, TIME, None, milliseconds(30_000);
    /// The time in which a client has to read the rest of a response that is complete: about half a
    /// megabyte, which is more than 8 KiB in a second. Up to then a slow client makes progress, and
    /// has its connection unless another client needs it.
    response_read_time, "response-read-time", Nanoseconds, TIME, None, milliseconds(60_000);
    /// The time that a client has to close its half of a connection behind the last response. What
    /// it still sends, such as the rest of a refused upload, is dropped until then.
    closing_time, "closing-time", Nanoseconds, TIME, None, milliseconds(2000);
    /// Bytes that are dropped until then. Many clients read no response before they have sent all
    /// of a request.
    closing_bytes, "closing-bytes", Bytes, ANY, None, 16 << 20;
    /// Connections of one client's address. A proxy is one client.
    client_connections, "client-connections", Number, ANY, Some("off"), 0;
    /// Requests of one client's address whose guests have not ended. A proxy is one client.
    client_requests, "client-requests", Number, ANY, Some("off"), 0;
    /// Requests of one tenant that wait or run, each of which has the connection of a client.
    requests_per_tenant, "requests-per-tenant", Number, ANY, Some("auto"), 0;
    /// Connections to other services of one store.
    outgoing_per_store, "outgoing-per-store", Number, ANY, None, guest::OUTGOING_PER_STORE as u64;
    /// Connections to other services of one tenant.
    outgoing_per_tenant, "outgoing-per-tenant", Number, ANY, Some("auto"), 0;
    /// Connections to other services of all guests, at most a quarter of the open files.
    outgoing_connections, "outgoing-connections", Number, ANY, Some("auto"), 0;
    /// Names that are looked up at a time, for all guests. The runtime has 512 threads for calls
    /// that block, of which reads of guests and reloads need some.
    lookups, "lookups", Number, 1..=448, None, guest::LOOKUPS as u64;
    /// Names that are looked up at a time, for the guests of one tenant.
    lookups_per_tenant, "lookups-per-tenant", Number, 1..=448, None, guest::LOOKUPS_PER_TENANT as u64;
}

/// Converts a limit of time.
pub(in crate::serve) fn time(nanoseconds: u64) -> Duration {
    Duration::from_nanos(nanoseconds)
}

impl ServiceLimits {
    /// Returns `true` if a body has more bytes than it may have.
    pub(in crate::serve) fn exceeds_body(&self, bytes: u64) -> bool {
        self.request_body_bytes != 0 && bytes > self.request_body_bytes
    }

    /// Returns the most requests of one tenant; `None` for its share of the clients' connections.
    pub(in crate::serve) fn requests_per_tenant(&self) -> Option<usize> {
        unless_zero(self.requests_per_tenant)
    }

    /// Returns the limits of requests to other services.
    pub(in crate::serve) fn outgoing(&self) -> OutgoingLimits {
        OutgoingLimits {
            per_store: count(self.outgoing_per_store),
            per_tenant: unless_zero(self.outgoing_per_tenant),
            all: unless_zero(self.outgoing_connections),
            lookups: count(self.lookups),
            lookups_per_tenant: count(self.lookups_per_tenant),
        }
    }
}

fn count(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Returns a number, or `None` for 0, which stands for `auto`.
fn unless_zero(value: u64) -> Option<usize> {
    Some(count(value)).filter(|count| *count > 0)
}

/// The limits in force, which a reload replaces. A clone is of the same.
#[derive(Clone, Debug, Default)]
pub(in crate::serve) struct LimitsInForce(Arc<RwLock<ServiceLimits>>);

impl LimitsInForce {
    pub(in crate::serve) fn new(limits: ServiceLimits) -> Self {
        Self(Arc::new(RwLock::new(limits)))
    }

    pub(in crate::serve) fn get(&self) -> ServiceLimits {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::serve) fn set(&self, limits: ServiceLimits) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::serve::limits as serve;
    use wasmetry_host::GuestLimits;

    const DOCS: &str = include_str!("../../../../../docs/limits.md");

    /// The sections whose limits are those of the service.
    const SECTIONS: [&str; 2] = ["## Clients of the service", "## Requests of guests to other services"];

    /// Each limit that can be set has a row with its name and default, and every row its reason and
    /// the way in which it is set.
    #[test]
    fn documented_limits_are_those_of_table() {
        let mut documented = BTreeMap::new();
        let mut rows = 0;
        for title in SECTIONS {
            let (_, section) = DOCS.split_once(title).unwrap();
            let section = section.split("\n## ").next().unwrap();
            for row in section.lines().filter(|line| line.starts_with("| ")).skip(1) {
                let cells: Vec<&str> = row.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
                let [limit, default, why, .., set] = cells[..] else { panic!("{row}") };
                assert!(![limit, default, why, set].contains(&""), "{row}");
                rows += 1;
                if let Some(name) = set.strip_prefix("`--limit ") {
                    let name = name.split('`').next().unwrap();
                    assert!(documented.insert(name, default).is_none(), "{name}");
                }
            }
        }
        assert!(rows > ServiceLimits::ALL.len());
        for (definition, value) in ServiceLimits::default().values() {
            let default = documented.remove(definition.name);
            let expected = definition.shown(value);
            // A default that depends on something is explained behind it.
            assert!(default.is_some_and(|default| default.starts_with(&expected)), "{}: {default:?}", definition.name);
        }
        assert_eq!(documented, BTreeMap::new(), "no such limits");
    }

    /// Returns a number with a comma between thousands.
    fn number(value: usize) -> String {
        if value < 1000 { value.to_string() } else { format!("{},{:03}", value / 1000, value % 1000) }
    }

    /// The rows of constants have their values.
    #[test]
    fn documented_constants_have_values() {
        let bytes = |value: u64| {
            if value.is_multiple_of(1 << 20) { format!("{} MiB", value >> 20) } else { format!("{} KiB", value >> 10) }
        };
        let minutes = |value: Duration| format!("{} min", value.as_secs() / 60);
        for (name, value) in [
            ("HOST_BYTES", number(guest::HOST_BYTES)),
            ("OUTGOING_TIMEOUT", minutes(guest::OUTGOING_TIMEOUT)),
            ("RESPONSE_HEAD", bytes(guest::RESPONSE_HEAD as u64)),
            ("BODY_CHUNK", bytes(guest::BODY_CHUNK as u64)),
            ("RESOURCE", bytes(guest::RESOURCE as u64)),
            ("RANDOM_BYTES", bytes(guest::RANDOM_BYTES)),
            ("HOST_CALL", bytes(guest::HOST_CALL as u64)),
            ("TABLE_ELEMENTS", number(serve::TABLE_ELEMENTS)),
            ("COMPILE_TIMEOUT", minutes(serve::COMPILE_TIMEOUT)),
            ("COMPILATIONS", number(serve::COMPILATIONS)),
            ("ABANDONED_COMPILATIONS", number(serve::ABANDONED_COMPILATIONS)),
            ("MAX_COMPONENTS", number(serve::MAX_COMPONENTS)),
            ("MAX_CONFIG", bytes(serve::MAX_CONFIG)),
            ("PREFETCHED_BYTES", bytes(serve::PREFETCHED_BYTES)),
            ("STDIO_LANE_CHUNKS", number(serve::STDIO_LANE_CHUNKS)),
        ] {
            let start = format!("| `{name}`");
            let row = DOCS.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no row: {name}"));
            let default = row.split(" | ").nth(1).unwrap();
            let rest = default.strip_prefix(&value).unwrap_or_else(|| panic!("{name} is {value}: {row}"));
            assert!(rest.is_empty() || rest.starts_with([' ', ',']), "{name} is {value}: {row}");
        }
    }

    #[test]
    fn every_name_sets_its_limit() {
        let mut names: BTreeSet<&str> = GuestLimits::NAMES.iter().map(|(name, _)| *name).collect();
        for definition in ServiceLimits::ALL {
            assert!(names.insert(definition.name), "{} is the name of two limits", definition.name);
            let mut limits = ServiceLimits::default();
            assert!(limits.set(definition.name, u64::MAX));
            let changed = limits.values().filter(|(_, value)| *value == u64::MAX).map(|(changed, _)| changed.name);
            assert_eq!(changed.collect::<Vec<_>>(), [definition.name]);
        }
        for (definition, value) in ServiceLimits::default().values() {
            assert!(definition.values.contains(&value) || definition.zero.is_some() && value == 0);
        }
        assert!(!ServiceLimits::default().set("open-spans", 1));
    }
}
