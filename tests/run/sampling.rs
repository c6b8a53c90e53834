//! The sampling of the traces that a program begins.

use std::collections::BTreeSet;
use std::process::Command;

use wasmetry_sink::proto::trace::v1::Span;
use wasmetry_tests::otlp::Collector;
use wasmetry_tests::{guest, server};

use super::{command_line, forms};

/// Runs a command to its end, and returns the spans that it has exported.
fn spans(arguments: &[String], collector: &Collector, sampler: &[(&str, &str)]) -> Vec<Span> {
    let mut command = Command::new(server::command());
    command.args(arguments).envs(collector.variables()).envs(sampler.iter().copied());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Everything is exported before the process ends.
    collector.wait(|_| true).spans.into_iter().map(|(_, span)| span).collect()
}

/// Returns the traces of the spans with a name.
fn traces(spans: &[Span], name: &str) -> BTreeSet<Vec<u8>> {
    spans.iter().filter(|span| span.name == name).map(|span| span.trace_id.clone()).collect()
}

/// The low 56 bits of a trace's id.
fn random_value(trace: &[u8]) -> u64 {
    trace[9..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Each trace that a program begins is sampled as a whole, as the variables ask for.
#[test]
fn programs_traces_follow_the_sampler() {
    for program in forms("job") {
        for (sampler, sampled) in [
            (&[][..], 400..=400),
            (&[("OTEL_TRACES_SAMPLER", "always_on")], 400..=400),
            (&[("OTEL_TRACES_SAMPLER", "always_off")], 0..=0),
            (&[("OTEL_TRACES_SAMPLER", "parentbased_always_off")], 0..=0),
            // The mean is 100, and 40 are more than four standard deviations.
            (&[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")], 60..=140),
            (&[("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")], 60..=140),
        ] {
            let collector = Collector::start("http/protobuf");
            // A core module cannot ask its host to read a full ring.
            let mut found = Vec::new();
            for _ in 0..4 {
                found = spans(&command_line(&program, &[], &["traces", "100"]), &collector, sampler);
            }
            let (roots, children) = (traces(&found, "root"), traces(&found, "child"));
            assert!(sampled.contains(&roots.len()), "{program} {sampler:?}: {}", roots.len());
            assert_eq!(roots, children, "{program} {sampler:?}");
            assert!(found.iter().all(|span| span.flags & 1 == 1), "{program} {sampler:?}");
            if sampler.len() == 2 {
                assert!(roots.iter().all(|trace| random_value(trace) >= 3 << 54), "{program} {sampler:?}");
            }
        }
    }
}

/// A function that is invoked begins traces too.
#[test]
fn invoked_functions_traces_are_sampled() {
    let wasm = guest("recorder-module").into_os_string().into_string().unwrap();
    let arguments = ["run", &wasm, "--invoke", "begin-traces", "--", "300"].map(str::to_owned);
    for (sampler, sampled) in [
        (&[][..], 300..=300),
        (&[("OTEL_TRACES_SAMPLER", "always_off")], 0..=0),
        // The mean is 75, and 35 are more than four standard deviations.
        (&[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")], 40..=110),
    ] {
        let collector = Collector::start("http/protobuf");
        let found = spans(&arguments, &collector, sampler);
        assert!(sampled.contains(&traces(&found, "root").len()), "{sampler:?}: {}", found.len());
    }
}
