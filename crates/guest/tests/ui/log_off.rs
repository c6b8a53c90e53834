use wasmetry::{Level, log};

fn main() {
    log!(Level::Off, "never");
}
