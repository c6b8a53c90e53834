//! A command that counts how often it greets.

fn main() {
    println!("Hello.");
    wasmetry::counter!("greetings_total", "Greetings.").inc();
}
