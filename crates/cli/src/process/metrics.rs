//! The `process_*` metrics, as Prometheus' client libraries define them.

use std::fs;
use std::sync::Mutex;

use wasmetry_host::{FloatCounter, Gauge, Registry};

/// The unit of times in `/proc`, which Linux shows in 1/100 s on every architecture that Rust
/// supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// The `process_*` metrics, read from `/proc`. On a system without it they do not exist.
pub(crate) struct ProcessMetrics {
    gauges: Option<Gauges>,
}

struct Gauges {
    cpu: FloatCounter,
    cpu_seen: Mutex<f64>,
    resident: Gauge,
    virtual_memory: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
}

impl ProcessMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let gauges = Stat::read().map(|stat| {
            let gauge = |name, help| registry.gauge(name, help, &[]).with(&[]);
            if let Some(start) = start_time(&stat) {
                gauge("process_start_time_seconds", "Start time of the process since the Unix epoch in seconds.")
                    .set(start);
            }
            Gauges {
                cpu: registry
                    .float_counter("process_cpu_seconds_total", "User and system CPU time spent in seconds.", &[])
                    .with(&[]),
                cpu_seen: Mutex::new(0.0),
                resident: gauge("process_resident_memory_bytes", "Resident memory size in bytes."),
                virtual_memory: gauge("process_virtual_memory_bytes", "Virtual memory size in bytes."),
                open_fds: gauge("process_open_fds", "Number of open file descriptors."),
                max_fds: gauge("process_max_fds", "Maximum number of open file descriptors."),
            }
        });
        Self { gauges }
    }

    /// Updates the values. It is called right before a snapshot.
    pub(crate) fn refresh(&self) {
        let Some(gauges) = &self.gauges else { return };
        if let Some(stat) = Stat::read() {
            gauges.add_cpu(stat.cpu_ticks as f64 / TICKS_PER_SECOND);
            gauges.virtual_memory.set(stat.virtual_bytes as f64);
        }
        if let Some(status) = read("status")
            && let Some(kibibytes) = field(&status, "VmRSS:")
        {
            gauges.resident.set(kibibytes as f64 * 1024.0);
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // One entry is the directory that is being read.
            gauges.open_fds.set(entries.count().saturating_sub(1) as f64);
        }
        if let Some(limits) = read("limits")
            && let Some(max) = field(&limits, "Max open files")
        {
            gauges.max_fds.set(max as f64);
        }
    }
}

impl Gauges {
    fn add_cpu(&self, total: f64) {
        // Concurrent scrapes must not both add the same time.
        let mut seen = self.cpu_seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if total > *seen {
            self.cpu.add(total - *seen);
            *seen = total;
        }
    }
}

/// The values of `/proc/self/stat` that are used.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: u64,
    start_ticks: u64,
    virtual_bytes: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&read("stat")?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The second field, the command's name in parentheses, may contain any character, even `)`.
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        // Fields are numbered from 1 in proc(5), and the third is the first one here.
        let mut number = |skip| fields.nth(skip)?.parse().ok();
        let user: u64 = number(14 - 3)?;
        let system: u64 = number(0)?;
        let start_ticks = number(22 - 15 - 1)?;
        let virtual_bytes = number(0)?;
        Some(Self { cpu_ticks: user + system, start_ticks, virtual_bytes })
    }
}

fn start_time(stat: &Stat) -> Option<f64> {
    let boot = field(&fs::read_to_string("/proc/stat").ok()?, "btime")?;
    Some(boot as f64 + stat.start_ticks as f64 / TICKS_PER_SECOND)
}

fn read(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/self/{name}")).ok()
}

/// Returns the first number of the line that begins with a key.
fn field(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_hostile_name() {
        let stat = "42 (a) b) (c) S 1 42 42 0 -1 4194560 1000 0 0 0 250 50 0 0 20 0 4 0 123456 77824000 900 18446744073709551615 1 1 0";
        let expected = Stat { cpu_ticks: 300, start_ticks: 123_456, virtual_bytes: 77_824_000 };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse(""), None);
        assert_eq!(Stat::parse("42 (a) S 1"), None);
    }

    #[test]
    fn fields() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 1048576              files\n";
        assert_eq!(field(limits, "Max open files"), Some(1024));
        assert_eq!(field("VmRSS:\t    1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(field("Max open files  unlimited", "Max open files"), None);
        assert_eq!(field("", "btime"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_stat() {
        let stat = Stat::read().expect("/proc is mounted");
        assert!(stat.virtual_bytes > 0 && stat.start_ticks > 0);
        let start = start_time(&stat).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(start > 1e9 && start < now + 2.0, "{start} {now}");
    }
}
