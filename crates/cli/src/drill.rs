//! `wasmetry drill`: makes alerts fire by injected faults, and measures how long it takes.
//!
//! In come the names of alerts. A lease keeps the fault in a running `wasmetry serve` alive, and
//! Alertmanager's API shows the alert. Out comes a table of the times. It does not know rules or
//! faults: the process lists them.

mod alertmanager;
mod process;
mod report;
mod traffic;

use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use wasmetry_export::scrape::{Drill, Lease};

use crate::client::Client;
use crate::flag::value;
use crate::process::signal::Signals;
use crate::text;
use alertmanager::Alertmanager;
use process::Process;
use report::{Measured, Report};
use traffic::Traffic;

/// Make alerts fire by injected faults, and measure the times to detect and to resolve
///
/// A `wasmetry serve` with --allow-drills injects the fault that an alert is about into a share of
/// the requests of one mount, as long as this command renews the lease. The alert must fire in a
/// real Alertmanager, and resolve after the fault has ended.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// The alerts, such as `StorefrontHighErrorRate`, or `all` for all that have a drill
    #[arg(value_name = "ALERT", required = true)]
    alerts: Vec<String>,

    /// The telemetry endpoint of the process (`http://127.0.0.1:9464`)
    #[arg(long, value_name = "URL")]
    telemetry: String,

    /// The Alertmanager that the alerts reach (`http://127.0.0.1:9093`)
    #[arg(long, value_name = "URL")]
    alertmanager: String,

    /// The file with the token of --telemetry-token-file
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,

    /// Do not ask: the drill spends error budget
    #[arg(short, long)]
    yes: bool,

    /// Send requests to this service too (`http://127.0.0.1:8080`); a path takes the place of the
    /// drilled mount's
    #[arg(long, value_name = "URL")]
    traffic: Option<String>,

    /// The requests of --traffic per second
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,

    /// The share of requests that have the fault [default: what the alert's threshold needs]; with
    /// `all`, faults of exports and of instances keep theirs
    #[arg(long, value_name = "RATIO")]
    share: Option<f64>,

    /// The route of the mount, if the component has several [default: the first one]
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,

    /// The longest time until the alert fires, and until it resolves
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "30m")]
    timeout: Duration,
}

const NOTES: &str = "\
Examples:
  wasmetry serve storefront.wasm --allow-drills --telemetry-token-file token
  wasmetry drill StorefrontHighErrorRate --telemetry http://127.0.0.1:9464 \\
    --alertmanager http://127.0.0.1:9093 --token-file token
  wasmetry drill all --yes --traffic http://127.0.0.1:8080 --timeout 2m \\
    --telemetry http://127.0.0.1:9464 --alertmanager http://127.0.0.1:9093 --token-file token

Requests fail while a drill lasts: it spends error budget. Injected faults are counted in
wasmetry_drill_faults_total. The lease is renewed every 2s and lasts for 6s, so that the fault ends soon
after this command does, however it ends. One drill lasts for an hour at most.

Alerts without a drill are those about processes that are down, components that are absent, traffic that ends,
anomalies, new versions and reloads.

Exit codes: 0 if each alert fired and resolved; 1 if one did not, or nothing could be drilled; 2 for a wrong
command line; 130 and 143 for SIGINT and SIGTERM, after which the fault ends at once.";

/// The time between two renewals of the lease, and its length.
const RENEWAL: Duration = Duration::from_secs(2);
const LEASE: f64 = 6.0;

/// The time between two requests to Alertmanager.
const POLL: Duration = Duration::from_millis(200);

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let process = Process::new(&args.telemetry, &args.token_file)?;
    let alertmanager = Alertmanager::new(&args.alertmanager)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(drill(args, &process, &alertmanager))
}

