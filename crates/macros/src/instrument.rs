//! The expansion of `#[instrument]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::meta::ParseNestedMeta;
use syn::parse::{ParseBuffer, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{Error, Expr, FnArg, Ident, ItemFn, LitStr, Pat, Path, Result, Token, Type, parenthesized};

use crate::body;
use crate::event::{self, Field};
use crate::krate;
use crate::option::{self, Usage};

/// The attribute's options.
#[derive(Default)]
struct Options {
    krate: Option<Path>,
    name: Option<LitStr>,
    level: Option<Expr>,
    target: Option<Expr>,
    kind: Option<Ident>,
    skip: Vec<Ident>,
    skip_all: bool,
    /// The option's place.
    err: Option<Span>,
    fields: Vec<Field>,
}

/// Expands the attribute, or returns its mistakes as compile errors.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    wrap(options, item).unwrap_or_else(Error::into_compile_error)
}

impl Options {
    fn parse(tokens: TokenStream) -> Result<Self> {
        let mut options = Self::default();
        option::parse(tokens, "#[wasmetry::instrument]", &OPTIONS, |usage, meta| options.take(usage, meta))?;
        Ok(options)
    }

    fn take(&mut self, usage: Usage, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match usage.name {
            "crate" => self.krate = Some(usage.path(meta)?),
            "name" => self.name = Some(usage.text(meta)?),
            "level" => self.level = Some(usage.value(meta)?),
            "target" => self.target = Some(usage.value(meta)?),
            "kind" => self.kind = Some(usage.value(meta)?),
            "skip" => {
                // `self` is never an attribute, but may be skipped.
                let name = Ident::parse_any;
                let names = list(meta.input)
                    .and_then(|list| Punctuated::<Ident, Token![,]>::parse_terminated_with(&list, name));
                self.skip = names.map_err(|error| usage.error(&error))?.into_iter().collect();
            }
            "fields" => {
                let list = list(meta.input).map_err(|error| usage.error(&error))?;
                while !list.is_empty() {
                    event::field(&list, &mut self.fields)?;
                }
            }
            "skip_all" => self.skip_all = true,
            _ => self.err = Some(meta.path.span()),
        }
        Ok(())
    }
}

const OPTIONS: [Usage; 9] = [
    Usage { name: "name", example: "name = \"load_cart\"" },
    Usage { name: "level", example: "level = Level::Debug" },
    Usage { name: "kind", example: "kind = client" },
    Usage { name: "target", example: "target = \"shop::cart\"" },
    Usage { name: "skip", example: "skip(password)" },
    Usage { name: "skip_all", example: "skip_all" },
    Usage { name: "fields", example: "fields(source = \"web\")" },
    Usage { name: "err", example: "err" },
    Usage { name: "crate", example: "crate = path::of::wasmetry" },
];

/// The contents of the parentheses that follow.
fn list<'a>(input: ParseStream<'a>) -> Result<ParseBuffer<'a>> {
    let list;
    parenthesized!(list in input);
    Ok(list)
}

