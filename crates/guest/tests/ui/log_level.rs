use wasmetry::log;

fn main() {
    log!();
    log!("signed in");
    log!(3, "signed in");
    log!(wasmetry::Level::Info "signed in");
}
