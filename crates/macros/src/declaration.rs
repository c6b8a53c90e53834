//! The syntax of a metric macro's parameters.

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt as _;
use syn::parse::{End, Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::token::Bracket;
use syn::{Error, Expr, ExprLit, ExprUnary, Ident, Lit, LitInt, LitStr, Result, Token, Type, UnOp, bracketed};

use crate::foreign;
use crate::foreign::Usage;

/// A metric as its author wrote it.
pub(crate) struct Declaration {
    /// The path of the `wasmetry` crate.
    pub(crate) krate: TokenStream,
    pub(crate) name: LitStr,
    pub(crate) help: LitStr,
    pub(crate) labels: LabelSource,
    /// The place of the labels, or of the macro if it has none.
    pub(crate) labels_span: Span,
    pub(crate) const_labels: Vec<ConstLabel>,
    pub(crate) unit: Option<Ident>,
    pub(crate) buckets: Option<Buckets>,
    pub(crate) max_buckets: Option<LitInt>,
    pub(crate) merge: Option<Ident>,
    pub(crate) value: Option<Type>,
    pub(crate) observe: Option<Expr>,
}

/// The labels of a metric.
pub(crate) enum LabelSource {
    /// `[key: Type, …]`.
    Listed(Vec<LabelDeclaration>),
    /// A struct, whose fields are the labels.
    Struct(Box<Type>),
}

impl LabelSource {
    /// The labels that are listed.
    pub(crate) fn listed(&self) -> &[LabelDeclaration] {
        match self {
            Self::Listed(labels) => labels,
            Self::Struct(_) => &[],
        }
    }

    /// Returns `true` if the metric has no labels.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Listed(labels) if labels.is_empty())
    }
}

/// `key: Type`.
pub(crate) struct LabelDeclaration {
    pub(crate) key: Ident,
    pub(crate) ty: Type,
}

/// `key: "value"`.
pub(crate) struct ConstLabel {
    pub(crate) key: Ident,
    pub(crate) value: Expr,
}

/// `[bound, …]`.
pub(crate) struct Buckets {
    pub(crate) bounds: Vec<f64>,
    pub(crate) span: Span,
}

impl Declaration {
    /// Parses the parameters of the macro that `usage` describes.
    pub(crate) fn parse(input: ParseStream<'_>, usage: Usage) -> Result<Self> {
        let path;
        bracketed!(path in input);
        let krate = path.parse()?;
        let name: LitStr = input.parse().map_err(|error| {
            let example = usage.call(usage.name, usage.help, usage.option);
            Error::new(error.span(), format!("a metric begins with its name and its help text: write `{example}`"))
        })?;
        let help = help(input, &name, usage)?;
        let mut declaration = Self {
            krate,
            name,
            help,
            labels: LabelSource::Listed(Vec::new()),
            labels_span: Span::call_site(),
            const_labels: Vec::new(),
            unit: None,
            buckets: None,
            max_buckets: None,
            merge: None,
            value: None,
            observe: None,
        };
        let mut seen = Vec::new();
        while !input.is_empty() {
            if !input.peek(Token![,]) {
                return Err(input.error("a comma is missing between two options: write it here"));
            }
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            foreign::argument(input, &declaration.name, Some(&declaration.help), usage)?;
            let option: Ident = input
                .parse()
                .map_err(|error| Error::new(error.span(), format!("after the help text come options: {}", known())))?;
            if seen.contains(&option) {
                return Err(Error::new(option.span(), format!("`{option}:` is given twice: remove one")));
            }
            declaration.option(&option, input)?;
            seen.push(option);
        }
        Ok(declaration)
    }
}

/// The options, each with an example of its value.
const OPTIONS: [(&str, &str); 8] = [
    ("labels", "[route: Route]"),
    ("const_labels", "[tier: \"gold\"]"),
    ("unit", "seconds"),
    ("buckets", "[0.1, 0.5, 1]"),
    ("max_buckets", "100"),
    ("merge", "max"),
    ("value", "f64"),
    ("observe", "|| pool().len() as f64"),
];

/// Returns `true` if a metric has an option of this name.
pub(crate) fn is_option(name: &str) -> bool {
    OPTIONS.iter().any(|(option, _)| *option == name)
}

/// Returns the names of all options, for messages.
fn known() -> String {
    let [names @ .., last] = OPTIONS.map(|(name, _)| format!("`{name}`"));
    format!("{} and {last}", names.join(", "))
}

