//! The expansion of `log!` and of what stands for it, of `event!` and of `span!`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, Ident, LitStr, Result, Token, bracketed};

use crate::message::{Argument, Given, Message};

/// `key = value`, `key = %value`, `key = ?value`, or a variable that is both.
pub(crate) struct Field {
    pub(crate) key: String,
    pub(crate) value: TokenStream,
    pub(crate) mode: Mode,
}

/// How a field's value is recorded.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Typed,
    Display,
    Debug,
}

/// What every one of the macros begins with: the path of the `wasmetry` crate in brackets.
fn krate(input: ParseStream<'_>) -> Result<TokenStream> {
    let path;
    bracketed!(path in input);
    path.parse()
}

/// A log as its author wrote it.
struct Log {
    krate: TokenStream,
    level: Expr,
    target: Option<Expr>,
    fields: Vec<Field>,
    message: Message,
}

impl Parse for Log {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let krate = krate(input)?;
        let level = input.parse()?;
        input.parse::<Option<Token![,]>>()?;
        let mut log = Self {
            krate,
            level,
            target: None,
            fields: Vec::new(),
            message: Message { text: String::new(), arguments: Vec::new() },
        };
        if option(input, "target") {
            log.target = Some(value_of_option(input)?);
        }
        while !input.is_empty() {
            if is_message(input) {
                let literal: LitStr = input.parse()?;
                log.message = Message::parse(&literal, &given(input)?)?;
                break;
            }
            log.fields.push(input.parse()?);
            comma(input)?;
        }
        Ok(log)
    }
}

/// Whether a literal comes that is not a field's key.
fn is_message(input: ParseStream<'_>) -> bool {
    input.peek(LitStr) && !input.peek2(Token![=])
}

/// Whether `name:` comes, and not `name::`.
fn option(input: ParseStream<'_>, name: &str) -> bool {
    let ahead = input.fork();
    ahead.parse::<Ident>().is_ok_and(|ident| ident == name) && ahead.peek(Token![:]) && !ahead.peek(Token![::])
}

fn value_of_option(input: ParseStream<'_>) -> Result<Expr> {
    input.call(Ident::parse_any)?;
    input.parse::<Token![:]>()?;
    let value = input.parse()?;
    comma(input)?;
    Ok(value)
}

/// A comma, or the end.
fn comma(input: ParseStream<'_>) -> Result<()> {
    if input.is_empty() {
        return Ok(());
    }
    if !input.peek(Token![,]) {
        return Err(input.error("fields are separated by commas: `user = id, ok = true, \"message\"`"));
    }
    input.parse::<Token![,]>().map(drop)
}

/// What stands behind a message.
fn given(input: ParseStream<'_>) -> Result<Vec<Given>> {
    let mut all = Vec::new();
    while !input.is_empty() {
        comma(input)?;
        if input.is_empty() {
            break;
        }
        let name = if input.peek(Ident) && input.peek2(Token![=]) && !input.peek2(Token![==]) {
            let name = input.parse()?;
            input.parse::<Token![=]>()?;
            Some(name)
        } else {
            None
        };
        all.push(Given { name, value: input.parse()? });
    }
    Ok(all)
}

impl Parse for Mode {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.parse::<Option<Token![%]>>()?.is_some() {
            return Ok(Self::Display);
        }
        Ok(if input.parse::<Option<Token![?]>>()?.is_some() { Self::Debug } else { Self::Typed })
    }
}

