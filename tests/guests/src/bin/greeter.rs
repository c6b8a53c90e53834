//! A command that counts how often it greets.

#[wasmetry::handler]
fn main() {
    println!("Hello.");
    wasmetry::counter!("greetings_total", "Greetings.").inc();
}
