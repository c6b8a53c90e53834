//! Loki's push protocol at VictoriaLogs, which is not Loki: it takes the same requests and keeps
//! the same records, but refuses other things than Loki does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use wasmetry_tests::backend::victorialogs::VictoriaLogs;
use wasmetry_tests::guest;
use wasmetry_tests::server::{Server, agent, get};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The forms of Loki's push request.
const FORMATS: [&str; 3] = ["protobuf", "json", "json+gzip"];

/// Returns a time of RFC 3339 in UTC in nanoseconds since the beginning of its day.
fn nanoseconds(time: &str) -> u64 {
    let (_, time) = time.trim_end_matches('Z').split_once('T').unwrap();
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let seconds = time.split(':').fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap());
    seconds * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>().unwrap()
}

/// The fields of a line on stdout as texts, without its time and message.
fn fields(line: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = line.as_object().unwrap().iter();
    fields
        .map(|(key, value)| (key.clone(), text(value)))
        .filter(|(key, _)| !["timestamp", "message"].contains(&key.as_str()))
        .collect()
}

/// Each record that VictoriaLogs returns has the message, time, labels and fields of the record's
/// line on stdout.
#[test]
fn victorialogs_not_loki_keeps_records() {
    for format in FORMATS {
        let Some(victorialogs) = VictoriaLogs::start() else { return };
        let directory = tempfile::tempdir().unwrap();
        let stdout = directory.path().join("stdout");
        let variables = [
            ("WASMETRY_LOKI_ENDPOINT", victorialogs.endpoint()),
            ("WASMETRY_LOKI_FORMAT", format.to_owned()),
            ("OTEL_BLRP_SCHEDULE_DELAY", "10".to_owned()),
            // Its tenants are numbers: all records go to the one that it queries by default.
            ("WASMETRY_LOKI_HEADERS", "x-scope-orgid=0".to_owned()),
        ];
        let arguments = ["--name", "shop", "--component-version", "1.2", "--tenant", "acme", "--log-level", "trace"];
        let server = Server::start_with_stdout(&guest("log-service"), &arguments, &variables, &stdout);
        let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
        let url = format!("{}/levels", server.url);
        assert_eq!(agent().get(url).header("traceparent", traceparent).call().unwrap().status(), 200);
        let (status, stderr) = server.stop();
        assert!(status.success() && stderr.iter().all(|line| !line.contains("lost")), "{stderr:?}");

        let text = fs::read_to_string(stdout).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 8, "{text}");
        let records = victorialogs.wait("0", "*", lines.len());
        for line in &lines {
            let found: Vec<_> = records.iter().filter(|record| record["_msg"] == line["message"]).collect();
            let [record] = found[..] else { panic!("{format}: {line} is {found:#?} of {records:#?}") };
            // Records of a stream with equal times are a nanosecond apart.
            let [time, expected] =
                [&record["_time"], &line["timestamp"]].map(|time| nanoseconds(time.as_str().unwrap()));
            assert!((expected..expected + 1000).contains(&time), "{format}: {record} {line}");
            for (key, value) in fields(line) {
                // These have other names in Loki.
                let key = match key.as_str() {
                    "service" => "service_name".to_owned(),
                    "audit" => continue,
                    // Names in Loki have no dots.
                    key => key.replace('.', "_"),
                };
                assert_eq!(record[key.as_str()].as_str(), Some(value.as_str()), "{format}: {key} of {record} {line}");
            }
            let is_audit = line["audit"] == true;
            assert_eq!(record["stream"].as_str(), is_audit.then_some("audit"), "{format}: {record}");
            let stream = record["_stream"].as_str().unwrap();
            for label in ["service_name=\"shop\"", "component=\"shop\"", "version=\"1.2\"", "tenant=\"acme\""] {
                assert!(stream.contains(label), "{format}: {stream}");
            }
        }
    }
}

/// All of 20,000 records are found, each once, in each form of the request.
#[test]
fn victorialogs_not_loki_finds_all() {
    const EACH: u64 = 50;
    const REQUESTS: u64 = 400;
    let Some(victorialogs) = VictoriaLogs::start() else { return };
    for format in FORMATS {
        let variables = [
            ("WASMETRY_LOKI_ENDPOINT", victorialogs.endpoint()),
            ("WASMETRY_LOKI_FORMAT", format.to_owned()),
            ("OTEL_BLRP_MAX_QUEUE_SIZE", "100000".to_owned()),
        ];
        // The tenant is a tenant of VictoriaLogs too.
        let arguments = ["--name", format, "--tenant", "7", "--log-format", "off"];
        let server = Server::start_with(&guest("log-service"), &arguments, &variables);
        let agent = agent();
        for request in 0..REQUESTS {
            let url = format!("{}/logs?from={}&count={EACH}", server.url, request * EACH);
            assert_eq!(get(&agent, &url).0, 200);
        }
        let (status, stderr) = server.stop();
        assert!(status.success() && stderr.iter().all(|line| !line.contains("lost")), "{stderr:?}");
        let query = format!("{{service_name=\"{format}\"}} | fields number");
        let records = victorialogs.wait("7", &query, (REQUESTS * EACH) as usize);
        let numbers: BTreeSet<u64> =
            records.iter().map(|record| record["number"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!(numbers, (0..REQUESTS * EACH).collect(), "{format}");
        assert!(victorialogs.query("0", &query).is_empty(), "{format}");
    }
}
