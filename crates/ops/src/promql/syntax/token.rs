//! The tokens of PromQL.

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Number,
    Duration,
    Text,
    Symbol,
}

/// A token and its offset in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl Token<'_> {
    /// Returns `true` if the token is this symbol or, in any case of letters, this word.
    pub(super) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Symbol) && self.text.eq_ignore_ascii_case(text)
    }
}

const SYMBOLS: [&str; 22] = [
    "==", "!=", "<=", ">=", "=~", "!~", "<", ">", "=", "+", "-", "*", "/", "%", "^", "(", ")", "{", "}", "[", "]", ",",
];

/// Returns the tokens of a text, or the offset of the first mistake and its description.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, (usize, String)> {
    let mut all: Vec<Token<'_>> = Vec::new();
    let mut at = 0;
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let span = |is_in: &dyn Fn(char) -> bool| rest.find(|c| !is_in(c)).unwrap_or(rest.len());
        let (kind, length) = if c.is_ascii_whitespace() {
            at += 1;
            continue;
        } else if c.is_ascii_alphabetic() || c == '_' {
            // A colon is part of a name, but not in the brackets of a subquery.
            (Kind::Word, span(&|c| is_word(c) || c == ':'))
        } else if c.is_ascii_digit() || (c == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            number(rest)
                .ok_or_else(|| (at, format!("`{}` is not a number", &rest[..span(&|c| is_word(c) || c == '.')])))?
        } else if matches!(c, '"' | '\'' | '`') {
            (Kind::Text, quoted(rest, c).map_err(|message| (at, message))?)
        } else if c == '#' {
            return Err((at, "comments are not kept: remove it".to_owned()));
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            (Kind::Symbol, symbol.len())
        } else if matches!(c, ':' | '@') {
            (Kind::Symbol, 1)
        } else {
            return Err((at, format!("unexpected `{c}`")));
        };
        all.push(Token { kind, text: &rest[..length], at });
        at += length;
    }
    Ok(all)
}

/// Returns the kind and the length of a number or duration.
fn number(rest: &str) -> Option<(Kind, usize)> {
    let end = |from: usize, is_in: fn(char) -> bool| {
        rest[from..].find(|c| !is_in(c)).map_or(rest.len(), |length| from + length)
    };
    let word = end(0, |c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
    if let Some(hex) = rest[..word].strip_prefix("0x").or(rest[..word].strip_prefix("0X")) {
        let is_hex = !hex.is_empty() && hex.len() <= 16 && hex.chars().all(|c| c.is_ascii_hexdigit());
        return is_hex.then_some((Kind::Number, word));
    }
    if is_duration(&rest[..word]) {
        return Some((Kind::Duration, word));
    }
    // The sign of an exponent is not part of the word.
    let is_exponent = rest[..word].ends_with(['e', 'E']) && rest[word..].starts_with(['+', '-']);
    let length = if is_exponent { end(word + 1, |c| c.is_ascii_digit()) } else { word };
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    (rest[..length].chars().all(digits) && rest[..length].parse::<f64>().is_ok()).then_some((Kind::Number, length))
}

/// Returns `true` for a duration such as `1h30m`: units in falling order, each once.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    let mut is_any = false;
    for unit in ["y", "w", "d", "h", "m", "s", "ms"] {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let Some(after) = rest[digits..].strip_prefix(unit) else { continue };
        if digits == 0 || digits > 8 || (unit == "m" && after.starts_with('s')) {
            continue;
        }
        is_any = true;
        rest = after;
    }
    is_any && rest.is_empty()
}

/// Returns the length of a text with its quotes.
fn quoted(rest: &str, quote: char) -> Result<usize, String> {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok(at + 1),
            '\n' if quote != '`' => break,
            '\\' if quote != '`' => match chars.next() {
                Some((_, escaped)) if escaped == quote || "\\abfnrtv".contains(escaped) => {}
                _ => {
                    return Err("the text has an escape that is not supported: write `\\\\` for a backslash".to_owned());
                }
            },
            _ => {}
        }
    }
    Err("the text has no end".to_owned())
}
