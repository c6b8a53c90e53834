//! The recorder as a core module that imports nothing; see `src/recorder.rs`.
//!
//! A text is a pointer and a length; the host writes it into the buffer at `text-buffer`.

use std::cell::UnsafeCell;

use test_guests::recorder;

/// The size of the buffer for texts, in bytes.
const TEXT: usize = 4096;

struct Buffer(UnsafeCell<[u8; TEXT]>);

// SAFETY: the module has one thread, and its host writes while no function of it runs.
unsafe impl Sync for Buffer {}

static BUFFER: Buffer = Buffer(UnsafeCell::new([0; TEXT]));

macro_rules! export {
    ($($name:literal = $function:ident($($parameter:ident: $type:ty),*);)*) => {
        $(#[unsafe(export_name = $name)]
        extern "C" fn $function($($parameter: $type),*) {
            recorder::$function($($parameter),*);
        })*
    };
}

export! {
    "count" = count(n: u64);
    "spend" = spend(joules: f64);
    "visit" = visit(route: u32, n: u64);
    "shard" = shard(shard: u32);
    "serve" = serve(route: u32);
    "queue" = queue(difference: i64);
    "pay" = pay(open: u32, euros: f64);
    "observe-seconds" = observe_seconds(seconds: f64);
    "observe-size" = observe_size(value: f64);
    "observe-answer" = observe_answer(bytes: f64);
    "observe-query" = observe_query(seconds: f64);
    "set-gauges" = set_gauges(value: f64);
    "add-level" = add_level(difference: i64);
    "count-inline" = count_inline();
    "count-without-host-calls" = count_without_host_calls(n: u64);
    "publish" = publish();
    "timed" = timed();
    "set-clock" = set_clock(nanoseconds: u64);
    "trap" = trap(n: u64);
    "spin" = spin(n: u64);
    "exhaust" = exhaust(n: u64);
    "recurse" = recurse(n: u64);
    "move-stock" = move_stock(items: i64);
    "move-stock-and-trap" = move_stock_and_trap(items: i64);
    "trap-when-observed" = trap_when_observed(n: u64);
}

/// Begins as many traces.
#[unsafe(export_name = "begin-traces")]
extern "C" fn begin_traces(count: u64) {
    for number in 0..count {
        let _root = wasmetry::span!("root", number).entered();
    }
}

#[unsafe(export_name = "label")]
extern "C" fn label(value: *const u8, len: usize, n: u64) {
    recorder::label(text(value, len), n);
}

#[unsafe(export_name = "observe-route")]
extern "C" fn observe_route(route: u32, customer: *const u8, len: usize, seconds: f64) {
    recorder::observe_route(route, text(customer, len), seconds);
}

#[unsafe(export_name = "set-depth")]
extern "C" fn set_depth(queue: *const u8, len: usize, depth: i64) {
    recorder::set_depth(text(queue, len), depth);
}

/// Returns the buffer into which a host writes texts before a call.
#[unsafe(export_name = "text-buffer")]
extern "C" fn text_buffer() -> *mut u8 {
    BUFFER.0.get().cast()
}

fn text<'a>(pointer: *const u8, len: usize) -> &'a str {
    assert!(pointer == text_buffer().cast_const() && len <= TEXT, "a text lies in the buffer");
    // SAFETY: the text lies in the buffer, as asserted, and the host writes it only while no
    // function runs.
    let bytes = unsafe { std::slice::from_raw_parts(pointer, len) };
    std::str::from_utf8(bytes).expect("a text is UTF-8")
}

fn main() {}
