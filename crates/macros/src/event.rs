//! The expansion of `log!` and the macros of the levels, of `event!` and of `span!`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned as _;
use syn::{Error, Expr, Ident, Lit, LitStr, Result, Token, bracketed};

use crate::message::{Argument, Given, Message};

/// `key = value`, `key = %value`, `key = ?value`, or a variable that is both.
pub(crate) struct Field {
    pub(crate) key: String,
    pub(crate) value: TokenStream,
    pub(crate) mode: Mode,
}

/// The form in which a field's value is recorded.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Typed,
    Display,
    Debug,
}

/// Parses the path of the `wasmetry` crate in brackets, with which each of the macros begins.
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
        let usage = "a log begins with its level: write `log!(Level::Info, \"message\")`, or `info!(\"message\")`";
        if input.is_empty() || input.peek(Lit) {
            return Err(Error::new(input.span(), usage));
        }
        let level = input.parse().map_err(|error| Error::new(error.span(), usage))?;
        comma(input)?;
        let mut log = Self {
            krate,
            level,
            target: None,
            fields: Vec::new(),
            message: Message { text: String::new(), arguments: Vec::new() },
        };
        if option(input).is_some_and(|name| name == "target") {
            log.target = Some(value_of_option(input)?);
        }
        while !input.is_empty() {
            if is_message(input) {
                let literal: LitStr = input.parse()?;
                log.message = Message::parse(&literal, &given(input)?)?;
                break;
            }
            if let Some(name) = option(input) {
                return Err(misplaced(&name, "a log has `target:`, and `audit!` has it already"));
            }
            field(input, &mut log.fields)?;
        }
        Ok(log)
    }
}

/// Returns `true` if a literal follows that is not a field's key.
fn is_message(input: ParseStream<'_>) -> bool {
    input.peek(LitStr) && !input.peek2(Token![=])
}

/// Returns the name of an option if one follows: `name:`, but not a path such as `name::other`.
fn option(input: ParseStream<'_>) -> Option<Ident> {
    let ahead = input.fork();
    let name = ahead.parse::<Ident>().ok()?;
    (ahead.peek(Token![:]) && !ahead.peek(Token![::])).then_some(name)
}

/// The error of an option that is unknown or at the wrong place. `options` describes the known
/// ones.
fn misplaced(name: &Ident, options: &str) -> Error {
    let message = if options.contains(&format!("`{name}:`")) {
        format!("`{name}:` is given once, before the fields: move or remove this one")
    } else {
        format!("unknown option `{name}`: {options}; write a field as `{name} = value`")
    };
    Error::new(name.span(), message)
}

/// Parses a field and the comma behind it. Its key must be new.
pub(crate) fn field(input: ParseStream<'_>, fields: &mut Vec<Field>) -> Result<()> {
    let span = input.span();
    let field: Field = input.parse()?;
    if field.key.is_empty() {
        return Err(Error::new(span, "the key is empty: write the value's name, such as `user`"));
    }
    if fields.iter().any(|other| other.key == field.key) {
        return Err(Error::new(span, format!("there is a field `{}` already: give this one another key", field.key)));
    }
    fields.push(field);
    comma(input)
}

/// Parses an option: its name, the colon, the value, and the comma behind it.
fn value_of_option<T: Parse>(input: ParseStream<'_>) -> Result<T> {
    let name = input.call(Ident::parse_any)?;
    input.parse::<Token![:]>()?;
    let usage = match name.to_string().as_str() {
        "level" => "write `level: Level::Debug`",
        "target" => "write `target: \"shop::cart\"`",
        "parent" => "write `parent: context`, with an `Option<TraceContext>`",
        _ => "write `kind: client`",
    };
    if input.is_empty() {
        return Err(Error::new(name.span(), usage));
    }
    let value = input.parse().map_err(|error| Error::new(error.span(), usage))?;
    comma(input)?;
    Ok(value)
}

