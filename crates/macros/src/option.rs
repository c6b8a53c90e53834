//! The options of an attribute.

use proc_macro2::{TokenStream, TokenTree};
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::spanned::Spanned as _;
use syn::{Error, LitStr, Path, Result, Token};

/// An option, and an example of it.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) name: &'static str,
    pub(crate) example: &'static str,
}

/// Calls `take` for each of the options in `tokens`. `known` are the options of `attribute`; each
/// may be given once.
pub(crate) fn parse(
    tokens: TokenStream,
    attribute: &str,
    known: &[Usage],
    mut take: impl FnMut(Usage, &ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    let examples: Vec<String> = known.iter().map(|usage| format!("`{}`", usage.example)).collect();
    let unknown = format!("unknown option: `{attribute}` has {}", examples.join(", "));
    if let Some(TokenTree::Literal(literal)) = tokens.clone().into_iter().next() {
        return Err(Error::new(literal.span(), unknown));
    }
    let mut seen = Vec::new();
    let parser = syn::meta::parser(|meta| {
        let usage = known.iter().find(|usage| meta.path.is_ident(usage.name)).ok_or_else(|| meta.error(&unknown))?;
        if seen.contains(&usage.name) {
            return Err(meta.error(format!("`{}` is given twice: remove one", usage.name)));
        }
        seen.push(usage.name);
        take(*usage, &meta)
    });
    parser.parse2(tokens)
}

impl Usage {
    /// An error at the place of `error`, with the option's syntax.
    pub(crate) fn error(&self, error: &Error) -> Error {
        Error::new(error.span(), format!("write `{}`", self.example))
    }

    /// The error, or one with the option's syntax in the place of one without a message.
    pub(crate) fn unless_explained(&self, error: Error) -> Error {
        if error.to_string().is_empty() { self.error(&error) } else { error }
    }

    /// The value behind the option's `=`.
    pub(crate) fn value<T: Parse>(&self, meta: &ParseNestedMeta<'_>) -> Result<T> {
        self.value_by(meta, T::parse)
    }

    /// The path behind the option's `=`.
    pub(crate) fn path(&self, meta: &ParseNestedMeta<'_>) -> Result<Path> {
        self.value_by(meta, Path::parse_mod_style)
    }

    /// The text behind the option's `=`, which is not empty.
    pub(crate) fn text(&self, meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
        let text: LitStr = self.value(meta)?;
        if text.value().is_empty() {
            return Err(Error::new(
                text.span(),
                format!("the text is empty: write `{}`, or remove the option", self.example),
            ));
        }
        Ok(text)
    }

    fn value_by<T>(&self, meta: &ParseNestedMeta<'_>, parse: fn(ParseStream<'_>) -> Result<T>) -> Result<T> {
        let missing = || self.error(&Error::new(meta.path.span(), ""));
        meta.input.parse::<Token![=]>().map_err(|_| missing())?;
        if meta.input.is_empty() {
            return Err(missing());
        }
        parse(meta.input).map_err(|error| self.error(&error))
    }
}
