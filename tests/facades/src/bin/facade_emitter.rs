//! The facades' guest as a component; see `wit/facade_emitter.wit`.

wit_bindgen::generate!({ path: "wit/facade_emitter.wit", world: "facade-emitter" });

struct FacadeEmitter;

impl Guest for FacadeEmitter {
    fn emit_logs(user: u64, name: String) {
        facade_guests::emit_logs(user, &name);
    }

    fn nest_spans() {
        facade_guests::nest_spans();
    }

    fn relate_spans() {
        facade_guests::relate_spans();
    }

    fn interleave(traceparents: Vec<String>) {
        facade_guests::interleave(&traceparents);
    }

    fn log_levels() {
        facade_guests::log_levels();
    }

    fn log_at_sites(sites: u32) {
        facade_guests::log_at_sites(sites);
    }

    fn emit_many(lines: u32) {
        facade_guests::emit_many(lines);
    }

    fn trap() {
        facade_guests::trap();
    }

    fn publish() {
        wasmetry::publish();
    }
}

export!(FacadeEmitter);

fn main() {}
