//! A check of PromQL that users write, before Prometheus refuses a whole rule file because of it.
//!
//! In comes a text, out come its selectors or the first mistake. What passes is valid in Prometheus
//! 2.42 and 3; regular expressions are not checked.

mod duration;
mod function;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;
use std::ops::Range;

pub(crate) use duration::map_durations;
use function::{AGGREGATIONS, Argument, FUNCTIONS};
use token::{Kind, Token, tokens};

/// A mistake in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyntaxError {
    /// The expression, on one line.
    pub query: String,
    /// The column of the mistake, counted in characters from 1.
    pub column: usize,
    /// The mistake and what is expected.
    pub message: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not PromQL: column {}: {}; correct the expression", self.query, self.column, self.message)
    }
}

impl std::error::Error for SyntaxError {}

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Scalar,
    Vector,
    Matrix,
    Text,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Scalar => "a scalar",
            Self::Vector => "an instant vector",
            Self::Matrix => "a range vector",
            Self::Text => "a text",
        }
    }
}

/// A valid expression, whose value is a scalar or an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checked {
    pub(crate) value: Type,
    /// The bytes of each selector of an instant vector.
    pub(crate) selectors: Vec<Range<usize>>,
    /// `true` if only sums, brackets and selectors are in the expression, so that the rate of the
    /// whole is the sum of the selectors' rates.
    pub(crate) is_sum: bool,
}

/// The deepest nesting of an expression.
const DEPTH: usize = 64;

/// Checks an expression.
pub(crate) fn check(text: &str) -> Result<Checked, SyntaxError> {
    let at = |offset: usize, message: String| SyntaxError {
        query: text.split_whitespace().collect::<Vec<_>>().join(" "),
        column: text.get(..offset).map_or(0, |before| before.chars().count()) + 1,
        message,
    };
    let tokens = tokens(text).map_err(|(offset, message)| at(offset, message))?;
    let mut parser = Parser { text, tokens: &tokens, next: 0, depth: 0, selectors: Vec::new(), is_sum: true };
    let result = parser.expression(0).and_then(|value| match (parser.peek(), value) {
        (Some(token), _) => Err((token.at, format!("unexpected `{}`", token.text))),
        (None, Type::Matrix | Type::Text) => {
            Err((0, format!("it is {}, but expected an instant vector: use `rate(...)`", value.name())))
        }
        (None, _) => Ok(value),
    });
    match result {
        Ok(value) => Ok(Checked { value, selectors: parser.selectors, is_sum: parser.is_sum }),
        Err((offset, message)) => Err(at(offset, message)),
    }
}

/// The offset of a mistake and its description.
type Mistake = (usize, String);

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Token<'a>],
    next: usize,
    depth: usize,
    selectors: Vec<Range<usize>>,
    is_sum: bool,
}

/// Returns the precedence of a binary operator.
fn precedence(operator: &str) -> Option<u8> {
    Some(match operator {
        "or" => 1,
        "and" | "unless" => 2,
        "==" | "!=" | "<=" | "<" | ">=" | ">" => 3,
        "+" | "-" => 4,
        "*" | "/" | "%" | "atan2" => 5,
        "^" => 6,
        _ => return None,
    })
}

