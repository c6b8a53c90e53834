//! Requests of guests to places that they must not reach, and more of them than they may have.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use wasmetry_tests::exposition::sum;
use wasmetry_tests::guest;
use wasmetry_tests::server::{agent, get};

use crate::neighbour::{HOSTILE, Neighbours, Setup};

/// Starts a service on a loopback address that answers each request with 204.
fn service() -> SocketAddr {
    answering("204 No Content".to_owned())
}

/// Starts a service on a loopback address that redirects each request to a URL.
fn redirector(url: &str) -> SocketAddr {
    answering(format!("302 Found\r\nLocation: {url}\r\nContent-Length: 0"))
}

/// Starts a service on a loopback address that answers each request with this status and header.
fn answering(head: String) -> SocketAddr {
    let response = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, response) = (stream.unwrap(), response.clone());
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(response.as_bytes());
            });
        }
    });
    addr
}

fn refused(neighbours: &Neighbours, reason: &str) -> f64 {
    let of = |text: &str| sum(text, "wasm_outgoing_refused_total", &[HOSTILE[0], HOSTILE[1], ("reason", reason)]);
    of(&neighbours.server.scrape())
}

fn port(url: &str) -> &str {
    url.rsplit(':').next().unwrap()
}

/// A guest reads neither the metrics of all tenants nor a cloud's credentials, by whatever name.
#[test]
fn guest_reaches_no_forbidden_address() {
    let neighbours = Neighbours::start(Setup::default());
    let (telemetry, service) = (port(&neighbours.server.telemetry).to_owned(), port(&neighbours.server.url).to_owned());
    let own: Vec<String> = [&telemetry, &service]
        .iter()
        .flat_map(|port| {
            ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"].map(|host| format!("{host}:{port}"))
        })
        .collect();
    let prohibited = [
        "169.254.169.254".to_owned(),
        "[fd00:ec2::254]".to_owned(),
        "[::ffff:169.254.169.254]".to_owned(),
        "[2002:a9fe:a9fe::]".to_owned(),
        format!("0.0.0.0:{telemetry}"),
        format!("[::]:{telemetry}"),
    ];
    for destination in own.iter().chain(&prohibited) {
        assert_eq!(neighbours.attack(&format!("get?to={destination}&path=/metrics")), Some(502), "{destination}");
    }
    assert_eq!(refused(&neighbours, "own_listener"), own.len() as f64);
    assert_eq!(refused(&neighbours, "prohibited_address"), prohibited.len() as f64);
    // Another service on this machine is reached: the guest is trusted.
    assert_eq!(neighbours.attack(&format!("get?to={}", self::service())), Some(204));
    neighbours.serve_honest(20);
    neighbours.assert_honest_exact();
}

/// An untrusted guest reaches of the private networks only what is listed.
#[test]
fn untrusted_guest_reaches_listed_services() {
    let (listed, other) = (service(), service());
    let hostile = format!("untrusted = true\nallow-outgoing = ['{listed}']");
    let neighbours = Neighbours::start(Setup { hostile: &hostile, ..Setup::default() });
    assert_eq!(neighbours.attack(&format!("get?to={listed}")), Some(204));
    for destination in [other.to_string(), "10.0.0.1".to_owned(), "[fd00::1]".to_owned(), "192.168.0.1:8080".to_owned()]
    {
        assert_eq!(neighbours.attack(&format!("get?to={destination}")), Some(502), "{destination}");
    }
    assert_eq!(refused(&neighbours, "private_address"), 4.0);
    neighbours.serve_honest(20);
    neighbours.assert_honest_exact();
}

/// A redirect leads a guest nowhere that it could not have gone itself.
#[test]
fn redirects_are_checked_again() {
    let (listed, other) = (service(), service());
    let hops = [
        redirector(&format!("http://{listed}/")),
        redirector(&format!("http://{other}/")),
        redirector("http://169.254.169.254/latest/meta-data/"),
        redirector("http://[::ffff:169.254.169.254]/"),
    ];
    let far = redirector(&format!("http://{}/", hops[2]));
    let allowed = hops.iter().chain([&listed, &far]).map(|addr| format!("'{addr}'")).collect::<Vec<_>>().join(", ");
    let hostile = format!("untrusted = true\nallow-outgoing = [{allowed}]");
    let neighbours = Neighbours::start(Setup { hostile: &hostile, ..Setup::default() });
    let follow = |to: SocketAddr, redirects: u32| neighbours.attack(&format!("get?to={to}&follow={redirects}"));
    assert_eq!(follow(hops[0], 1), Some(204));
    // Without following it, the redirect is a response that the guest may read.
    assert_eq!(follow(hops[1], 0), Some(302));
    assert_eq!(refused(&neighbours, "private_address") + refused(&neighbours, "prohibited_address"), 0.0);
    assert_eq!(follow(hops[1], 1), Some(502));
    assert_eq!(refused(&neighbours, "private_address"), 1.0);
    for to in [hops[2], hops[3], far] {
        assert_eq!(follow(to, 2), Some(502));
    }
    assert_eq!(refused(&neighbours, "prohibited_address"), 3.0);
    neighbours.serve_honest(20);
    neighbours.assert_honest_exact();

    // A trusted guest gets to this process's listeners by no redirect either.
    let neighbours = Neighbours::start(Setup::default());
    let telemetry = port(&neighbours.server.telemetry).to_owned();
    for (number, host) in ["127.0.0.1", "localhost"].iter().enumerate() {
        let hop = redirector(&format!("http://{host}:{telemetry}/metrics"));
        assert_eq!(neighbours.attack(&format!("get?to={hop}&follow=1")), Some(502), "{host}");
        assert_eq!(refused(&neighbours, "own_listener"), (number + 1) as f64);
    }
    neighbours.serve_honest(20);
    neighbours.assert_honest_exact();
}

