//! The deployment of a service: names, ports, files, memory and times, which manifests, the
//! container file and the Compose file share.
//!
//! In come components and `[ops]`. The folder does not know formats.

pub(crate) mod layout;
pub(crate) mod name;

use crate::settings::kubernetes::bytes;
use crate::{Component, Service};
use layout::Layout;

/// The port of the service in a container.
pub(crate) const HTTP_PORT: u16 = 8080;

/// The port of the telemetry endpoint in a container.
pub(crate) const TELEMETRY_PORT: u16 = 9464;

/// The name of the telemetry port, by which Prometheus finds it.
pub(crate) const TELEMETRY: &str = "telemetry";

/// The label `runtime` of pods.
pub(crate) const RUNTIME: &str = "wasmtime";

/// The user and the group of the process: those that images without root users commonly have.
pub(crate) const USER: i64 = 65_532;

/// The program in the container.
pub(crate) const PROGRAM: &str = "/usr/local/bin/wasmetry";

const MIB: u64 = 1 << 20;

/// The memory of a process without instances. It is 47 MB with one compiled component of 360 KB;
/// larger components, connections and queues of telemetry take more.
const PROCESS_MEMORY: u64 = 128 * MIB;

/// The memory of an instance beside its linear memory: its stack, its tables, its request. 1,000
/// instances that wait have 192 KiB each, with the linear memory that they have touched.
const INSTANCE_MEMORY: u64 = 256 * 1024;

/// The seconds between the end of a pod and SIGTERM, in which its address is withdrawn, so that no
/// request comes to a process that has stopped listening.
pub(crate) const DRAIN_SECONDS: u64 = 5;

/// The seconds after the last request for which the process exports its telemetry (5 s), and a
/// reserve.
const EXPORT_SECONDS: u64 = 10;

/// The facts of a deployment.
#[derive(Debug)]
pub(crate) struct Deployment {
    /// The name of each object, and the label `app` of the pods.
    pub(crate) name: String,
    /// The label `version` of the pods.
    pub(crate) version: String,
    pub(crate) image: String,
    /// Files in the image.
    pub(crate) layout: Layout,
    /// The bytes that a process cannot exceed.
    pub(crate) memory_limit: u64,
    /// The bytes that a pod requests.
    pub(crate) memory_request: u64,
    /// The seconds between the end of a pod and its kill.
    pub(crate) grace: u64,
}

impl Deployment {
    pub(crate) fn new(service: &Service) -> Self {
        let settings = &service.settings.kubernetes;
        let title = service.settings.service.as_deref().or(match service.components.as_slice() {
            [only] => Some(&only.name),
            _ => None,
        });
        let name = settings.name.clone().unwrap_or_else(|| name::dns_label(title.unwrap_or("wasmetry")));
        let version = settings.version.clone().unwrap_or_else(|| version(&service.components));
        let image = service.settings.image.clone().unwrap_or_else(|| format!("{name}:{version}"));
        let most = memory(&service.components);
        let memory_request = settings.memory_request.as_deref().and_then(bytes).unwrap_or(most);
        Self {
            layout: Layout::new(service),
            memory_limit: most.max(memory_request),
            memory_request,
            grace: DRAIN_SECONDS.saturating_add(service.shutdown_timeout).saturating_add(EXPORT_SECONDS),
            name,
            version,
            image,
        }
    }

    /// The arguments of the program in the container.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["serve".to_owned()];
        if self.layout.is_config {
            arguments.push("--config".to_owned());
        }
        arguments.push(self.layout.served.clone());
        // A container's own loopback cannot be reached from outside.
        for (flag, port) in [("--addr", HTTP_PORT), ("--telemetry-addr", TELEMETRY_PORT)] {
            arguments.extend([flag.to_owned(), format!("0.0.0.0:{port}")]);
        }
        arguments
    }
}

/// Returns the label `version`: that of the component, or a fingerprint of all of them.
fn version(components: &[Component]) -> String {
    match components {
        [only] => name::label_value(&only.version),
        _ => {
            let texts = components.iter().flat_map(|component| {
                [component.tenant.as_deref().unwrap_or_default(), &component.name, &component.version]
            });
            format!("{:016x}", name::fingerprint(texts)).split_off(4)
        }
    }
}

/// Returns the bytes that a process has at most: itself, and every instance with all the memory
/// that it may have.
fn memory(components: &[Component]) -> u64 {
    let of_component = |component: &Component| {
        component.memory.saturating_add(INSTANCE_MEMORY).saturating_mul(u64::from(component.instances))
    };
    let bytes = components.iter().map(of_component).fold(PROCESS_MEMORY, u64::saturating_add);
    // Whole MiB, and no more than a quantity can be.
    bytes.div_ceil(MIB).min(1 << 40) * MIB
}

/// Returns bytes as a quantity of Kubernetes.
pub(crate) fn quantity(bytes: u64) -> String {
    format!("{}Mi", bytes / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_computed_from_limits() {
        let component = |instances, memory| {
            let declarations = wasmetry_host::Declarations::from_sections([]);
            let mut component = Component::new("a", declarations);
            component.instances = instances;
            component.memory = memory;
            component
        };
        // 128 + 128 * (64 + 0.25), and 128 + 16 * (32 + 0.25) more.
        assert_eq!(quantity(memory(&[component(128, 64 * MIB)])), "8352Mi");
        assert_eq!(quantity(memory(&[component(128, 64 * MIB), component(16, 32 * MIB)])), "8868Mi");
        assert_eq!(quantity(memory(&[component(1, 65_536)])), "129Mi");
        assert_eq!(quantity(memory(&[component(u32::MAX, u64::MAX)])), "1099511627776Mi");
    }
}
