//! The expansion of `#[handler]`.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::ext::IdentExt as _;
use syn::{Error, FnArg, Ident, ItemFn, LitStr, Pat, Path, Result, ReturnType, Type, parse_quote};

use crate::event;
use crate::option::{self, Usage};

/// What stands between the attribute's parentheses.
#[derive(Default)]
struct Options {
    krate: Option<Path>,
    name: Option<LitStr>,
    route: Option<LitStr>,
}

/// Expands the attribute, to compile errors where it stands on something else than a function.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    wrap(options, item).unwrap_or_else(Error::into_compile_error)
}

impl Options {
    fn parse(tokens: TokenStream) -> Result<Self> {
        let mut options = Self::default();
        option::parse(tokens, "#[wasmetry::handler]", &OPTIONS, |usage, meta| {
            match usage.name {
                "crate" => options.krate = Some(usage.path(meta)?),
                "name" => options.name = Some(usage.text(meta)?),
                _ => options.route = Some(usage.text(meta)?),
            }
            Ok(())
        })?;
        Ok(options)
    }
}

const OPTIONS: [Usage; 3] = [
    Usage { name: "name", example: "name = \"checkout\"" },
    Usage { name: "route", example: "route = \"/cart/{id}\"" },
    Usage { name: "crate", example: "crate = path::of::wasmetry" },
];

fn wrap(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(options)?;
    let mut function: ItemFn = syn::parse2(item).map_err(|error| {
        let message = "`#[wasmetry::handler]` stands on a function with a body, such as the one that handles requests";
        Error::new(error.span(), message)
    })?;
    if let Some(token) = &function.sig.constness {
        return Err(Error::new(token.span, "a handler is no `const fn`: it runs once for each request"));
    }
    let krate = options.krate.clone().unwrap_or_else(|| parse_quote!(::wasmetry));
    let private = quote!(#krate::__private);
    let span = span(&krate, &function, &options);
    let traits = quote! {
        #[allow(unused_imports, reason = "which of them is used depends on the request's and the response's type")]
        use #private::{AnyRequest as _, AnyResponse as _, HttpRequest as _, HttpResponse as _};
    };
    let body = &function.block;
    // It ends last, after the span, and also by `return` and `?`.
    let begin = quote!(let _request_of_this = #private::Request::begin(););
    let ended = |result: TokenStream| {
        quote!({
            let response = #result;
            (&&#private::Wrap(&response)).ended();
            response
        })
    };
    let block = if function.sig.asyncness.is_some() {
        let future = ended(quote!(async move #body.await));
        quote!({
            #traits
            #begin
            let span_of_this = #span;
            #krate::Instrument::instrument(async move #future, span_of_this).await
        })
    } else {
        let result = match &function.sig.output {
            // A closure cannot have the type `impl Trait`, but then it is inferred.
            ReturnType::Type(_, ty) if !matches!(**ty, Type::ImplTrait(_)) => {
                let ty = ty.to_token_stream();
                quote!((move || -> #ty #body)())
            }
            ReturnType::Type(..) => quote!((move || #body)()),
            ReturnType::Default => quote!((move || -> () #body)()),
        };
        let result = ended(result);
        quote!({
            #traits
            #begin
            let _span_of_this = #span.entered();
            #[allow(clippy::redundant_closure_call, clippy::let_unit_value, reason = "what the body returns is looked at")]
            #result
        })
    };
    function.block = syn::parse2(block)?;
    Ok(quote!(#function))
}

/// What a span is called that its author has not named: as the function, unless a server's attribute has renamed that.
fn name(function: &Ident) -> String {
    let name = function.unraw().to_string();
    if name.starts_with("__") { "handle".to_owned() } else { name }
}

/// The request's span: below the one that the request's headers name.
fn span(krate: &Path, function: &ItemFn, options: &Options) -> TokenStream {
    let private = quote!(#krate::__private);
    let abi = quote!(#private::abi);
    let name = options.name.as_ref().map_or_else(|| name(&function.sig.ident), LitStr::value);
    let request = function.sig.inputs.iter().find_map(|parameter| match parameter {
        FnArg::Typed(parameter) => match &*parameter.pat {
            Pat::Ident(name) => Some(name.ident.clone()),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    });
    let request: TokenStream = match request {
        Some(name) => {
            let name: Ident = name;
            quote!(#private::Wrap(&#name))
        }
        None => quote!(#private::Wrap(&())),
    };
    let route = options.route.as_ref().map(LitStr::value).unwrap_or_default();
    let keys = if route.is_empty() { vec!["http.request.method"] } else { vec!["http.request.method", "http.route"] };
    let route = (!route.is_empty()).then(|| quote!(, #private::Arg::Text(#route)));
    let site = event::site(
        &abi,
        &quote! {
            #abi::site::Site::new(#abi::site::SiteKind::Span(#abi::site::SpanKind::Internal), LEVEL, ::core::module_path!(), #name)
                .with_source(::core::file!(), ::core::line!())
                .with_arguments(0, &[#(#keys),*])
        },
    );
    quote!({
        const LEVEL: #krate::Level = #krate::Level::Info;
        #site
        let request = &&#request;
        #krate::Span::continued(request.parent(), #private::site(HASH, &RECORD), LEVEL, &[#private::Arg::Text(request.method()) #route])
    })
}