/// Parses a comma, unless the input ends here.
fn comma(input: ParseStream<'_>) -> Result<()> {
    if input.is_empty() {
        return Ok(());
    }
    if !input.peek(Token![,]) {
        return Err(input.error("a comma is missing here: write `user = id, ok = true, \"message {}\", argument`"));
    }
    input.parse::<Token![,]>().map(drop)
}

/// Parses the arguments behind a message.
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
        let usage = "this is no field: write `key = value`, `key = %value`, `key = ?value` or a variable's name, and a log's message in quotes";
        if input.peek(LitStr) {
            let key: LitStr = input.parse()?;
            if !input.peek(Token![=]) {
                return Err(Error::new(key.span(), format!("the value is missing: write `{} = value`", quoted(&key))));
            }
            let (mode, value) = value(input, key.span())?;
            return Ok(Self { key: key.value(), value, mode });
        }
        let mode: Mode = input.parse()?;
        let start: Ident = input.call(Ident::parse_any).map_err(|error| Error::new(error.span(), usage))?;
        let mut key = start.unraw().to_string();
        let mut path = quote!(#start);
        while input.peek(Token![.]) {
            let dot: Token![.] = input.parse()?;
            let part: Ident = input.call(Ident::parse_any).map_err(|error| Error::new(error.span(), usage))?;
            key = format!("{key}.{}", part.unraw());
            path.extend(quote!(#dot #part));
        }
        if mode != Mode::Typed || !input.peek(Token![=]) {
            if !input.is_empty() && !input.peek(Token![,]) {
                return Err(Error::new(start.span(), usage));
            }
            return Ok(Self { key, value: path, mode });
        }
        let (mode, value) = value(input, start.span())?;
        Ok(Self { key, value, mode })
    }
}

/// A literal as it is written in the source.
fn quoted(literal: &LitStr) -> String {
    format!("{:?}", literal.value())
}

/// A field's `=` and value. `key` is the key's place.
fn value(input: ParseStream<'_>, key: Span) -> Result<(Mode, TokenStream)> {
    input.parse::<Token![=]>()?;
    let mode = input.parse()?;
    let usage = "the value is missing: write `key = value`, `key = %value` for its `Display` text, or `key = ?value`";
    if input.is_empty() {
        return Err(Error::new(key, usage));
    }
    let value: Expr = input.parse().map_err(|error| Error::new(error.span(), usage))?;
    Ok((mode, value.to_token_stream()))
}

impl Field {
    /// The argument of a record with this field's value.
    pub(crate) fn argument(&self, private: &TokenStream) -> TokenStream {
        let value = &self.value;
        let span = at(value);
        match self.mode {
            Mode::Typed => quote_spanned!(span => (&&#private::Wrap(&(#value))).field()),
            Mode::Display => quote_spanned!(span => #private::Arg::Display(&(#value))),
            Mode::Debug => quote_spanned!(span => #private::Arg::Debug(&(#value))),
        }
    }
}

/// The place of a value, for code at that place which uses the macro's own names.
fn at(value: &TokenStream) -> Span {
    value.span().resolved_at(Span::call_site())
}

/// The arguments of a record: the message's, then the fields'.
fn arguments(private: &TokenStream, message: &Message, fields: &[Field]) -> Vec<TokenStream> {
    let message = message.arguments.iter().map(|argument| match argument {
        Argument::Plain(value) => quote_spanned!(at(value) => (&&#private::Wrap(&(#value))).message()),
        Argument::Formatted(value) => quote!(#private::Arg::Display(&(#value))),
    });
    message.chain(fields.iter().map(|field| field.argument(private))).collect()
}

/// Constants for a site: its record in the custom section, and its `HASH`.
pub(crate) fn site(abi: &TokenStream, site: &TokenStream) -> TokenStream {
    quote! {
        const SITE: #abi::site::Site<'static> = #site;
        // No other constant depends on it, so that a mistake is one error.
        const _: () = SITE.check();
        const RECORD: [u8; SITE.record_len()] = SITE.encode();
        // In the custom section only: the linker does not put it into memory.
        #[cfg(target_family = "wasm")]
        #[allow(dead_code, reason = "it is read in the binary, not by the program")]
        #[unsafe(link_section = "wasmetry.v1")]
        static DECLARATION: [u8; RECORD.len()] = RECORD;
        const HASH: u64 = #abi::hash(&RECORD);
    }
}

/// Imports the traits that select a value's form by its type.
pub(crate) fn values(private: &TokenStream) -> TokenStream {
    quote! {
        #[allow(unused_imports, reason = "which of them is used depends on the values' types")]
        use #private::{ByText as _, ByType as _, Other as _};
    }
}

fn too_many(count: usize) -> Result<()> {
    if count > wasmetry_abi::ring::ARGUMENTS {
        let message =
            format!("a record has at most {} values: remove some, or log twice", wasmetry_abi::ring::ARGUMENTS);
        return Err(Error::new(Span::call_site(), message));
    }
    Ok(())
}

/// Expands `log!`: the crate, the level, then the author's tokens.
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
            #private::log(#private::site(HASH, &RECORD), LEVEL, IS_AUDIT, &[#(#arguments),*]);
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
        let name = input.parse().map_err(|error| {
            Error::new(error.span(), "the name, a text, comes first: write `\"load_cart\", user = id`")
        })?;
        comma(input)?;
        let mut named = Self { krate, name, level: None, target: None, kind: None, parent: None, fields: Vec::new() };
        while let Some(name) = option(input) {
            let is_new = match name.to_string().as_str() {
                "level" => named.level.is_none(),
                "target" => named.target.is_none(),
                "parent" => named.parent.is_none(),
                "kind" => named.kind.is_none(),
                _ => false,
            };
            if !is_new {
                return Err(misplaced(&name, OPTIONS));
            }
            match name.to_string().as_str() {
                "level" => named.level = Some(value_of_option(input)?),
                "target" => named.target = Some(value_of_option(input)?),
                "parent" => named.parent = Some(value_of_option(input)?),
                _ => named.kind = Some(value_of_option(input)?),
            }
        }
        while !input.is_empty() {
            if let Some(name) = option(input) {
                return Err(misplaced(&name, OPTIONS));
            }
            field(input, &mut named.fields)?;
        }
        Ok(named)
    }
}

/// The options behind the name.
const OPTIONS: &str = "a span has `level:`, `target:`, `kind:` and `parent:`, and an event the first two";

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
            return Err(Error::new(kind.span(), "an event has no kind, since its span has one: remove the option"));
        }
        if let Some(parent) = &named.parent {
            let message = "an event has no parent, since it belongs to the current span: remove the option";
            return Err(Error::new(parent.span(), message));
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
        return Err(Error::new(name.span(), "the name is empty: write the operation's name, such as `load_cart`"));
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
        Some(parent) => {
            quote!(#krate::Span::continued(#parent, #private::site(HASH, &RECORD), LEVEL, &[#(#arguments),*]))
        }
        None if is_span => quote!(#krate::Span::start(#private::site(HASH, &RECORD), LEVEL, &[#(#arguments),*])),
        None => quote!(#private::event(#private::site(HASH, &RECORD), LEVEL, &[#(#arguments),*])),
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
    let Some(kind) = kind else { return Ok(Ident::new("Internal", Span::call_site())) };
    let variant = match kind.to_string().as_str() {
        "internal" => "Internal",
        "server" => "Server",
        "client" => "Client",
        "producer" => "Producer",
        "consumer" => "Consumer",
        _ => {
            let message = "unknown kind: write `internal`, `server`, `client`, `producer` or `consumer`";
            return Err(Error::new(kind.span(), message));
        }
    };
    Ok(Ident::new(variant, kind.span()))
}

/// Errors as one expression, in the place of the macro.
fn as_expression(errors: Error) -> TokenStream {
    let errors = errors.into_compile_error();
    quote!({ #errors })
}
