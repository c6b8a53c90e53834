//! The final push of a program's metrics to a Pushgateway.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use http::{HeaderName, HeaderValue};
use wasmetry_export::push::{Gateway, Group, Replaces};

use crate::flag::value;

/// The flags about the push.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Push")]
pub(super) struct PushArgs {
    /// Push the metrics to this Pushgateway when the program has ended (`http://127.0.0.1:9091`)
    ///
    /// They replace what was pushed for the same job and labels before. Also after a trap, and when the
    /// program was ended. A user and a password are given as in `https://user:password@host`. The URL may
    /// also be that of a group, `http://127.0.0.1:9091/metrics/job/nightly/instance/a`.
    #[arg(long, value_name = "URL")]
    push: Option<String>,

    /// The job that the metrics are pushed for [default: the metrics' label `component`]
    #[arg(long, value_name = "NAME", requires = "push", value_parser = value::label)]
    job: Option<String>,

    /// A label more of the group that the metrics are pushed into, such as `instance=eu-1`; may be repeated
    #[arg(long = "push-label", value_name = "NAME=VALUE", requires = "push", value_parser = label)]
    labels: Vec<(String, String)>,

    /// Replace only the metrics of the same names, and leave the others in the group
    #[arg(long, requires = "push")]
    push_add: bool,

    /// A header of the push, such as `Authorization: Bearer TOKEN`; may be repeated
    #[arg(long = "push-header", value_name = "NAME: VALUE", requires = "push", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// A PEM file of the certificates that an https URL is trusted by, in the place of Mozilla's
    #[arg(long, value_name = "FILE", requires = "push")]
    push_ca: Option<PathBuf>,

    /// How long the push may take, with all that it is tried again
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = value::duration)]
    push_timeout: Duration,
}

impl PushArgs {
    /// Where the metrics of a component are pushed to, if they are.
    pub(super) fn gateway(&self, component: &str) -> Result<Option<Gateway>> {
        let Some(url) = &self.push else { return Ok(None) };
        let mut gateway = match Gateway::of_group(url).context("--push")? {
            Some(_) if self.job.is_some() || !self.labels.is_empty() => {
                bail!(
                    "--push has a URL that names a group already; leave out --job and --push-label, or `/metrics/job` and what follows"
                )
            }
            Some(gateway) => gateway,
            None => {
                let group = Group::new(self.job.as_deref().unwrap_or(component));
                let group = self.labels.iter().fold(group, |group, (name, value)| group.with_label(name, value));
                Gateway::new(url, &group).context("--push")?
            }
        };
        for (name, value) in &self.headers {
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

/// Parses a header, as other clients take it.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected `NAME: VALUE`, such as `Authorization: Bearer TOKEN`")?;
    let name = name.trim().parse().map_err(|_| format!("`{}` is no header's name", name.trim().escape_debug()))?;
    // Its value may be a secret, so it is not told.
    let mut value: HeaderValue =
        value.trim().parse().map_err(|_| "its value has characters that no header may have")?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_headers_are_read() {
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