async fn drill(args: &Args, process: &Process, alertmanager: &Alertmanager) -> Result<ExitCode> {
    let drills = chosen(process.drills().await?, &args.alerts)?;
    alertmanager.alerts().await?;
    if !is_confirmed(args, &drills)? {
        return Ok(ExitCode::FAILURE);
    }
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let traffic = match &args.traffic {
        Some(url) => Some(Traffic::new(url, args.rate)?),
        None => None,
    };
    let mut report = Report::default();
    for mut drill in drills {
        let name = drill.alert.clone();
        let measuring = measure(args, process, alertmanager, &mut drill, traffic.as_ref());
        let measured = tokio::select! {
            measured = measuring => measured,
            signal = signals.next() => {
                // The fault ends at once, and by itself if the process does not answer.
                let ended = process.end(&name).await;
                text::print(&report.table())?;
                ended?;
                text::print_stderr(format_args!("ended on {signal}"));
                return Ok(signal.exit_code());
            }
        };
        if measured.is_err() {
            // The cause is reported; the lease ends by itself.
            let _ = process.end(&name).await;
        }
        let measured = measured.with_context(|| name.clone());
        match &measured {
            Ok(measured) => text::print_stderr(format_args!("{name}: {measured}")),
            Err(error) => text::print_stderr(format_args!("{}", text::line(&format!("error: {error:#}")))),
        }
        report.add(drill, measured.ok());
    }
    text::print(&report.table())?;
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the drills that the command line names.
fn chosen(known: Vec<Drill>, names: &[String]) -> Result<Vec<Drill>> {
    if known.is_empty() {
        bail!(
            "the process has no alerts yet, since its components are being compiled; wait until /readyz answers with 200"
        );
    }
    if names.iter().any(|name| name == "all") {
        let all: Vec<Drill> = known.into_iter().filter(|drill| drill.refused.is_none()).collect();
        if all.is_empty() {
            bail!("no alert of the process has a drill; check that it serves a component");
        }
        return Ok(all);
    }
    let mut chosen: Vec<Drill> = Vec::new();
    for name in names {
        let Some(drill) = known.iter().find(|drill| drill.alert == *name) else {
            let near = near(name, known.iter().map(|drill| drill.alert.as_str()));
            bail!("there is no alert `{}`; there are {}", text::line(name), text::line(&near.join(", ")));
        };
        if let Some(reason) = &drill.refused {
            bail!("{name} has no drill: {reason}");
        }
        if !chosen.contains(drill) {
            chosen.push(drill.clone());
        }
    }
    Ok(chosen)
}

/// Returns up to four names that are the nearest to a name.
fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    const NAMES: usize = 4;
    let lower = name.to_lowercase();
    let mut all: Vec<(usize, &str)> = known
        .map(|known| {
            let other = known.to_lowercase();
            let is_part = !lower.is_empty() && (other.contains(&lower) || lower.contains(&other));
            (if is_part { 0 } else { distance(&lower, &other) }, known)
        })
        .collect();
    all.sort_by_key(|(distance, _)| *distance);
    all.into_iter().take(NAMES).map(|(_, known)| known).collect()
}

