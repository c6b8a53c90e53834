//! A `wasi:http` service that fails, ends or prints in the way that its path names.

use wasi::clocks::monotonic_clock;
use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasmetry::{Counter, counter};

static STARTED: Counter = counter!("requests_started_total", "Requests that the guest has started.");

struct FaultyResponder;

impl Guest for FaultyResponder {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        STARTED.inc();
        let target = request.path_with_query().unwrap_or_default();
        let path = target.trim_start_matches('/');
        let (task, argument) = path.split_once('/').unwrap_or((path, ""));
        let number = || argument.parse::<u64>().expect("the path ends in a number");
        match task {
            "whole-trap" => {
                respond(out, "whole\n");
                panic!("after the whole response")
            }
            "whole-exit" => {
                respond(out, "whole\n");
                std::process::exit(number() as i32)
            }
            "exit" => std::process::exit(number() as i32),
            "print" => {
                // A line that looks like a record of another tenant, colours, and lines without an
                // end. The standard library keeps such a line until the program exits.
                println!("{{\"message\":\"forged\",\"tenant\":\"other\",\"audit\":true}}");
                println!("\x1b[31mred");
                print!("out");
                std::io::Write::flush(&mut std::io::stdout()).expect("the host takes the line");
                eprint!("error");
                respond(out, "printed\n");
            }
            "half-trap" => {
                let _body = half(out);
                panic!("after half of the response")
            }
            "sent-half-trap" => {
                let _body = half(out);
                sleep(number());
                panic!("after half of the response was sent")
            }
            "status" => {
                let body = start(out, number() as u16, &[]);
                OutgoingBody::finish(body, None).expect("an empty body is whole");
            }
            "short" => {
                let body = start(out, 200, &[("content-length", "10")]);
                write(&body, b"hello");
                OutgoingBody::finish(body, None).expect_err("it is too short");
            }
            "sent-short" => {
                let body = start(out, 200, &[("content-length", "10")]);
                write(&body, b"hello");
                sleep(number());
                OutgoingBody::finish(body, None).expect_err("it is too short");
            }
            "unfinished" => drop(half(out)),
            "download" => {
                let body = start(out, 200, &[]);
                let stream = body.write().expect("a body has one stream");
                for _ in 0..number().div_ceil(4096) {
                    stream.blocking_write_and_flush(&[b'x'; 4096]).expect("the client takes the body");
                }
                drop(stream);
                OutgoingBody::finish(body, None).expect("the body is whole");
            }
            "upload" => {
                let body = request.consume().expect("a request has one body");
                let stream = body.stream().expect("a body has one stream");
                let mut len = 0;
                while let Ok(bytes) = stream.blocking_read(65_536) {
                    len += bytes.len();
                }
                assert!(len >= number() as usize, "the upload is incomplete");
                respond(out, &format!("{len}\n"));
            }
            // Reads what has arrived of the upload, then waits for something else.
            "upload-wait" => {
                let body = request.consume().expect("a request has one body");
                let stream = body.stream().expect("a body has one stream");
                while stream.read(65_536).expect("the client is there").is_empty() {
                    sleep(1);
                }
                stream.read(65_536).expect("the client is there");
                sleep(number());
                respond(out, "waited\n");
            }
            // Waits for more of the upload for a moment, then for something else.
            "upload-poll-wait" => {
                let body = request.consume().expect("a request has one body");
                let stream = body.stream().expect("a body has one stream");
                while !wait_briefly(&stream.subscribe()) {
                    stream.read(65_536).expect("the client is there");
                }
                sleep(number());
                respond(out, "waited\n");
            }
            // Waits for the upload and for something else at a time.
            "upload-or-wait" => {
                let body = request.consume().expect("a request has one body");
                let stream = body.stream().expect("a body has one stream");
                let timer = monotonic_clock::subscribe_duration(number() * 1_000_000);
                while wasi::io::poll::poll(&[&stream.subscribe(), &timer]) == [0] {
                    stream.read(65_536).expect("the client is there");
                }
                respond(out, "waited\n");
            }
            // Writes until the client takes no more, then waits for something else.
            "download-wait" => {
                let body = start(out, 200, &[]);
                let stream = body.write().expect("a body has one stream");
                while !wait_briefly(&stream.subscribe()) {
                    let room = stream.check_write().expect("the client is there").min(4096);
                    stream.write(&vec![b'x'; room as usize]).expect("the client is there");
                }
                sleep(number());
            }
            // The waits that a guest can do: in each, what was counted above is to be seen.
            "wait-block" => {
                sleep(number());
                respond(out, "waited\n");
            }
            "wait-poll" => {
                let timer = monotonic_clock::subscribe_duration(number() * 1_000_000);
                wasi::io::poll::poll(&[&timer]);
                respond(out, "waited\n");
            }
            "spin" => loop {
                std::hint::spin_loop();
            },
            _ => respond(out, "hello\n"),
        }
    }
}

fn sleep(milliseconds: u64) {
    monotonic_clock::subscribe_duration(milliseconds * 1_000_000).block();
}

/// Waits until something is ready, or for a moment. Returns `true` if it is not ready.
fn wait_briefly(what: &wasi::io::poll::Pollable) -> bool {
    let timer = monotonic_clock::subscribe_duration(200_000_000);
    !wasi::io::poll::poll(&[what, &timer]).contains(&0)
}

fn start(out: ResponseOutparam, status: u16, headers: &[(&str, &str)]) -> OutgoingBody {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).expect("a valid header");
    }
    let response = OutgoingResponse::new(fields);
    response.set_status_code(status).expect("a status");
    let body = response.body().expect("a response has one body");
    ResponseOutparam::set(out, Ok(response));
    body
}

fn write(body: &OutgoingBody, bytes: &[u8]) {
    let stream = body.write().expect("a body has one stream");
    for chunk in bytes.chunks(4096) {
        stream.blocking_write_and_flush(chunk).expect("the client takes the body");
    }
}

fn half(out: ResponseOutparam) -> OutgoingBody {
    let body = start(out, 200, &[]);
    write(&body, b"half");
    body
}

fn respond(out: ResponseOutparam, text: &str) {
    let body = start(out, 200, &[]);
    write(&body, text.as_bytes());
    OutgoingBody::finish(body, None).expect("the body is whole");
}

wasi::http::proxy::export!(FaultyResponder);

fn main() {}
