//! The expansion of `#[handler]`.

mod exception;

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::ext::IdentExt as _;
use syn::{Error, Expr, FnArg, Ident, ItemFn, LitStr, Pat, Path, Result, Type};

use crate::option::{self, Usage};
use crate::route::RouteOption;
use crate::{body, event, krate};

/// The attribute's options.
#[derive(Default)]
struct Options {
    krate: Option<Path>,
    name: Option<LitStr>,
    route: Option<RouteOption>,
    error_type: Option<Path>,
    is_no_std: bool,
}

/// Expands the attribute, or returns compile errors if it is not on a function.
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
                "error_type" => options.error_type = Some(usage.path(meta)?),
                "no_std" => options.is_no_std = true,
                _ => {
                    let value: Expr = usage.value(meta)?;
                    options.route = Some(RouteOption::new(value).map_err(|error| usage.unless_explained(error))?);
                }
            }
            Ok(())
        })?;
        Ok(options)
    }
}

const OPTIONS: [Usage; 5] = [
    Usage { name: "name", example: "name = \"checkout\"" },
    Usage { name: "route", example: "route = \"/cart/{id}\"" },
    Usage { name: "error_type", example: "error_type = path::of::function" },
    Usage { name: "no_std", example: "no_std" },
    Usage { name: "crate", example: "crate = path::of::wasmetry" },
];