/// The precedence of a sign: it binds weaker than a power.
const SIGN: u8 = 6;

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.next).copied()
    }

    /// Returns the offset of the next token, or of the end.
    fn offset(&self) -> usize {
        self.peek().map_or(self.text.len(), |token| token.at)
    }

    fn advance(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.next += 1;
        token
    }

    /// Returns the next token if it is this symbol or word.
    fn accept(&mut self, text: &str) -> bool {
        let is_next = self.peek().is_some_and(|token| token.is(text));
        self.next += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, text: &str) -> Result<(), Mistake> {
        if self.accept(text) { Ok(()) } else { Err((self.offset(), format!("expected `{text}`"))) }
    }

    fn expression(&mut self, least: u8) -> Result<Type, Mistake> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err((self.offset(), "it is nested too deeply".to_owned()));
        }
        let mut left = if self.accept("-") || self.accept("+") {
            let at = self.offset();
            self.is_sum = false;
            match self.expression(SIGN)? {
                found @ (Type::Scalar | Type::Vector) => found,
                found => return Err((at, format!("{} has no sign", found.name()))),
            }
        } else {
            self.operand()?
        };
        while let Some(token) = self.peek() {
            let operator = token.text.to_ascii_lowercase();
            let Some(binds) = (token.kind != Kind::Text).then(|| precedence(&operator)).flatten() else { break };
            if binds < least.max(1) {
                break;
            }
            self.next += 1;
            self.is_sum &= operator == "+";
            left = self.operation(&operator, token.at, left, binds)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operation(&mut self, operator: &str, at: usize, left: Type, binds: u8) -> Result<Type, Mistake> {
        let (is_set, is_comparison) = (binds <= 2, binds == 3);
        let is_bool = is_comparison && self.accept("bool");
        let is_matched = self.accept("on") || self.accept("ignoring");
        if is_matched {
            self.is_sum = false;
            self.labels()?;
            let is_grouped = !is_set && (self.accept("group_left") || self.accept("group_right"));
            if is_grouped && self.peek().is_some_and(|token| token.is("(")) {
                self.labels()?;
            }
        }
        // Powers are right-associative.
        let right = self.expression(if operator == "^" { binds } else { binds + 1 })?;
        match (left, right) {
            (Type::Vector, Type::Vector) => Ok(Type::Vector),
            (Type::Scalar | Type::Vector, Type::Scalar | Type::Vector) => {
                if is_set || is_matched {
                    return Err((at, format!("`{operator}` needs an instant vector on both sides here")));
                }
                if (left, right) == (Type::Scalar, Type::Scalar) {
                    if is_comparison && !is_bool {
                        return Err((at, format!("scalars are compared with `{operator} bool`")));
                    }
                    return Ok(Type::Scalar);
                }
                Ok(Type::Vector)
            }
            (Type::Matrix | Type::Text, _) => Err((at, format!("{} has no `{operator}`", left.name()))),
            _ => Err((at, format!("{} has no `{operator}`", right.name()))),
        }
    }

    /// Parses an operand with the range and offsets that follow it.
    fn operand(&mut self) -> Result<Type, Mistake> {
        let begin = self.offset();
        let (mut value, is_selector) = self.atom()?;
        let end = self.tokens.get(self.next - 1).map_or(begin, |token| token.at + token.text.len());
        let mut is_plain = is_selector;
        loop {
            let at = self.offset();
            if self.accept("[") {
                self.duration()?;
                if self.accept(":") {
                    if !self.peek().is_some_and(|token| token.is("]")) {
                        self.duration()?;
                    }
                    if value != Type::Vector {
                        return Err((at, format!("{} has no subquery", value.name())));
                    }
                } else if !is_plain {
                    return Err((at, "only a selector has a range: write `[1h:5m]` for a subquery".to_owned()));
                }
                self.expect("]")?;
                value = Type::Matrix;
            } else if self.accept("offset") {
                let _ = self.accept("-");
                self.duration()?;
                if !is_plain && value != Type::Matrix {
                    return Err((at, "only a selector or a subquery has an offset".to_owned()));
                }
            } else if self.accept("@") {
                return Err((at, "`@` is not supported here: rules are evaluated at the present time".to_owned()));
            } else {
                break;
            }
            is_plain = false;
            self.is_sum = false;
        }
        if is_plain {
            self.selectors.push(begin..end);
        }
        Ok(value)
    }

    /// Parses an operand without what follows it; the second value is `true` for a selector.
    fn atom(&mut self) -> Result<(Type, bool), Mistake> {
        let Some(token) = self.advance() else {
            return Err((self.text.len(), "expected an expression".to_owned()));
        };
        match token.kind {
            Kind::Number => {
                self.is_sum = false;
                Ok((Type::Scalar, false))
            }
            Kind::Text => {
                self.is_sum = false;
                Ok((Type::Text, false))
            }
            Kind::Word => self.word(token),
            Kind::Symbol if token.text == "(" => {
                let value = self.expression(0)?;
                self.expect(")")?;
                Ok((value, false))
            }
            Kind::Symbol if token.text == "{" => {
                self.next -= 1;
                self.matchers(token.at, None)?;
                Ok((Type::Vector, true))
            }
            _ => Err((token.at, format!("expected an expression, not `{}`", token.text))),
        }
    }

    fn word(&mut self, token: Token<'a>) -> Result<(Type, bool), Mistake> {
        let lower = token.text.to_ascii_lowercase();
        let is_call = self.peek().is_some_and(|next| next.is("("));
        let is_grouped = self.peek().is_some_and(|next| next.is("by") || next.is("without"));
        let aggregation = AGGREGATIONS.iter().find(|(name, _)| *name == lower && (is_call || is_grouped));
        if let Some((_, parameter)) = aggregation {
            self.is_sum &= lower == "sum";
            return self.aggregation(*parameter).map(|()| (Type::Vector, false));
        }
        if is_call {
            self.is_sum = false;
            return self.call(token).map(|value| (value, false));
        }
        if matches!(lower.as_str(), "nan" | "inf") {
            self.is_sum = false;
            return Ok((Type::Scalar, false));
        }
        if precedence(&lower).is_some()
            || matches!(lower.as_str(), "by" | "without" | "on" | "ignoring" | "bool" | "offset")
        {
            return Err((token.at, format!("expected an expression, not `{}`", token.text)));
        }
        if self.peek().is_some_and(|next| next.is("{")) {
            self.matchers(token.at, Some(token.text))?;
        }
        Ok((Type::Vector, true))
    }

    fn aggregation(&mut self, parameter: Option<Type>) -> Result<(), Mistake> {
        let grouping = |parser: &mut Self| -> Result<bool, Mistake> {
            let is_grouped = parser.accept("by") || parser.accept("without");
            if is_grouped {
                parser.labels()?;
            }
            Ok(is_grouped)
        };
        let is_grouped = grouping(self)?;
        self.expect("(")?;
        if let Some(expected) = parameter {
            self.argument(expected)?;
            self.expect(",")?;
        }
        self.argument(Type::Vector)?;
        self.expect(")")?;
        if !is_grouped {
            grouping(self)?;
        }
        Ok(())
    }

    fn argument(&mut self, expected: Type) -> Result<(), Mistake> {
        let at = self.offset();
        match self.expression(0)? {
            found if found == expected => Ok(()),
            found => Err((at, format!("expected {}, not {}", expected.name(), found.name()))),
        }
    }

    fn call(&mut self, token: Token<'a>) -> Result<Type, Mistake> {
        let Some((name, arguments, result)) = FUNCTIONS.iter().find(|(name, ..)| *name == token.text) else {
            return Err((token.at, format!("there is no function `{}` in Prometheus 2.42 and 3", token.text)));
        };
        self.expect("(")?;
        let mut given = 0;
        while !self.accept(")") {
            if given > 0 {
                self.expect(",")?;
            }
            let at = self.offset();
            let expected = match arguments.get(given).or(arguments.last()) {
                Some(Argument::One(expected) | Argument::Optional(expected)) if given < arguments.len() => *expected,
                Some(Argument::Many(expected)) => *expected,
                _ => return Err((at, format!("`{name}` has no more than {} arguments", arguments.len()))),
            };
            self.argument(expected)?;
            given += 1;
        }
        let least = arguments.iter().filter(|argument| matches!(argument, Argument::One(_))).count();
        if given < least {
            return Err((token.at, format!("`{name}` needs {least} arguments")));
        }
        Ok(*result)
    }

    /// Parses a list of labels in brackets.
    fn labels(&mut self) -> Result<(), Mistake> {
        self.expect("(")?;
        while !self.accept(")") {
            match self.advance() {
                Some(token) if token.kind == Kind::Word && !token.text.contains(':') => {}
                _ => {
                    return Err((
                        self.tokens.get(self.next - 1).map_or(self.text.len(), |token| token.at),
                        "expected a label or `)`".to_owned(),
                    ));
                }
            }
            if !self.peek().is_some_and(|token| token.is(")")) {
                self.expect(",")?;
            }
        }
        Ok(())
    }

    /// Parses the matchers of a selector in braces.
    fn matchers(&mut self, begin: usize, name: Option<&str>) -> Result<(), Mistake> {
        self.expect("{")?;
        let mut selects = name.is_some();
        while !self.accept("}") {
            let at = self.offset();
            let label = match self.advance() {
                Some(token) if token.kind == Kind::Word && !token.text.contains(':') => token,
                _ => return Err((at, "expected a label or `}`".to_owned())),
            };
            if label.text == "__name__" && name.is_some() {
                return Err((at, "the metric has a name already".to_owned()));
            }
            let at = self.offset();
            let operator = self.advance().map_or("", |token| token.text);
            if !matches!(operator, "=" | "!=" | "=~" | "!~") {
                return Err((at, "expected `=`, `!=`, `=~` or `!~`".to_owned()));
            }
            let at = self.offset();
            let value = match self.advance() {
                Some(token) if token.kind == Kind::Text => &token.text[1..token.text.len() - 1],
                _ => return Err((at, "expected a value in quotes".to_owned())),
            };
            let is_empty = value.is_empty();
            selects |= match operator {
                "=" => !is_empty,
                "!=" => is_empty,
                "=~" => value.contains(".+") || (!is_empty && value.chars().all(|c| c.is_alphanumeric() || c == '_')),
                _ => false,
            };
            if !self.peek().is_some_and(|token| token.is("}")) {
                self.expect(",")?;
            }
        }
        if selects {
            Ok(())
        } else {
            Err((begin, "the selector has neither a name nor a label with a value".to_owned()))
        }
    }

    fn duration(&mut self) -> Result<(), Mistake> {
        let at = self.offset();
        match self.advance() {
            Some(token) if token.kind == Kind::Duration => Ok(()),
            _ => Err((at, "expected a duration such as `5m`".to_owned())),
        }
    }
}