impl Parse for Field {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let usage = "a field is `key = value`, `key = %value`, `key = ?value`, or a variable's name";
        if input.peek(LitStr) {
            let key: LitStr = input.parse()?;
            input.parse::<Token![=]>()?;
            let mode = input.parse()?;
            let value: Expr = input.parse()?;
            return Ok(Self { key: key.value(), value: quote!(#value), mode });
        }
        let mode: Mode = input.parse()?;
        let start: Ident = input.call(Ident::parse_any).map_err(|error| Error::new(error.span(), usage))?;
        let mut key = start.unraw().to_string();
        let mut path = quote!(#start);
        while input.peek(Token![.]) {
            let dot: Token![.] = input.parse()?;
            let part: Ident = input.call(Ident::parse_any)?;
            key = format!("{key}.{}", part.unraw());
            path.extend(quote!(#dot #part));
        }
        if mode != Mode::Typed || !input.peek(Token![=]) {
            if !input.is_empty() && !input.peek(Token![,]) {
                return Err(Error::new(start.span(), usage));
            }
            return Ok(Self { key, value: path, mode });
        }
        input.parse::<Token![=]>()?;
        let mode = input.parse()?;
        let value: Expr = input.parse()?;
        Ok(Self { key, value: quote!(#value), mode })
    }
}

impl Field {
    /// The argument of a record that has this field's value.
    pub(crate) fn argument(&self, private: &TokenStream) -> TokenStream {
        let value = &self.value;
        match self.mode {
            Mode::Typed => quote!((&&#private::Wrap(&#value)).field()),
            Mode::Display => quote!(#private::Arg::Display(&#value)),
            Mode::Debug => quote!(#private::Arg::Debug(&#value)),
        }
    }
}

/// The arguments of a record: the message's, then the fields'.
fn arguments(private: &TokenStream, message: &Message, fields: &[Field]) -> Vec<TokenStream> {
    let message = message.arguments.iter().map(|argument| match argument {
        Argument::Plain(value) => quote!((&&#private::Wrap(&#value)).message()),
        Argument::Formatted(value) => quote!(#private::Arg::Display(&#value)),
    });
    message.chain(fields.iter().map(|field| field.argument(private))).collect()
}

/// Constants for a site: its record in the custom section, and its `HASH`.
pub(crate) fn site(abi: &TokenStream, site: &TokenStream) -> TokenStream {
    quote! {
        const SITE: #abi::site::Site<'static> = #site;
        const RECORD: [u8; SITE.record_len()] = SITE.encode();
        // In the custom section only: the linker does not put it into memory.
        #[cfg(target_family = "wasm")]
        #[allow(dead_code, reason = "it is read in the binary, not by the program")]
        #[unsafe(link_section = "wasmetry.v1")]
        static DECLARATION: [u8; RECORD.len()] = RECORD;
        const HASH: u64 = #abi::hash(&RECORD);
    }
}

/// Brings the traits into scope by which a value's type is found.
pub(crate) fn values(private: &TokenStream) -> TokenStream {
    quote! {
        #[allow(unused_imports, reason = "which of them is used depends on the values' types")]
        use #private::{ByText as _, ByType as _, Other as _};
    }
}

fn too_many(count: usize) -> Result<()> {
    if count > wasmetry_abi::ring::ARGUMENTS {
        let message = format!("a record has at most {} values", wasmetry_abi::ring::ARGUMENTS);
        return Err(Error::new(proc_macro2::Span::call_site(), message));
    }
    Ok(())
}

/// Expands `log!`: the crate, the level, then what its author wrote.
pub(crate) fn log(tokens: TokenStream) -> TokenStream {
    syn::parse2(tokens).and_then(|log| expand_log(&log)).unwrap_or_else(as_expression)
}

fn expand_log(log: &Log) -> Result<TokenStream> {
    let Log { krate, level, fields, message, .. } = log;
    let private = quote!(#krate::__private);
    let abi = quote!(#private::abi);
    let target = log.target.as_ref().map_or_else(|| quote!(::core::module_path!()), |target| quote!(#target));
    let arguments = arguments(&private, message, fields);
    let values = values(&private);
    too_many(arguments.len())?;
    let (text, message_arguments) = (&message.text, message.arguments.len() as u8);
    let keys = fields.iter().map(|field| &field.key);
    let site = site(
        &abi,
        &quote! {
            #abi::site::Site::new(#abi::site::SiteKind::Log { is_audit: IS_AUDIT }, LEVEL, TARGET, #text)
                .with_source(::core::file!(), ::core::line!())
                .with_arguments(#message_arguments, &[#(#keys),*])
        },
    );
    Ok(quote!({
        const LEVEL: #krate::Level = #level;
        const TARGET: &str = #target;
        const IS_AUDIT: bool = #abi::site::is_audit(TARGET);
        #site
        if IS_AUDIT || #private::is_enabled(LEVEL) {
            #values
            #private::log(HASH, LEVEL, IS_AUDIT, &[#(#arguments),*]);
        }
    }))
}

/// A span or an event as its author wrote it.
struct Named {
    krate: TokenStream,
    name: LitStr,
    level: Option<Expr>,
    target: Option<Expr>,
    kind: Option<Ident>,
    parent: Option<Expr>,
    fields: Vec<Field>,
}

impl Parse for Named {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let krate = krate(input)?;
        let name = input
            .parse()
            .map_err(|error| Error::new(error.span(), "it begins with its name: `\"load_cart\", user = id`"))?;
        comma(input)?;
        let mut named = Self { krate, name, level: None, target: None, kind: None, parent: None, fields: Vec::new() };
        loop {
            if option(input, "level") {
                named.level = Some(value_of_option(input)?);
            } else if option(input, "target") {
                named.target = Some(value_of_option(input)?);
            } else if option(input, "parent") {
                named.parent = Some(value_of_option(input)?);
            } else if option(input, "kind") {
                input.call(Ident::parse_any)?;
                input.parse::<Token![:]>()?;
                named.kind = Some(input.parse()?);
                comma(input)?;
            } else {
                break;
            }
        }
        while !input.is_empty() {
            named.fields.push(input.parse()?);
            comma(input)?;
        }
        Ok(named)
    }
}

/// Expands `span!`.
pub(crate) fn span(tokens: TokenStream) -> TokenStream {
    syn::parse2(tokens).and_then(|named| expand_named(&named, true)).unwrap_or_else(as_expression)
}

/// Expands `event!`.
pub(crate) fn event(tokens: TokenStream) -> TokenStream {
    syn::parse2(tokens).and_then(|named| expand_named(&named, false)).unwrap_or_else(as_expression)
}

fn expand_named(named: &Named, is_span: bool) -> Result<TokenStream> {
    let Named { krate, name, fields, .. } = named;
    let private = quote!(#krate::__private);
    let abi = quote!(#private::abi);
    let kind = if is_span {
        let kind = span_kind(named.kind.as_ref())?;
        quote!(#abi::site::SiteKind::Span(#abi::site::SpanKind::#kind))
    } else {
        if let Some(kind) = &named.kind {
            return Err(Error::new(kind.span(), "an event has no kind: its span has one"));
        }
        if let Some(parent) = &named.parent {
            return Err(Error::new(syn::spanned::Spanned::span(parent), "an event belongs to the current span"));
        }
        quote!(#abi::site::SiteKind::Log { is_audit: false })
    };
    let level = named.level.as_ref().map_or_else(|| quote!(#krate::Level::Info), |level| quote!(#level));
    let target = named.target.as_ref().map_or_else(|| quote!(::core::module_path!()), |target| quote!(#target));
    let no_message = Message { text: String::new(), arguments: Vec::new() };
    let arguments = arguments(&private, &no_message, fields);
    let values = values(&private);
    too_many(arguments.len())?;
    let keys = fields.iter().map(|field| &field.key);
    let text = if is_span { name.value() } else { name.value().replace('{', "{{").replace('}', "}}") };
    if text.is_empty() {
        return Err(Error::new(name.span(), "the name is empty: say what is done, such as `load_cart`"));
    }
    let site = site(
        &abi,
        &quote! {
            #abi::site::Site::new(#kind, LEVEL, #target, #text)
                .with_source(::core::file!(), ::core::line!())
                .with_arguments(0, &[#(#keys),*])
        },
    );
    let record = match &named.parent {
        Some(parent) => quote!(#krate::Span::continued(#parent, HASH, LEVEL, &[#(#arguments),*])),
        None if is_span => quote!(#krate::Span::start(HASH, LEVEL, &[#(#arguments),*])),
        None => quote!(#private::event(HASH, LEVEL, &[#(#arguments),*])),
    };
    Ok(quote!({
        const LEVEL: #krate::Level = #level;
        #site
        #values
        #record
    }))
}

/// The variant of a span's kind.
pub(crate) fn span_kind(kind: Option<&Ident>) -> Result<Ident> {
    let Some(kind) = kind else { return Ok(Ident::new("Internal", proc_macro2::Span::call_site())) };
    let variant = match kind.to_string().as_str() {
        "internal" => "Internal",
        "server" => "Server",
        "client" => "Client",
        "producer" => "Producer",
        "consumer" => "Consumer",
        _ => {
            let message = "a span's kind is `internal`, `server`, `client`, `producer` or `consumer`";
            return Err(Error::new(kind.span(), message));
        }
    };
    Ok(Ident::new(variant, kind.span()))
}

/// Errors as an expression, which is what stands where the macro did.
fn as_expression(errors: Error) -> TokenStream {
    let errors = errors.into_compile_error();
    quote!({ #errors })
}