fn wrap(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(options)?;
    let mut function: ItemFn = syn::parse2(item).map_err(|error| {
        let message = "`#[wasmetry::handler]` goes on a function with a body: move it to the one that handles requests";
        Error::new(error.span(), message)
    })?;
    if let Some(token) = &function.sig.constness {
        return Err(Error::new(
            token.span,
            "a handler is no `const fn`, since it runs for each request: remove `const`",
        ));
    }
    let krate = options.krate.clone().unwrap_or_else(krate::path);
    let private = quote!(#krate::__private);
    let span = span(&krate, &function, &options)?;
    let traits = quote! {
        #[allow(unused_imports, reason = "which of them is used depends on the request's and the response's type")]
        use #private::{AnyRequest as _, AnyResponse as _, HttpRequest as _, HttpResponse as _};
    };
    let set_hook = exception::set_hook(&krate, options.is_no_std);
    let (error_traits, record_error) =
        (exception::traits(&private), exception::record(&private, options.error_type.as_ref()));
    let (signature, block) = (&function.sig, &function.block);
    let ended = |ty: &Type, result: TokenStream| {
        // Without the crate's feature `http`, no trait is implemented for the type.
        let by_methods = has_name(ty, "Response").then(|| quote!(#private::http_response!(response);));
        quote!({
            let response: #ty = #result;
            (&&&#private::Wrap(&response)).ended();
            #by_methods
            #record_error
            response
        })
    };
    // The request ends last, after the span, also by `return` and `?`. The request of a future ends
    // with the future.
    let future = |ty: &Type| {
        let (future, response) = (body::future(signature, block), ended(ty, quote!(future_of_this.await)));
        quote!({
            #traits
            #error_traits
            #set_hook
            let request_of_this = #private::Request::begin();
            let span_of_this = #span;
            let future_of_this = #future;
            let future_of_this = async move #response;
            let future_of_this = #krate::Instrument::instrument(future_of_this, span_of_this);
            async move {
                let _request_of_this = request_of_this;
                future_of_this.await
            }
        })
    };
    let block = match body::Result::of(signature) {
        body::Result::Future(ty) => {
            let future = future(&ty);
            match signature.asyncness {
                Some(_) => quote!({
                    let future_of_this = #future;
                    future_of_this.await
                }),
                None => future,
            }
        }
        body::Result::Boxed(ty, path) => {
            let future = future(&ty);
            quote!({ #path::pin(#future) })
        }
        body::Result::Now => {
            let response = ended(&body::output(signature), body::called(signature, block));
            quote!({
                #traits
                #error_traits
                #set_hook
                let _request_of_this = #private::Request::begin();
                let _span_of_this = #span.entered();
                #[allow(clippy::redundant_closure_call, clippy::let_unit_value, reason = "the body's result is read")]
                #response
            })
        }
    };
    function.block = syn::parse2(block)?;
    Ok(quote!(#function))
}

/// The default name of the span: the function's, unless a server's attribute has renamed it.
fn name(function: &Ident) -> String {
    let name = function.unraw().to_string();
    if name.starts_with("__") { "handle".to_owned() } else { name }
}

/// Returns `true` if a type is a request of `wasi:http`, of any bindings, by its name.
fn is_wasi_request(ty: &Type) -> bool {
    matches!(ty, Type::Path(ty) if ty.path.segments.last().is_some_and(|last| last.ident == "IncomingRequest"))
}

/// Returns `true` if a type, or one of its parameters, has this name.
fn has_name(ty: &Type, name: &str) -> bool {
    fn is_in(tokens: TokenStream, name: &str) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(ident) => ident == name,
            TokenTree::Group(group) => is_in(group.stream(), name),
            TokenTree::Punct(_) | TokenTree::Literal(_) => false,
        })
    }
    is_in(ty.to_token_stream(), name)
}

/// The function's first parameter with a name, and its type.
pub(crate) fn request_parameter(function: &ItemFn) -> Option<(&Ident, &Type)> {
    function.sig.inputs.iter().find_map(|parameter| match parameter {
        FnArg::Typed(parameter) => match &*parameter.pat {
            Pat::Ident(name) => Some((&name.ident, &*parameter.ty)),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    })
}

/// The caller's span and the method, from the function's first parameter with a name.
fn request(private: &TokenStream, function: &ItemFn) -> TokenStream {
    match request_parameter(function) {
        // The type belongs to the author's bindings, so it implements no trait of ours.
        Some((name, ty)) if is_wasi_request(ty) => quote!((
            #private::wasi_parent(&#name.headers().get("traceparent")),
            #private::wasi_method(&#name.method()),
        )),
        Some((name, ty)) if has_name(ty, "Request") => quote!(#private::http_request!(#name)),
        Some((name, _)) => quote!({
            let request = &&#private::Wrap(&#name);
            (request.parent(), request.method())
        }),
        None => quote!((::core::option::Option::None, "")),
    }
}

/// The request's span, below the caller's, in which the request's route is set.
fn span(krate: &Path, function: &ItemFn, options: &Options) -> Result<TokenStream> {
    let private = quote!(#krate::__private);
    let abi = quote!(#private::abi);
    let name = options.name.as_ref().map_or_else(|| name(&function.sig.ident), LitStr::value);
    let request = request(&private, function);
    let route: Vec<_> = options.route.iter().filter_map(RouteOption::literal).collect();
    let route_key = route.iter().map(|_| "http.route");
    // The method comes last, so that it can be left out if there is no request.
    let keys = route_key.chain(["http.request.method"]);
    let site = event::site(
        &abi,
        &quote! {
            #abi::site::Site::new(#abi::site::SiteKind::Span(#abi::site::SpanKind::Internal), LEVEL, ::core::module_path!(), #name)
                .with_source(::core::file!(), ::core::line!())
                .with_arguments(0, &[#(#keys),*])
        },
    );
    let span = quote!({
        const LEVEL: #krate::Level = #krate::Level::Info;
        #site
        let (parent, method) = #request;
        let method: &str = method;
        let arguments = [#(#private::Arg::Text(#route),)* #private::Arg::Text(method)];
        let arguments = if method.is_empty() { arguments.split_last().map_or(&[][..], |(_, others)| others) } else { &arguments };
        #krate::Span::continued(parent, #private::site(HASH, &RECORD), LEVEL, arguments)
    });
    let Some(route) = &options.route else { return Ok(span) };
    let set_route = route.set(krate, function)?;
    Ok(quote!({
        let span_of_this = #span;
        span_of_this.in_scope(|| #set_route);
        span_of_this
    }))
}