/// The edit distance of two texts (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, c) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let cost = diagonal + usize::from(c != *other);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Prints what will happen. Returns `false` if the answer to the question is not yes.
fn is_confirmed(args: &Args, drills: &[Drill]) -> Result<bool> {
    let names: Vec<&str> = drills.iter().map(|drill| drill.alert.as_str()).collect();
    text::print_stderr(format_args!(
        "{}",
        text::line(&format!(
            "faults will be injected into {}, which spends error budget and notifies whoever is on call: {}",
            args.telemetry,
            names.join(", ")
        ))
    ));
    if args.yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        bail!("a drill spends error budget; add --yes if this is meant");
    }
    let _ = write!(io::stderr(), "continue? [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Returns the lease of a drill. With `all`, the drills whose share is fixed or that have no route
/// keep theirs.
fn lease(args: &Args, drill: &Drill) -> Lease {
    let is_named = !args.alerts.iter().any(|name| name == "all");
    let share = args.share.filter(|_| is_named || !drill.is_share_fixed);
    let route = args.route.clone().filter(|_| is_named || !drill.route.is_empty());
    Lease { alert: drill.alert.clone(), route, share, seconds: LEASE }
}

/// Drills one alert: waits until it does not fire, injects the fault until it fires, and waits
/// until it has resolved. The drill gets the share that the process injects.
async fn measure(
    args: &Args,
    process: &Process,
    alertmanager: &Alertmanager,
    drill: &mut Drill,
    traffic: Option<&Traffic>,
) -> Result<Measured> {
    let lease = lease(args, drill);
    let route = lease.route.as_deref().unwrap_or(&drill.route);
    let _sending = traffic.map(|traffic| traffic.send(route));
    wait(alertmanager, drill, false, args.timeout, "it fires already, and did not resolve").await?;
    drill.share = process.renew(&lease).await?.share;
    let begin = Instant::now();
    let renewing = async {
        loop {
            tokio::time::sleep(RENEWAL).await;
            if let Err(error) = process.renew(&lease).await {
                return error;
            }
        }
    };
    let missing =
        "it did not fire; check that Prometheus scrapes the process, has its rules, and that there is traffic";
    let faults = tokio::select! {
        fired = wait(alertmanager, drill, true, args.timeout, missing) => {
            fired?;
            process.renew(&lease).await?.faults
        }
        error = renewing => return Err(error),
    };
    let detected = begin.elapsed();
    process.end(&drill.alert).await?;
    let end = Instant::now();
    wait(alertmanager, drill, false, args.timeout, "it did not resolve").await?;
    Ok(Measured { detected, resolved: end.elapsed(), faults })
}

/// Waits until an alert fires, or does not.
async fn wait(
    alertmanager: &Alertmanager,
    drill: &Drill,
    is_firing: bool,
    timeout: Duration,
    failure: &str,
) -> Result<()> {
    let end = Instant::now() + timeout;
    loop {
        let alerts = alertmanager.alerts().await?;
        if alerts.iter().any(|alert| alert.is_of(drill)) == is_firing {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("{failure} within {}", humantime::format_duration(timeout));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A flag that names a server.
fn client(flag: &'static str, server: &'static str, example: &'static str, url: &str) -> Result<Client> {
    Client::new((flag, server, example), url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill(alert: &str, refused: Option<&str>) -> Drill {
        Drill { alert: alert.to_owned(), refused: refused.map(str::to_owned), ..Drill::default() }
    }

    #[test]
    fn alerts_are_chosen() {
        let known =
            || vec![drill("ShopHighErrorRate", None), drill("ShopDown", Some("stop one")), drill("ShopTrapRate", None)];
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            chosen(known(), &names).map(|drills| drills.into_iter().map(|drill| drill.alert).collect::<Vec<_>>())
        };
        assert_eq!(names(&["all"]).unwrap(), ["ShopHighErrorRate", "ShopTrapRate"]);
        assert_eq!(names(&["ShopTrapRate", "ShopTrapRate"]).unwrap(), ["ShopTrapRate"]);
        assert_eq!(names(&["ShopDown"]).unwrap_err().to_string(), "ShopDown has no drill: stop one");
        let error = names(&["HighErorRate"]).unwrap_err().to_string();
        assert!(error.starts_with("there is no alert `HighErorRate`; there are ShopHighErrorRate, "), "{error}");
        assert!(chosen(vec![drill("ShopDown", Some("x"))], &["all".to_owned()]).is_err());
        assert!(chosen(Vec::new(), &["all".to_owned()]).unwrap_err().to_string().contains("/readyz"));
    }

    #[test]
    fn near_names_come_first() {
        let known = ["ShopAbsent", "ShopHighErrorRate", "ShopTrapRate", "ShopHighLatency", "ShopNoTraffic"];
        assert_eq!(near("traprate", known.into_iter())[0], "ShopTrapRate");
        assert_eq!(near("ShopHighLatancy", known.into_iter())[0], "ShopHighLatency");
        assert_eq!(near("", known.into_iter()).len(), 4);
        assert_eq!([distance("", "ab"), distance("kitten", "sitting"), distance("a", "a")], [2, 3, 0]);
    }

    /// With `all`, only the drills that have a share and a route get those of the command line.
    #[test]
    fn fixed_shares_are_kept() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let args = |alert: &str| {
            let rest =
                ["--telemetry", "t", "--alertmanager", "a", "--token-file", "f", "--share", "0.5", "--route", "/"];
            <Line as clap::Parser>::parse_from(["drill", alert].into_iter().chain(rest)).args
        };
        let export = Drill { is_share_fixed: true, ..drill("ShopExportFailing", None) };
        let errors = Drill { route: "/".to_owned(), ..drill("ShopHighErrorRate", None) };
        let of = |alert: &str, drill: &Drill| {
            let Lease { share, route, .. } = lease(&args(alert), drill);
            (share, route)
        };
        let given = (Some(0.5), Some("/".to_owned()));
        assert_eq!(of("all", &export), (None, None));
        assert_eq!(of("all", &errors), given);
        assert_eq!(of("ShopExportFailing", &export), given);
    }
}
