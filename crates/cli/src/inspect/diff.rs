//! `wasmetry inspect --diff`: what a newer binary breaks for those who query the older one.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use wasmetry_host::Declarations;
use wasmetry_ops::diff::{Change, changes};

use super::{SECTION_LOST, has_lost_section, plural, to_json};
use crate::binary::Binary;
use crate::text;

/// Returns the differences between two binaries, and `false` if one is breaking.
pub(super) fn inspect(old: &Path, new: &Path, is_json: bool) -> Result<(String, bool)> {
    let changes = between(old, new)?;
    let is_sound = !changes.iter().any(Change::is_breaking);
    let text = if is_json { to_json(&json(&changes))? } else { lines(&changes) };
    Ok((text, is_sound))
}

/// Returns the differences between the declarations of two binaries.
pub(crate) fn between(old: &Path, new: &Path) -> Result<Vec<Change>> {
    Ok(changes(&declarations(old)?, &declarations(new)?))
}

fn declarations(path: &Path) -> Result<Declarations> {
    let shown = path.display();
    let declarations = Declarations::from_wasm(&Binary::read(path)?.bytes).with_context(|| shown.to_string())?;
    if has_lost_section(&declarations) {
        bail!("{shown}: {SECTION_LOST}");
    }
    Ok(declarations)
}

fn json(changes: &[Change]) -> serde_json::Value {
    let of_change = |change: &Change| {
        let Change { metric, detail, .. } = change;
        serde_json::json!({ "metric": metric, "change": detail.to_string(), "breaking": change.is_breaking() })
    };
    serde_json::json!({ "changes": changes.iter().map(of_change).collect::<Vec<_>>() })
}

fn lines(changes: &[Change]) -> String {
    let mut out = String::new();
    let (breaking, others): (Vec<&Change>, Vec<&Change>) = changes.iter().partition(|change| change.is_breaking());
    for (word, changes) in [("breaking", &breaking), ("other", &others)] {
        for change in changes {
            let _ = writeln!(out, "{word}: {}", text::line(&change.to_string()));
        }
    }
    let _ = writeln!(out, "{}, {}", plural(breaking.len(), "breaking change"), plural(others.len(), "other"));
    out
}
