//! The recorder as a component; see `wit/recorder.wit` and `src/recorder.rs`. Each call is a
//! request.

use test_guests::recorder;

wit_bindgen::generate!({ path: "wit/recorder.wit", world: "recorder" });

struct Recorder;

macro_rules! forward {
    ($($function:ident($($parameter:ident: $type:ty),*);)*) => {
        $(#[wasmetry::handler]
        fn $function($($parameter: $type),*) {
            recorder::$function($($parameter),*);
        })*
    };
}

impl Guest for Recorder {
    forward! {
        count(n: u64);
        spend(joules: f64);
        visit(route: u32, n: u64);
        shard(shard: u32);
        serve(route: u32);
        queue(difference: i64);
        pay(open: u32, euros: f64);
        observe_seconds(seconds: f64);
        observe_size(value: f64);
        observe_answer(bytes: f64);
        observe_query(seconds: f64);
        set_gauges(value: f64);
        add_level(difference: i64);
        count_inline();
        count_without_host_calls(n: u64);
        publish();
        timed();
        set_clock(nanoseconds: u64);
        trap(n: u64);
        spin(n: u64);
        exhaust(n: u64);
        recurse(n: u64);
        move_stock(items: i64);
        move_stock_and_trap(items: i64);
        trap_when_observed(n: u64);
    }

    #[wasmetry::handler]
    fn label(value: String, n: u64) {
        recorder::label(&value, n);
    }

    #[wasmetry::handler]
    fn observe_route(route: u32, customer: String, seconds: f64) {
        recorder::observe_route(route, &customer, seconds);
    }

    #[wasmetry::handler]
    fn set_depth(queue: String, depth: i64) {
        recorder::set_depth(&queue, depth);
    }
}

export!(Recorder);

fn main() {}