/// A store has 64 connections; further requests are refused, and the rest of the process is not
/// affected.
#[test]
fn connections_of_store_are_bounded() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let neighbours = Neighbours::start(Setup::default());
    let attack = format!("connect?to={}&n=90&hold=300", silent.local_addr().unwrap());
    let attacks = neighbours.start_attacks(&attack, 2);
    neighbours.serve_honest(100);
    crate::neighbour::finish(attacks);
    assert_eq!(refused(&neighbours, "store_limit"), 2.0 * (90.0 - 64.0));
    neighbours.assert_honest_exact();
}

/// A component of the hostile guest in a tenant of its own, both of this name.
fn tenant_of_its_own(name: &str) -> String {
    let path = guest("hostile");
    format!("[[component]]\npath = '{}'\nname = '{name}'\ntenant = '{name}'\nprefix = '/{name}'\n", path.display())
}

/// The bank's guest sends so many requests to a service. All of them are answered.
fn serve_bank(neighbours: &Neighbours, service: SocketAddr, count: usize) {
    for _ in 0..count {
        let url = format!("{}/bank/get?to={service}", neighbours.server.url);
        assert_eq!(get(&agent(), &url).0, 204);
    }
}

/// A tenant has half of the connections of all guests, and another one gets its own.
#[test]
fn connections_of_tenant_are_bounded() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let bank = tenant_of_its_own("bank");
    // A quarter of the files is for guests.
    let neighbours = Neighbours::start(Setup { honest: &bank, open_files: Some(300), ..Setup::default() });
    let attack = format!("connect?to={}&n=60&hold=3000", silent.local_addr().unwrap());
    let attacks = neighbours.start_attacks(&attack, 2);
    neighbours.server.scrape_until(|_| refused(&neighbours, "tenant_limit") > 0.0);
    serve_bank(&neighbours, service(), 10);
    neighbours.serve_honest(100);
    crate::neighbour::finish(attacks);
    let text = neighbours.assert_honest_exact();
    // 75 for all guests, of which one tenant gets 37.
    assert_eq!(refused(&neighbours, "tenant_limit"), 2.0 * 60.0 - 37.0);
    assert_eq!(sum(&text, "wasm_outgoing_refused_total", &[("tenant", "bank")]), 0.0);
}

/// Two tenants that take all connections that they get leave those of a third one.
#[test]
fn two_tenants_leave_connections() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let others = ["bank", "trudy"].map(tenant_of_its_own).concat();
    let neighbours = Neighbours::start(Setup { honest: &others, open_files: Some(300), ..Setup::default() });
    let attack = format!("connect?to={}&n=60&hold=5000", silent.local_addr().unwrap());
    let refused_to = |text: &str, tenant: &str, reason: &str| {
        sum(text, "wasm_outgoing_refused_total", &[("tenant", tenant), ("reason", reason)])
    };
    let of_mallory = neighbours.start_attacks(&attack, 2);
    neighbours.server.scrape_until(|text| refused_to(text, "mallory", "tenant_limit") > 0.0);
    let of_trudy = neighbours.start_attacks_of("trudy", &attack, 2);
    neighbours.server.scrape_until(|text| refused_to(text, "trudy", "tenant_limit") > 0.0);
    serve_bank(&neighbours, service(), 10);
    neighbours.serve_honest(100);
    crate::neighbour::finish(of_mallory);
    crate::neighbour::finish(of_trudy);
    let text = neighbours.assert_honest_exact();
    // Twice the free part of what is free each.
    for (tenant, had) in [("mallory", 37.0), ("trudy", 14.0)] {
        assert_eq!(refused_to(&text, tenant, "tenant_limit"), 2.0 * 60.0 - had, "{tenant}");
    }
    assert_eq!(sum(&text, "wasm_outgoing_refused_total", &[("tenant", "bank")]), 0.0);
}
