//! The durations in a text of PromQL.

use super::token::{Kind, Token, tokens};

/// Replaces each duration of a text: `replace` receives its milliseconds, and `true` if it is the
/// length of a range. A text that is not PromQL stays as it is.
pub(crate) fn map_durations(text: &str, replace: impl Fn(u64, bool) -> String) -> String {
    let Ok(tokens) = tokens(text) else { return text.to_owned() };
    let mut mapped = String::with_capacity(text.len());
    let mut copied = 0;
    let mut before: Option<Token<'_>> = None;
    for token in tokens {
        if token.kind == Kind::Duration {
            mapped.push_str(&text[copied..token.at]);
            mapped.push_str(&replace(milliseconds(token.text), before.is_some_and(|token| token.is("["))));
            copied = token.at + token.text.len();
        }
        before = Some(token);
    }
    mapped.push_str(&text[copied..]);
    mapped
}

/// Returns the milliseconds of a duration such as `1h30m`.
fn milliseconds(duration: &str) -> u64 {
    let mut sum = 0_u64;
    let mut rest = duration;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let after = &rest[digits..];
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let factor = match &after[..letters] {
            "y" => 31_536_000_000,
            "w" => 604_800_000,
            "d" => 86_400_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            _ => 1,
        };
        sum = sum.saturating_add(rest[..digits].parse::<u64>().unwrap_or(u64::MAX).saturating_mul(factor));
        rest = &after[letters..];
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_added() {
        let texts = ["1h30m", "1500ms", "1y", "2w1d", "0s", "1m1s1ms"].map(milliseconds);
        assert_eq!(texts, [5_400_000, 1500, 31_536_000_000, 1_296_000_000, 0, 61_001]);
    }

    #[test]
    fn only_durations_are_replaced() {
        let text = "sum(a:rate5m{b='5m'}[5m:1m] offset -1h) * 5";
        let mapped = map_durations(text, |duration, is_range| format!("<{duration} {is_range}>"));
        assert_eq!(mapped, "sum(a:rate5m{b='5m'}[<300000 true>:<60000 false>] offset -<3600000 false>) * 5");
        assert_eq!(map_durations("a[$__range]", |_, _| String::new()), "a[$__range]");
    }
}
