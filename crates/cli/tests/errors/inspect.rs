//! `wasmetry inspect`: binaries without telemetry, and conflicts of metrics.

use std::path::PathBuf;

use wasmetry_abi::{Descriptor, Kind};

use crate::{Inputs, usage, wasmetry};

#[test]
fn inspect_without_telemetry() {
    let inputs = Inputs::new();
    for (name, text, kind) in [("a.wasm", "(component)", "component"), ("b.wasm", "(module)", "core module")] {
        let path = inputs.wat(name, text);
        let path = path.to_str().unwrap();
        let output = wasmetry(&["inspect", path]);
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{path}: {kind}, 0 metrics\n"));
        let output = wasmetry(&["inspect", "--json", path]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let expected = serde_json::json!({ "metrics": [], "logs": [], "spans": [], "problems": [], "conflicts": [] });
        assert_eq!(json, expected);
    }
}

const LOADS: Descriptor<'static> = Descriptor::new(Kind::CounterU64, "classes_loaded_total", "Loads.");
const LOADED: Descriptor<'static> = Descriptor::new(Kind::GaugeI64, "classes_loaded", "Loaded now.");
static LOADS_RECORD: [u8; LOADS.record_len()] = LOADS.encode();
static LOADED_RECORD: [u8; LOADED.record_len()] = LOADED.encode();

/// A component that declares metrics.
fn declaring(inputs: &Inputs, name: &str, records: &[&[u8]]) -> PathBuf {
    let text: String = records.concat().iter().map(|byte| format!("\\{byte:02x}")).collect();
    inputs.wat(name, &format!("(component (core module (@custom \"{}\" \"{text}\")))", wasmetry_abi::SECTION))
}

const HIDDEN: &str = "Paid\u{202e}.sliaf\u{200b}\u{1b}[2J\u{e0041}";
const PAID: Descriptor<'static> = Descriptor::new(Kind::CounterU64, "paid_total", HIDDEN);
static PAID_RECORD: [u8; PAID.record_len()] = PAID.encode();
const BIDI: Descriptor<'static> = Descriptor::new(Kind::CounterU64, "a\u{202e}b\u{9b}_total", "Refused.");
static BIDI_RECORD: [u8; BIDI.record_len()] = BIDI.encode();

// A help text, and a name that is refused, with characters that a terminal would not show.
#[test]
fn hidden_characters_are_escaped() {
    let inputs = Inputs::new();
    let path = declaring(&inputs, "hidden.wasm", &[&PAID_RECORD, &BIDI_RECORD]);
    let path = path.to_str().unwrap();
    let config = inputs.write("hidden.toml", "[[component]]\npath = 'hidden.wasm'\nprefix = '/'\n");
    let config = config.to_str().unwrap();
    for arguments in [
        &["inspect", path][..],
        &["inspect", "--json", path],
        &["inspect", "--config", config],
        &["inspect", "--json", "--config", config],
        &["inspect", "--diff", path, path],
        &["inspect", "--json", "--diff", path, path],
    ] {
        let output = wasmetry(arguments);
        let shown = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        let is_hidden = |char: &char| *char != '\n' && wasmetry_host::encode::is_hidden(*char);
        assert_eq!(shown.chars().find(is_hidden), None, "{arguments:?}: {shown:?}");
    }
    let shown = String::from_utf8(wasmetry(&["inspect", path]).stdout).unwrap();
    assert!(shown.contains(r"Paid\u{202e}.sliaf\u{200b}\u{1b}[2J\u{e0041}"), "{shown}");
    let output = wasmetry(&["inspect", "--json", path]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["metrics"][0]["help"], HIDDEN);
    assert_eq!(json["problems"][0]["name"], BIDI.name);
}

#[test]
fn inspect_shows_conflicts() {
    let inputs = Inputs::new();
    let both = declaring(&inputs, "both.wasm", &[&LOADS_RECORD, &LOADED_RECORD]);
    let both = both.to_str().unwrap();
    declaring(&inputs, "loads.wasm", &[&LOADS_RECORD]);
    declaring(&inputs, "loaded.wasm", &[&LOADED_RECORD]);
    let conflict = "`classes_loaded_total` is refused: this component has `classes_loaded`, a gauge";

    let output = wasmetry(&["inspect", both]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(shown.contains("classes_loaded  ") && shown.contains(conflict), "{shown}");
    let output = wasmetry(&["inspect", "--json", both]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["conflicts"][0]["name"], "classes_loaded_total");

    let component = |name: &str, prefix: &str| {
        format!("[[component]]\npath = \"{name}.wasm\"\nprefix = \"{prefix}\"\ntenant = \"acme\"\n")
    };
    let config = inputs.write("conflict.toml", component("loads", "/a") + &component("loaded", "/b"));
    let config = config.to_str().unwrap();
    let output = wasmetry(&["inspect", "--config", config]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    for part in [
        "conflict.toml:5:1: `loaded`: ",
        "`classes_loaded` is refused: the component `loads` of version `",
        "of the component `loaded` of version `",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    let output = wasmetry(&["inspect", "--json", "--config", config]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["components"][1]["conflicts"][0]["name"], "classes_loaded");
    assert_eq!(
        (&json["components"][0]["component"], &json["components"][0]["tenant"]),
        (&"loads".into(), &"acme".into())
    );

    let sound = inputs.write("sound.toml", component("loads", "/a"));
    assert!(wasmetry(&["inspect", "--config", sound.to_str().unwrap()]).status.success());
    usage(&["inspect"], &["APP.wasm"]);
}