fn wrap(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(options)?;
    let mut function: ItemFn = syn::parse2(item).map_err(|error| {
        Error::new(error.span(), "`#[wasmetry::instrument]` goes on a function with a body: move it to one")
    })?;
    if let Some(token) = &function.sig.constness {
        return Err(Error::new(
            token.span,
            "a `const fn` has no span, since it may run in the compiler: remove `const`",
        ));
    }
    let krate = options.krate.clone().unwrap_or_else(krate::path);
    let parameters = parameters(&function, &options)?;
    let span = span(&krate, &function, &options, &parameters)?;
    let (signature, block) = (&function.sig, &function.block);
    let private = quote!(#krate::__private);
    let instrument = quote!(#krate::Instrument::instrument);
    // The span is still current when the body ends.
    let with_error = |ty: &Type, result: TokenStream| {
        let Some(err) = options.err else { return result };
        let span = err.resolved_at(Span::call_site());
        // The path gets the place of `err`, so that a function without errors is one error there.
        let there: TokenStream = private
            .clone()
            .into_iter()
            .map(|mut token| {
                token.set_span(span);
                token
            })
            .collect();
        let failure = quote_spanned!(span => {
            if let ::core::option::Option::Some(error) = #there::Fallible::failure(&result) {
                #there::fail(error);
            }
        });
        quote!({
            let result: #ty = #result;
            #failure
            result
        })
    };
    let future = |ty: &Type| match options.err {
        Some(_) => {
            let result = with_error(ty, quote!(future_of_this.await));
            quote!(#instrument(async move #result, span_of_this))
        }
        None => quote!(#instrument(future_of_this, span_of_this)),
    };
    let begin = || {
        let future = body::future(signature, block);
        quote! {
            let span_of_this = #span;
            let future_of_this = #future;
        }
    };
    let block = match body::Result::of(signature) {
        body::Result::Future(ty) => {
            let (begin, future) = (begin(), future(&ty));
            let wait = signature.asyncness.map(|_| quote!(.await));
            quote!({
                #begin
                #future #wait
            })
        }
        body::Result::Boxed(ty, path) => {
            let (begin, future) = (begin(), future(&ty));
            quote!({
                #begin
                #path::pin(#future)
            })
        }
        body::Result::Now if options.err.is_some() => {
            let result = with_error(&body::output(signature), body::called(signature, block));
            quote!({
                let _span_of_this = #span.entered();
                #[allow(clippy::redundant_closure_call, reason = "the body's result is read")]
                #result
            })
        }
        body::Result::Now => {
            let statements = &block.stmts;
            quote!({
                let _span_of_this = #span.entered();
                #(#statements)*
            })
        }
    };
    function.block = syn::parse2(block)?;
    Ok(quote!(#function))
}

/// The parameters that become attributes.
fn parameters(function: &ItemFn, options: &Options) -> Result<Vec<Ident>> {
    let mut names = Vec::new();
    for parameter in &function.sig.inputs {
        if let FnArg::Typed(parameter) = parameter
            && let Pat::Ident(name) = &*parameter.pat
        {
            names.push(name.ident.clone());
        }
    }
    if let Some(unknown) = options.skip.iter().find(|skipped| *skipped != "self" && !names.contains(skipped)) {
        return Err(Error::new(
            unknown.span(),
            format!("the function has no parameter `{unknown}` to skip: remove it"),
        ));
    }
    let is_field = |name: &Ident| options.fields.iter().any(|field| name == &field.key);
    names.retain(|name| {
        !options.skip_all && !options.skip.contains(name) && !name.to_string().starts_with('_') && !is_field(name)
    });
    Ok(names)
}

fn span(krate: &Path, function: &ItemFn, options: &Options, parameters: &[Ident]) -> Result<TokenStream> {
    let private = quote!(#krate::__private);
    let abi = quote!(#private::abi);
    let name = options.name.as_ref().map_or_else(|| function.sig.ident.unraw().to_string(), LitStr::value);
    let kind = event::span_kind(options.kind.as_ref())?;
    let level = options.level.as_ref().map_or_else(|| quote!(#krate::Level::Info), |level| quote!(#level));
    let target = options.target.as_ref().map_or_else(|| quote!(::core::module_path!()), |target| quote!(#target));
    let keys = parameters.iter().map(|name| name.unraw().to_string());
    let keys: Vec<String> = keys.chain(options.fields.iter().map(|field| field.key.clone())).collect();
    if keys.len() > wasmetry_abi::ring::ARGUMENTS {
        let message =
            format!("a span begins with at most {} attributes: `skip` some parameters", wasmetry_abi::ring::ARGUMENTS);
        return Err(Error::new(Span::call_site(), message));
    }
    let values = parameters.iter().map(|name| {
        let span = name.span().resolved_at(Span::call_site());
        quote_spanned!(span => (&&#private::Wrap(&#name)).parameter())
    });
    let traits = event::values(&private);
    let fields = options.fields.iter().map(|field| field.argument(&private));
    let site = event::site(
        &abi,
        &quote! {
            #abi::site::Site::new(#abi::site::SiteKind::Span(#abi::site::SpanKind::#kind), LEVEL, #target, #name)
                .with_source(::core::file!(), ::core::line!())
                .with_arguments(0, &[#(#keys),*])
        },
    );
    Ok(quote!({
        const LEVEL: #krate::Level = #level;
        #site
        #traits
        #krate::Span::start(#private::site(HASH, &RECORD), LEVEL, &[#(#values,)* #(#fields),*])
    }))
}
