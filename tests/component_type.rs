//! The component type of the guest crate's raw imports, which a component's linker reads, is that
//! of `wit/`.
//!
//! `cargo xtask wit` runs this test with `UPDATE_EXPECT=1`, which writes the file.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

use std::fs;
use std::path::Path;

use wit_component::StringEncoding;
use wit_parser::Resolve;

/// The checked-in component type is that of `wit/`.
#[test]
fn component_type_matches_wit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root.join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("sdk-guest")).unwrap();
    // Documentation would only enlarge every guest's object files.
    let fresh = wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None).unwrap();

    let path = root.join("crates/guest/src/component-type.bin");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    assert!(
        fs::read(&path).unwrap() == fresh,
        "{} does not match wit/: run `cargo xtask wit` and commit the result",
        path.display()
    );
}
