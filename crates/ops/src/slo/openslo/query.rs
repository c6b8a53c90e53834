//! The queries of indicators as rates per second.

use crate::promql::syntax;

/// The placeholder of a range, as Sloth has it.
const WINDOW: &str = "{{.window}}";

/// Returns a query as a rate per second over five minutes. `is_counter` is set for a query of a
/// value that only rises.
pub(super) fn rate(query: &str, is_counter: bool) -> Result<String, String> {
    let spaced = query.replace("{{ .window }}", WINDOW);
    let has_window = spaced.contains(WINDOW);
    let text = spaced.replace(WINDOW, "5m").trim().to_owned();
    let checked = syntax::check(&text).map_err(|error| error.to_string())?;
    if !is_counter || has_window {
        return Ok(text);
    }
    if !checked.is_sum || checked.selectors.is_empty() {
        return Err(format!(
            "no rate can be made of `{}`: with `counter: true`, write a selector or a sum of selectors; with `counter: \
             false`, an expression of rates",
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        ));
    }
    // The rate of a sum is wrong when one of its counters restarts, so it is the sum of rates.
    let mut rated = String::new();
    let mut end = 0;
    for selector in checked.selectors {
        rated += &text[end..selector.start];
        rated += &format!("rate({}[5m])", &text[selector.clone()]);
        end = selector.end;
    }
    Ok(rated + &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_become_rates() {
        let cases = [
            ("a", true, "rate(a[5m])"),
            ("sum(a{b=\"}\"})", true, "sum(rate(a{b=\"}\"}[5m]))"),
            ("sum by (x) (a) + (b{c='d'})", true, "sum by (x) (rate(a[5m])) + (rate(b{c='d'}[5m]))"),
            ("sum(rate(a[{{.window}}]))", true, "sum(rate(a[5m]))"),
            ("sum(rate(a[{{ .window }}]))", false, "sum(rate(a[5m]))"),
            (" sum(rate(a[1m]))\n", false, "sum(rate(a[1m]))"),
        ];
        for (query, is_counter, expected) in cases {
            assert_eq!(rate(query, is_counter).as_deref(), Ok(expected));
        }
        for query in ["max(a)", "sum(rate(a[5m]))", "a - b", "a * 2", "1"] {
            assert!(rate(query, true).unwrap_err().contains("with `counter: true`, write a selector"), "{query}");
        }
        assert!(rate("sum(a", true).unwrap_err().contains("column 6"));
    }
}
