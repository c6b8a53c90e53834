//! The example prints the metrics of its guest.

use std::path::Path;
use std::process::Command;

#[test]
fn metrics_of_three_runs_are_printed() {
    let embed = Path::new(env!("CARGO_BIN_EXE_embed"));
    // <target>/<profile>/embed
    let guest = embed.ancestors().nth(2).unwrap().join("guests/greeter.wasm");
    assert!(guest.exists(), "{} is missing: run `cargo xtask guests`", guest.display());
    let output = Command::new(embed).arg(guest).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches("Hello.\n").count(), 3, "{text}");
    assert!(text.contains("greetings_total{component=\"embedded\"} 3\n"), "{text}");
    assert!(text.contains("wasm_instance_starts_total{component=\"embedded\"} 3\n"), "{text}");
}
