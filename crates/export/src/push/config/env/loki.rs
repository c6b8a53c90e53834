//! The variables of Loki.

use std::ffi::OsString;

use super::{Env, endpoint, header};
use crate::push::config::{Compression, Loki, LokiFormat};

impl<F: Fn(&str) -> Option<OsString>> Env<F> {
    /// Reads the Loki that log records are sent to, if there is one.
    pub(super) fn loki(&self) -> Option<Loki> {
        let name = |what: &str| format!("WASMETRY_LOKI_{what}");
        let endpoint = self.parse(&name("ENDPOINT"), |variable| endpoint::parse(variable, "loki/api/v1/push"))?;
        let format = self.parse(&name("FORMAT"), |variable| {
            variable.choose(&[
                ("protobuf", LokiFormat::Protobuf),
                ("json", LokiFormat::Json(Compression::None)),
                ("json+gzip", LokiFormat::Json(Compression::Gzip)),
            ])
        });
        let mut loki = Loki::new(endpoint, format.unwrap_or(LokiFormat::Protobuf));
        loki.headers = self.parse(&name("HEADERS"), header::parse).unwrap_or_default();
        loki.timeout = self.parse(&name("TIMEOUT"), |variable| variable.timeout()).unwrap_or(loki.timeout);
        loki.tls = self.tls(name);
        Some(loki)
    }
}
