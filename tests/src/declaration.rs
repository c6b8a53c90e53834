//! Declarations that no crate has written, by `crates/abi/FORMAT.md`.

use std::fs;
use std::path::Path;

/// The kind of a counter of whole numbers.
pub const COUNTER: u8 = 1;

/// The kind of a gauge of whole numbers.
pub const GAUGE: u8 = 5;

/// Returns a component with more declarations, each of a kind, a name and a help text.
///
/// # Panics
///
/// Panics if the component cannot be read.
pub fn with_declarations<'a>(
    component: &Path,
    declarations: impl IntoIterator<Item = (u8, &'a str, &'a str)>,
) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat();
    let records = declarations.into_iter().flat_map(|(kind, name, help)| {
        // A unit, a merge rule, labels, constant labels and bounds, all of which are empty.
        let payload = [text(name), text(help), text(""), vec![0; 5]].concat();
        [vec![1, kind, 0, 0], (payload.len() as u32).to_le_bytes().to_vec(), payload].concat()
    });
    let name = b"wasmetry.v1";
    let content: Vec<u8> = [name.len() as u8].into_iter().chain(*name).chain(records).collect();
    let mut bytes = fs::read(component).unwrap();
    // A custom section, and its length in LEB128.
    bytes.push(0);
    let mut rest = content.len();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes.extend(content);
    bytes
}
