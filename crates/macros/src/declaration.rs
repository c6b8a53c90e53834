//! What stands between the parentheses of a metric macro.

use proc_macro2::{Span, TokenStream};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, ExprUnary, Ident, Lit, LitInt, LitStr, Result, Token, Type, UnOp, bracketed};

/// A metric as its author wrote it.
pub(crate) struct Declaration {
    /// The path of the `wasmetry` crate.
    pub(crate) krate: TokenStream,
    pub(crate) name: LitStr,
    pub(crate) help: LitStr,
    pub(crate) labels: Vec<LabelDeclaration>,
    pub(crate) const_labels: Vec<ConstLabel>,
    pub(crate) unit: Option<Ident>,
    pub(crate) buckets: Option<Buckets>,
    pub(crate) max_buckets: Option<LitInt>,
    pub(crate) merge: Option<Ident>,
    pub(crate) value: Option<Type>,
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

impl Parse for Declaration {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let path;
        bracketed!(path in input);
        let krate = path.parse()?;
        let usage = "a metric begins with its name and its help text: `\"http_requests_total\", \"HTTP requests.\"`";
        let name = text(input, usage)?;
        comma_before_help(input, &name)?;
        let help = text(input, usage)?;
        let mut declaration = Self {
            krate,
            name,
            help,
            labels: Vec::new(),
            const_labels: Vec::new(),
            unit: None,
            buckets: None,
            max_buckets: None,
            merge: None,
            value: None,
        };
        let mut seen = Vec::new();
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            let option: Ident = input.parse()?;
            if seen.contains(&option) {
                return Err(Error::new(option.span(), format!("`{option}:` stands here twice")));
            }
            input.parse::<Token![:]>()?;
            declaration.option(&option, input)?;
            seen.push(option);
        }
        Ok(declaration)
    }
}

impl Declaration {
    fn option(&mut self, option: &Ident, input: ParseStream<'_>) -> Result<()> {
        match option.to_string().as_str() {
            "labels" => {
                let list;
                bracketed!(list in input);
                self.labels = Punctuated::<LabelDeclaration, Token![,]>::parse_terminated(&list)?.into_iter().collect();
            }
            "const_labels" => {
                let list;
                bracketed!(list in input);
                self.const_labels = Punctuated::<ConstLabel, Token![,]>::parse_terminated(&list)?.into_iter().collect();
            }
            "unit" => self.unit = Some(input.parse()?),
            "buckets" => self.buckets = Some(input.parse()?),
            "max_buckets" => self.max_buckets = Some(input.parse()?),
            "merge" => self.merge = Some(input.parse()?),
            "value" => self.value = Some(input.parse()?),
            other => {
                let known = "`labels`, `const_labels`, `unit`, `buckets`, `max_buckets`, `merge` and `value`";
                let message = format!("unknown option `{other}`: a metric has {known}");
                return Err(Error::new(option.span(), message));
            }
        }
        Ok(())
    }
}

impl Parse for LabelDeclaration {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key = key(input, "a type", "Type")?;
        Ok(Self { key, ty: input.parse()? })
    }
}

impl Parse for ConstLabel {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key = key(input, "a value", "\"value\"")?;
        Ok(Self { key, value: input.parse()? })
    }
}

/// A label's key and the colon behind it.
fn key(input: ParseStream<'_>, what: &str, example: &str) -> Result<Ident> {
    let key: Ident = input.parse()?;
    if !input.peek(Token![:]) {
        let message = format!("a label has a key and {what}: write `{key}: {example}`");
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

fn text(input: ParseStream<'_>, usage: &str) -> Result<LitStr> {
    input.parse().map_err(|error| Error::new(error.span(), usage))
}

fn comma_before_help(input: ParseStream<'_>, name: &LitStr) -> Result<()> {
    if input.peek(Token![,]) && input.peek2(LitStr) {
        input.parse::<Token![,]>()?;
        return Ok(());
    }
    let message = format!("the metric has no help text: write `\"{}\", \"What it counts.\"`", name.value());
    Err(Error::new(name.span(), message))
}

/// A bucket bound: a number, perhaps negative.
fn number(expression: &Expr) -> Result<f64> {
    match expression {
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => number(expr).map(|value| -value),
        Expr::Lit(ExprLit { lit: Lit::Float(number), .. }) => number.base10_parse(),
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse(),
        other => Err(Error::new(other.span(), "a bucket bound is a number, such as `0.005`")),
    }
}
