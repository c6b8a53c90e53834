//! An app: the imports, exports and declarations of the component to adapt.

use anyhow::{Result, bail};
use wasmetry_abi::{SECTION, WIT_PACKAGE, WIT_VERSION};
use wasmetry_host::limits;
use wasmparser::{Encoding, Parser, Payload};

use crate::binary::Binary;

/// The prefix of the names of the adapter's own interfaces.
const ADAPTER: &str = "wasmetry:adapter/";

/// The interfaces of an app that are implemented or wrapped, under the names that the app has for
/// them.
#[derive(Debug, Default)]
pub(super) struct App {
    /// The import of `wasmetry:telemetry/region`.
    pub(super) region: Option<String>,
    /// The import of `wasi:cli/exit`.
    pub(super) exit: Option<String>,
    /// The export of `wasi:http/incoming-handler`.
    pub(super) handler: Option<String>,
    /// The export of `wasi:cli/run`.
    pub(super) run: Option<String>,
    /// All exports.
    pub(super) exports: Vec<String>,
    /// The sections in which it declares its metrics.
    pub(super) declarations: Vec<Vec<u8>>,
}

impl App {
    /// Reads a binary.
    ///
    /// # Errors
    ///
    /// Fails if the binary cannot be adapted.
    pub(super) fn read(binary: &Binary) -> Result<Self> {
        let shown = binary.path.display();
        binary.require_component("app")?;
        let (mut app, mut imports) = (Self::default(), Vec::new());
        let (mut nested, mut bytes) = (Vec::new(), 0);
        let mut is_adapted = false;
        for payload in Parser::new(0).parse_all(&binary.bytes) {
            let payload = payload.map_err(|error| anyhow::anyhow!("{shown}: {error}"))?;
            match payload {
                Payload::Version { encoding, .. } => nested.push(encoding),
                Payload::End(_) => drop(nested.pop()),
                Payload::ComponentImportSection(section) => {
                    for import in section.into_iter().flatten() {
                        is_adapted |= import.name.name.starts_with(ADAPTER);
                        if nested == [Encoding::Component] {
                            imports.push(import.name.name.to_owned());
                        }
                    }
                }
                Payload::ComponentExportSection(section) if nested == [Encoding::Component] => {
                    app.exports.extend(section.into_iter().flatten().map(|export| export.name.name.to_owned()));
                }
                Payload::CustomSection(section) if section.name() == SECTION => {
                    bytes += section.data().len();
                    app.declarations.push(section.data().to_owned());
                }
                _ => {}
            }
        }
        if is_adapted {
            bail!("{shown} has been adapted already; adapt the original app");
        }
        if bytes > limits::SECTION_BYTES {
            bail!("{shown} has more than {} bytes of declarations, which is the maximum", limits::SECTION_BYTES);
        }
        app.read_imports(binary, imports)?;
        app.read_exports(binary)?;
        Ok(app)
    }

    fn read_imports(&mut self, binary: &Binary, imports: Vec<String>) -> Result<()> {
        let ours = format!("{WIT_PACKAGE}/");
        for import in imports {
            if is_of(&import, "wasi:cli/exit", "0.2.0") {
                self.exit = Some(import);
            } else if !import.starts_with(&ours) {
                continue;
            } else if is_of(&import, "wasmetry:telemetry/region", WIT_VERSION) {
                self.region = Some(import);
            } else if ["metrics", "logs", "spans", "requests", "attributes"]
                .iter()
                .any(|name| is_of(&import, &format!("{ours}{name}"), WIT_VERSION))
            {
                bail!(
                    "{} imports `{import}`, whose telemetry is kept by the host and cannot be adapted: \
                     run it on a host of {WIT_PACKAGE}, such as `wasmetry serve` and `wasmetry run`",
                    binary.path.display()
                );
            } else {
                bail!(
                    "{} imports `{import}`; this release adapts {WIT_PACKAGE}/region@{WIT_VERSION} only: \
                     adapt it with the release of wasmetry that it was built with, or build it with this one's crate",
                    binary.path.display()
                );
            }
        }
        Ok(())
    }

    fn read_exports(&mut self, binary: &Binary) -> Result<()> {
        for export in &self.exports {
            let is_newer = ["wasi:http/handler@0.3", "wasi:cli/run@0.3"].iter().any(|name| export.starts_with(name));
            if is_newer {
                bail!(
                    "{} exports `{export}`, of WASI 0.3, which this release does not adapt; build it for WASI 0.2",
                    binary.path.display()
                );
            }
            if is_of(export, "wasi:http/incoming-handler", "0.2.0") {
                self.handler = Some(export.clone());
            } else if is_of(export, "wasi:cli/run", "0.2.0") {
                self.run = Some(export.clone());
            }
        }
        Ok(())
    }
}

/// Returns `true` if a name is that of an interface, in a version compatible with `version`.
fn is_of(name: &str, interface: &str, version: &str) -> bool {
    name.split_once('@').is_some_and(|(name, _)| name == interface)
        && wac_graph::types::are_semver_compatible(name, &format!("{interface}@{version}"))
}
