//! The facades' guest as a core module with plain exports.

macro_rules! export {
    ($($name:literal = $call:expr;)*) => {
        $(const _: () = {
            #[unsafe(export_name = $name)]
            extern "C" fn run() {
                $call;
            }
        };)*
    };
}

export! {
    "emit-logs" = facade_guests::emit_logs(7, "Ada");
    "nest-spans" = facade_guests::nest_spans();
    "relate-spans" = facade_guests::relate_spans();
    "trap" = facade_guests::trap();
}

fn main() {}
