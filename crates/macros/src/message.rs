//! A log's message: its text and its arguments.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Error, Expr, Ident, LitStr, Result};

/// A value behind a message's text.
pub(crate) struct Given {
    /// The name of `name = value`.
    pub(crate) name: Option<Ident>,
    pub(crate) value: Expr,
}

/// A message, which the host formats.
pub(crate) struct Message {
    /// The text, with `{}` for each argument.
    pub(crate) text: String,
    pub(crate) arguments: Vec<Argument>,
}

/// One argument of a message.
pub(crate) enum Argument {
    /// Recorded by its type, or as its `Display` text.
    Plain(TokenStream),
    /// Formatted in the guest, because it has format parameters.
    Formatted(TokenStream),
}

/// A piece of a format string.
enum Piece {
    Text(String),
    Placeholder { name: String, format: String },
}

impl Message {
    /// Parses a string in the syntax of `format!`.
    pub(crate) fn parse(literal: &LitStr, given: &[Given]) -> Result<Self> {
        let pieces = pieces(&literal.value()).map_err(|message| Error::new(literal.span(), message))?;
        let takes_arguments =
            |piece: &Piece| matches!(piece, Piece::Placeholder { format, .. } if format.contains(['$', '*']));
        if pieces.iter().any(takes_arguments) {
            let given = given.iter().map(|Given { name, value }| match name {
                Some(name) => quote!(#name = #value),
                None => value.to_token_stream(),
            });
            let whole = Argument::Formatted(quote!(::core::format_args!(#literal, #(#given),*)));
            return Ok(Self { text: "{}".to_owned(), arguments: vec![whole] });
        }
        let mut message = Self { text: String::new(), arguments: Vec::new() };
        let mut used = vec![false; given.len()];
        let mut next = 0;
        for piece in pieces {
            let (name, format) = match piece {
                Piece::Text(text) => {
                    message.text.push_str(&text);
                    continue;
                }
                Piece::Placeholder { name, format } => (name, format),
            };
            let value = find(&name, literal, given, &mut used, &mut next)?;
            message.text.push_str("{}");
            message.arguments.push(if format.is_empty() {
                Argument::Plain(value)
            } else {
                let format = LitStr::new(&format!("{{:{format}}}"), literal.span());
                Argument::Formatted(quote!(::core::format_args!(#format, #value)))
            });
        }
        match given.iter().zip(used).find(|(_, used)| !used) {
            None => Ok(message),
            Some((unused, _)) => {
                let message = "the message has no `{}` for this argument: add one, or write a field, `key = value`, before the message";
                Err(Error::new(syn::spanned::Spanned::span(&unused.value), message))
            }
        }
    }
}

/// The argument of a placeholder.
fn find(name: &str, literal: &LitStr, given: &[Given], used: &mut [bool], next: &mut usize) -> Result<TokenStream> {
    let index = match name {
        "" => {
            *next += 1;
            *next - 1
        }
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().unwrap_or(usize::MAX),
        name => match given.iter().position(|given| given.name.as_ref().is_some_and(|given| given == name)) {
            Some(index) => index,
            None => {
                let ident = syn::parse_str::<Ident>(name).map_err(|_| {
                    Error::new(
                        literal.span(),
                        format!(
                            "`{{{name}}}` in the message is no name: write `{{}}`, and the value behind the message"
                        ),
                    )
                })?;
                let captured = Ident::new(&ident.to_string(), literal.span());
                return Ok(captured.to_token_stream());
            }
        },
    };
    let Some(found) = given.get(index) else {
        let message = format!("the message has `{{{name}}}`, but no argument for it: write one behind the message");
        return Err(Error::new(literal.span(), message));
    };
    used[index] = true;
    Ok(found.value.to_token_stream())
}

/// Splits a format string; doubled braces stay doubled.
fn pieces(text: &str) -> std::result::Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '{' | '}' if chars.peek() == Some(&char) => {
                chars.next();
                plain.extend([char, char]);
            }
            '{' => {
                let mut inside = String::new();
                loop {
                    match chars.next() {
                        Some('}') => break,
                        Some('{') | None => {
                            return Err("a `{` in the message has no `}`: write `{{` for the brace".into());
                        }
                        Some(other) => inside.push(other),
                    }
                }
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                let (name, format) = inside.split_once(':').unwrap_or((&inside, ""));
                pieces.push(Piece::Placeholder { name: name.trim().to_owned(), format: format.trim_end().to_owned() });
            }
            '}' => return Err("a `}` in the message has no `{`: write `}}` for the brace".into()),
            other => plain.push(other),
        }
    }
    pieces.push(Piece::Text(plain));
    Ok(pieces)
}
