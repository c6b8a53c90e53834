//! The budgets of `xtask/budgets.txt`, and the comparison of the guests' sizes with them.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::{node, sizes::Size, workspace};

/// The file of budgets.
const PATH: &str = "xtask/budgets.txt";

/// The prefix of the names of the components that `wasmetry adapt` puts around an app.
const ADAPTER: &str = "adapter/";

/// Everything that has a budget.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Budgets {
    /// Guests and the bytes each may have.
    pub(super) sizes: Vec<(String, u64)>,
    /// Kinds of telemetry and the bytes that each further one may add to a guest.
    pub(super) further: Vec<(String, u64)>,
    /// Workloads and the instructions that one operation of each may take.
    pub(super) instructions: Vec<(String, f64)>,
}

impl Budgets {
    /// Reads the budgets.
    pub(super) fn read() -> Result<Self> {
        let path = workspace::root().join(PATH);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text)
    }

    /// Reads lines of `size GUEST BYTES`, `further KIND BYTES` and `instructions WORKLOAD NUMBER`;
    /// `#` starts a comment.
    fn parse(text: &str) -> Result<Self> {
        let mut budgets = Self::default();
        for (line, number) in text.lines().zip(1..) {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let understood = match words.as_slice() {
                [] => Some(()),
                ["size", guest, most] => most.parse().ok().map(|most| budgets.sizes.push(((*guest).to_owned(), most))),
                ["further", kind, most] => {
                    most.parse().ok().map(|most| budgets.further.push(((*kind).to_owned(), most)))
                }
                ["instructions", workload, most] => {
                    let most = most.parse().ok().filter(|most: &f64| most.is_finite());
                    most.map(|most| budgets.instructions.push(((*workload).to_owned(), most)))
                }
                _ => None,
            };
            understood.with_context(|| {
                format!("{PATH} line {number} is `{line}`; write `size GUEST BYTES`, `further KIND BYTES` or `instructions WORKLOAD NUMBER`")
            })?;
        }
        Ok(budgets)
    }
}

/// Fails and names the guests if one is larger than its budget or was not built.
pub(super) fn check_sizes(budgets: &Budgets) -> Result<()> {
    let mut over = Vec::new();
    for (guest, most) in &budgets.sizes {
        let path = match guest.strip_prefix(ADAPTER) {
            Some(part) => workspace::adapter().join(format!("{part}.wasm")),
            None if guest == node::CORE => node::core(),
            None => workspace::guests().join(format!("{guest}.wasm")),
        };
        let size = fs::metadata(&path)
            .with_context(|| format!("{PATH} names `{guest}`, and there is no {}", path.display()))?
            .len();
        eprintln!("{size:>9} B of {most:>9} B  {guest}");
        if size > *most {
            over.push(format!("{guest} by {} B", size - most));
        }
    }
    refuse(&over, "smaller")
}

/// Fails and names the kinds if one adds more to a guest than its budget, or has no budget.
pub(super) fn check_further(budgets: &Budgets, sizes: &[Size]) -> Result<()> {
    let mut over = Vec::new();
    for Size { kind, further, .. } in sizes {
        let budget = budgets.further.iter().find(|(budgeted, _)| budgeted == kind);
        let (_, most) =
            budget.with_context(|| format!("{PATH} has no `further {kind}`, which `cargo xtask sizes` measures"))?;
        eprintln!("{further:>9} B of {most:>9} B  each further {kind}");
        if further > most {
            over.push(format!("each further {kind} by {} B", further - most));
        }
    }
    refuse(&over, "smaller")
}

/// Fails if something is over its budget.
pub(super) fn refuse(over: &[String], better: &str) -> Result<()> {
    if !over.is_empty() {
        bail!(
            "over budget: {}; make it {better}, or raise the figure in {PATH} and say why in the commit",
            over.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_figures() -> Result<()> {
        let text =
            "# guests\n\nsize storefront 250000 # wstd is most of it\nfurther counter 90\ninstructions increment 7.5\n";
        let expected = Budgets {
            sizes: vec![("storefront".to_owned(), 250_000)],
            further: vec![("counter".to_owned(), 90)],
            instructions: vec![("increment".to_owned(), 7.5)],
        };
        assert_eq!(Budgets::parse(text)?, expected);
        Ok(())
    }

    #[test]
    fn names_the_line_it_cannot_read() {
        for line in ["size b many", "further b -1", "b 1", "instructions b NaN", "size b 1.5", "instructions b 1 2"] {
            let error = Budgets::parse(&format!("size a 1\n{line}\n")).expect_err(line);
            assert!(error.to_string().contains("line 2"), "{error}");
        }
    }

    #[test]
    fn budgets_file_has_all_kinds() -> Result<()> {
        let budgets = Budgets::read()?;
        assert!(!budgets.sizes.is_empty() && !budgets.further.is_empty() && !budgets.instructions.is_empty());
        Ok(())
    }
}
