//! A command that counts its greetings.

#[wasmetry::handler]
fn main() {
    println!("Hello.");
    wasmetry::counter!("greetings_total", "Greetings.").inc();
}
