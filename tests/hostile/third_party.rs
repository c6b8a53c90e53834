//! The headers of a guest's client that are for no third party.
//!
//! A third party is a host on the internet, which this machine's loopback is not. So the test runs
//! in a network namespace of its own, in which the loopback has an address of the internet too.

use std::env;
use std::process::{Command, Output};

use wasmetry_tests::backend::echo::{EchoBackend, send};
use wasmetry_tests::exposition::sum;
use wasmetry_tests::otlp::Collector;

use crate::neighbour::{HOSTILE, Neighbours, Setup};

/// The variable that is set in the namespace.
const INSIDE: &str = "WASMETRY_TEST_NAMESPACE";

/// An address for documentation (RFC 5737), which is none of a private network.
const THIRD_PARTY: &str = "192.0.2.1";

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Runs a command in a namespace whose loopback has the third party's address.
fn in_namespace(arguments: &[&str]) -> Output {
    let script = format!("ip link set lo up && ip address add {THIRD_PARTY}/32 dev lo && exec \"$0\" \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "sh", "-c", &script]).args(arguments);
    command.env(INSIDE, "1").output().expect("util-linux has `unshare`")
}

/// The client's baggage and `tracestate` go to services of this network, and to third parties only
/// where the configuration lists them. Nothing is refused, so no counter shows it.
#[test]
fn third_parties_get_no_baggage() {
    if env::var_os(INSIDE).is_none() {
        let found = in_namespace(&["true"]);
        if !found.status.success() {
            let message = format!("no network namespace: {}", String::from_utf8_lossy(&found.stderr));
            assert!(env::var("CI").as_deref() != Ok("true"), "{message}");
            eprintln!("skipped: {message}");
            return;
        }
        let test = env::current_exe().unwrap();
        let name = "third_party::third_parties_get_no_baggage";
        let output = in_namespace(&[test.to_str().unwrap(), "--exact", name, "--nocapture"]);
        let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(output.status.success() && out.contains("1 passed"), "{out}{err}");
        return;
    }
    let (third, own) = (EchoBackend::start_on(&format!("{THIRD_PARTY}:0")), EchoBackend::start());
    for (lines, is_listed) in [(String::new(), false), (format!("propagate-to = ['{THIRD_PARTY}']"), true)] {
        let collector = Collector::start("http/protobuf");
        let variables = collector.variables();
        let setup = Setup { hostile: &lines, variables: &variables, ..Setup::default() };
        let neighbours = Neighbours::start(setup);
        for (backend, gets) in [(&third, is_listed), (&own, true)] {
            let url = format!("{}/a/get?to={}", neighbours.server.url, backend.authority);
            let client = [
                format!("traceparent: 00-{TRACE}-b7ad6b7169203331-01"),
                "tracestate: vendor=of-client".to_owned(),
                "baggage: user=alice".to_owned(),
            ];
            assert_eq!(send("GET", &url, &client, ""), 200);
            let headers = backend.next_request();
            assert!(headers.one("traceparent").is_some_and(|value| value.starts_with(&format!("00-{TRACE}-"))));
            assert_eq!(headers.one("tracestate"), gets.then_some("vendor=of-client"), "{lines}");
            assert_eq!(headers.one("baggage"), gets.then_some("user=alice"), "{lines}");
        }
        neighbours.serve_honest(20);
        let text = neighbours.assert_honest_exact();
        assert_eq!(sum(&text, "wasm_outgoing_refused_total", &HOSTILE), 0.0);
    }
}
