//! The final push of a program's metrics to a Pushgateway.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use http::{HeaderName, HeaderValue};
use wasmetry_export::push::{Gateway, Group, Replaces};

use crate::flag;
use crate::flag::secret::secret;
use crate::flag::value;

/// The flags about the push.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Push")]
pub(super) struct PushArgs {
    /// Push the metrics to this Pushgateway when the program has ended (`http://127.0.0.1:9091`)
    ///
    /// They are pushed after a trap or --timeout too. They replace all metrics of the same job and
    /// labels. Give user and password as the header `Authorization` in --push-header-file. The URL
    /// can also be that of a group, `http://127.0.0.1:9091/metrics/job/nightly/instance/a`.
    #[arg(long, value_name = "URL")]
    push: Option<String>,

    /// The job of the pushed metrics [default: their label `component`]
    #[arg(long, value_name = "NAME", requires = "push", value_parser = value::label)]
    job: Option<String>,

    /// A further label of the group of the pushed metrics, such as `instance=eu-1`; may be repeated
    #[arg(long = "push-label", value_name = "NAME=VALUE", requires = "push", value_parser = label)]
    labels: Vec<(String, String)>,

    /// Replace only metrics of the same names, and keep the others of the group
    #[arg(long, requires = "push")]
    push_add: bool,

    /// A header of the push, such as `X-Scope-OrgID: shop`; may be repeated
    #[arg(long = "push-header", value_name = "NAME: VALUE", requires = "push", value_parser = secret(header))]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// A file with such headers, one on each line, such as `Authorization: Bearer TOKEN`: a
    /// secret is then not on the command line
    #[arg(long, value_name = "FILE", requires = "push")]
    push_header_file: Option<PathBuf>,

    /// A PEM file of the trusted certificates for an https URL, in place of Mozilla's
    #[arg(long, value_name = "FILE", requires = "push")]
    push_ca: Option<PathBuf>,

    /// The time for the push, including its retries
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = value::duration)]
    push_timeout: Duration,
}

impl PushArgs {
    /// Returns the gateway for the metrics of a component, if one is given.
    pub(super) fn gateway(&self, component: &str) -> Result<Option<Gateway>> {
        let Some(url) = &self.push else { return Ok(None) };
        let mut gateway = match Gateway::of_group(url).context("--push")? {
            Some(_) if self.job.is_some() || !self.labels.is_empty() => {
                bail!(
                    "the URL of --push names a group already; remove --job and --push-label, or the URL's path from `/metrics/job` on"
                )
            }
            Some(gateway) => gateway,
            None => {
                let group = Group::new(self.job.as_deref().unwrap_or(component));
                let group = self.labels.iter().fold(group, |group, (name, value)| group.with_label(name, value));
                Gateway::new(url, &group).context("--push")?
            }
        };
        let from_file = match &self.push_header_file {
            Some(path) => flag::header::read(path, "--push-header-file", header)?,
            None => Vec::new(),
        };
        for (name, value) in from_file.iter().chain(&self.headers) {
            gateway.headers.insert(name, value.clone());
        }
        if self.push_add {
            gateway.replaces = Replaces::Names;
        }
        gateway.tls.certificates.clone_from(&self.push_ca);
        gateway.timeout = self.push_timeout;
        gateway.check().map_err(|error| anyhow!("--push-ca: {error}"))?;
        Ok(Some(gateway))
    }
}

/// Parses a label of a group.
fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected `NAME=VALUE`, such as `instance=eu-1`")?;
    if !Group::is_label(name) {
        return Err(format!(
            "`{name}` cannot be a label of a group; write letters, digits and `_`, no digit first, and neither `job` nor `__`"
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Parses a header as it is written in HTTP.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected `NAME: VALUE`, such as `X-Scope-OrgID: shop`")?;
    let name = name.trim().parse().map_err(|_| "what is before the colon is not the name of a header".to_owned())?;
    // The value may be a secret, so the error does not contain it.
    let mut value: HeaderValue =
        value.trim().parse().map_err(|_| "its value has characters that a header cannot have")?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_headers_are_parsed() {
        assert_eq!(label("instance=a=b"), Ok(("instance".to_owned(), "a=b".to_owned())));
        assert_eq!(label("x="), Ok(("x".to_owned(), String::new())));
        for wrong in ["", "x", "=x", "job=x", "1=x", "a-b=x", "__x=y"] {
            assert!(label(wrong).is_err(), "{wrong}");
        }
        let (name, value) = header("X-Scope-OrgID:  tenant:1 ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-scope-orgid", "tenant:1"));
        assert!(header("Authorization: Bearer x").unwrap().1.is_sensitive());
        for wrong in ["", "a", "a b: c", ": c", "a: b\nc"] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
        assert!(!header("a: sec\u{1}ret").unwrap_err().contains("sec"));
    }
}