impl Declaration {
    /// Parses the colon and the value of an option.
    fn option(&mut self, option: &Ident, input: ParseStream<'_>) -> Result<()> {
        let Some((name, example)) = OPTIONS.into_iter().find(|(name, _)| option == name) else {
            return Err(Error::new(option.span(), format!("unknown option `{option}`: a metric has {}", known())));
        };
        let usage = |span| Error::new(span, format!("write `{name}: {example}`"));
        if !input.peek(Token![:]) || input.peek(Token![::]) {
            return Err(usage(option.span()));
        }
        input.parse::<Token![:]>()?;
        let is_list = matches!(name, "labels" | "const_labels" | "buckets");
        if is_list && !input.peek(Bracket) && !(name == "labels" && input.peek(Ident)) {
            return Err(usage(input.span()));
        }
        match name {
            "labels" if !input.peek(Bracket) => {
                let ty: Type = input.parse().map_err(|error| usage(error.span()))?;
                self.labels_span = ty.span();
                self.labels = LabelSource::Struct(Box::new(ty));
            }
            "labels" => {
                let list;
                self.labels_span = bracketed!(list in input).span.join();
                let labels = Punctuated::<LabelDeclaration, Token![,]>::parse_terminated(&list)?;
                self.labels = LabelSource::Listed(labels.into_iter().collect());
            }
            "const_labels" => {
                let list;
                bracketed!(list in input);
                self.const_labels = Punctuated::<ConstLabel, Token![,]>::parse_terminated(&list)?.into_iter().collect();
            }
            "buckets" => self.buckets = Some(input.parse()?),
            "unit" => self.unit = Some(input.parse().map_err(|error| usage(error.span()))?),
            "max_buckets" => self.max_buckets = Some(input.parse().map_err(|error| usage(error.span()))?),
            "merge" => self.merge = Some(input.parse().map_err(|error| usage(error.span()))?),
            "observe" if input.is_empty() || input.peek(Token![,]) => return Err(usage(option.span())),
            "observe" => self.observe = Some(input.parse()?),
            _ => self.value = Some(input.parse().map_err(|error| usage(error.span()))?),
        }
        Ok(())
    }
}

impl Parse for LabelDeclaration {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key = key(input, "a type", "route: Route")?;
        let usage = || format!("the type of the label's values is missing: write `{key}: Route`");
        let ty = input.parse().map_err(|error| Error::new(error.span(), usage()))?;
        Ok(Self { key, ty })
    }
}

impl Parse for ConstLabel {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key = key(input, "a value", "tier: \"gold\"")?;
        let usage = || format!("the value is missing: write `{key}: \"gold\"`");
        let value = input.parse().map_err(|error| Error::new(error.span(), usage()))?;
        Ok(Self { key, value })
    }
}

/// Parses a label's key and the colon behind it. `what` and `example` name what follows, for
/// messages.
fn key(input: ParseStream<'_>, what: &str, example: &str) -> Result<Ident> {
    // A key may be a keyword of Rust, such as `type`.
    let key = input
        .call(Ident::parse_any)
        .map_err(|error| Error::new(error.span(), format!("a label has a key and {what}: write `{example}`")))?;
    let key = key.unraw();
    if !input.peek(Token![:]) {
        let message = format!("the label `{key}` lacks {what}: write it like `{example}`");
        return Err(Error::new(key.span(), message));
    }
    input.parse::<Token![:]>()?;
    Ok(key)
}

impl Parse for Buckets {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let list;
        let brackets = bracketed!(list in input);
        let bounds = Punctuated::<Expr, Token![,]>::parse_terminated(&list)?;
        let bounds = bounds.iter().map(number).collect::<Result<_>>()?;
        Ok(Self { bounds, span: brackets.span.join() })
    }
}

/// Parses the comma and the help text after a name.
fn help(input: ParseStream<'_>, name: &LitStr, usage: Usage) -> Result<LitStr> {
    if input.peek(Token![,]) && input.peek2(LitStr) && !input.peek3(Token![=>]) {
        input.parse::<Token![,]>()?;
        return input.parse();
    }
    let is_option = input.peek2(Ident) && input.peek3(Token![:]) && !input.peek3(Token![::]);
    if input.peek(Token![,]) && !input.peek2(End) && !is_option {
        input.parse::<Token![,]>()?;
        foreign::argument(input, name, None, usage)?;
        return Err(input.error("the help text is a literal, not an expression: write the text here"));
    }
    let example = usage.call(&name.value(), usage.help, usage.option);
    Err(Error::new(name.span(), format!("the metric has no help text: write `{example}`")))
}

/// Evaluates a bucket bound: a number literal, or the negation of one.
fn number(expression: &Expr) -> Result<f64> {
    match expression {
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => number(expr).map(|value| -value),
        Expr::Lit(ExprLit { lit: Lit::Float(number), .. }) => number.base10_parse(),
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse(),
        other => Err(Error::new(other.span(), "a bucket bound is a number: write one such as `0.005`")),
    }
}
