//! How large each guest may be: `xtask/budgets.txt` against `target/guests`.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// One line of the budgets: a guest and the bytes it may have.
#[derive(Debug, Eq, PartialEq)]
struct Budget {
    guest: String,
    bytes: u64,
}

/// Fails, naming the guests, when one is larger than its budget or was not built.
pub(crate) fn check() -> Result<()> {
    let path = workspace::root().join("xtask/budgets.txt");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut over = Vec::new();
    for Budget { guest, bytes } in parse(&text)? {
        let path = workspace::guests().join(format!("{guest}.wasm"));
        let size = fs::metadata(&path)
            .with_context(|| format!("xtask/budgets.txt names `{guest}`, and there is no {}", path.display()))?
            .len();
        eprintln!("{size:>9} B of {bytes:>9} B  {guest}");
        if size > bytes {
            over.push(format!("{guest} by {} B", size - bytes));
        }
    }
    if !over.is_empty() {
        bail!(
            "over budget: {}; make it smaller, or raise the figure in xtask/budgets.txt and say why in the commit",
            over.join(", ")
        );
    }
    Ok(())
}

/// Reads lines of `name bytes`; `#` starts a comment.
fn parse(text: &str) -> Result<Vec<Budget>> {
    let mut budgets = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let budget = match words.as_slice() {
            [] => continue,
            [guest, bytes] => bytes.parse().ok().map(|bytes| Budget { guest: (*guest).to_owned(), bytes }),
            _ => None,
        };
        budgets.push(budget.with_context(|| {
            format!("xtask/budgets.txt line {number} is `{line}`; write a guest's name and its bytes")
        })?);
    }
    Ok(budgets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_bytes() -> Result<()> {
        let budgets = parse("# guests\n\nstorefront 250000 # wstd is most of it\n")?;
        assert_eq!(budgets, [Budget { guest: "storefront".to_owned(), bytes: 250_000 }]);
        Ok(())
    }

    #[test]
    fn names_the_line_it_cannot_read() {
        let error = parse("a 1\nb many\n").expect_err("`many` is no number");
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
