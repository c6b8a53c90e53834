//! The expansion of `route!`, of the option `route` of `#[handler]`, and of the option `route` of
//! `#[derive(Label)]`.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned as _;
use syn::{Error, Expr, ExprLit, ItemFn, Lit, LitStr, Path, Result, Token, bracketed};
use wasmetry_abi::name;

use crate::handler;

/// A route as its author wrote it, with the path of the `wasmetry` crate.
struct Route {
    krate: TokenStream,
    template: LitStr,
}

impl Parse for Route {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let path;
        bracketed!(path in input);
        let krate = path.parse()?;
        let usage = "a route is a literal, so that the binary declares it: write `set_route!(\"/users/{id}\")`, or `set_route(…)` with an enum";
        let template = input.parse().map_err(|error: Error| Error::new(error.span(), usage))?;
        input.parse::<Option<Token![,]>>()?;
        if !input.is_empty() {
            let message = "a route is the template, without the values of its parameters: remove what follows it";
            return Err(input.error(message));
        }
        Ok(Self { krate, template })
    }
}

/// Expands `route!`, or returns its mistakes as compile errors.
pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    let expanded = syn::parse2::<Route>(tokens).and_then(|Route { krate, template }| {
        check(&template)?;
        Ok(declared(&krate, &template.value()))
    });
    expanded.unwrap_or_else(|error| {
        let error = error.into_compile_error();
        quote!({ #error })
    })
}

/// Checks a route.
fn check(template: &LitStr) -> Result<()> {
    name::route(&template.value())
        .map_err(|problem| Error::new(template.span(), format!("`{}`: {problem}", template.value())))
}

/// A route that is declared in the binary.
fn declared(krate: &TokenStream, template: &str) -> TokenStream {
    let private = quote!(#krate::__private);
    let declaration = declaration(&private, template);
    quote!({
        #declaration
        #krate::Route::new(HASH)
    })
}

/// The constant `HASH` of a route, and its declaration in the custom section.
fn declaration(private: &TokenStream, template: &str) -> TokenStream {
    let abi = quote!(#private::abi);
    quote! {
        const ROUTE: #abi::route::Route<'static> = #abi::route::Route::new(#template);
        const RECORD: [u8; ROUTE.record_len()] = ROUTE.encode();
        // In the custom section only: the linker does not put it into memory.
        #[cfg(target_family = "wasm")]
        #[allow(dead_code, reason = "it is read in the binary, not by the program")]
        #[unsafe(link_section = "wasmetry.v1")]
        static DECLARATION: [u8; RECORD.len()] = RECORD;
        const HASH: u64 = #abi::hash(&RECORD);
    }
}

/// Implements `AsRoute` for an enum whose variants have these values, and declares them.
pub(crate) fn implement(krate: &Path, name: &Ident, variants: &[&Ident], values: &[String]) -> Result<TokenStream> {
    let mut errors: Option<Error> = None;
    for (variant, value) in variants.iter().zip(values) {
        if let Err(error) = check(&LitStr::new(value, variant.span())) {
            match &mut errors {
                Some(all) => all.combine(error),
                None => errors = Some(error),
            }
        }
    }
    if let Some(errors) = errors {
        return Err(errors);
    }
    let krate = quote!(#krate);
    let routes = values.iter().map(|value| declared(&krate, value));
    Ok(quote! {
        #[automatically_derived]
        impl #krate::AsRoute for #name {
            fn as_route(&self) -> ::core::option::Option<#krate::Route> {
                ::core::option::Option::Some(match self {
                    #(Self::#variants => #routes,)*
                })
            }
        }
    })
}

/// The option `route` of a handler: a literal, or a function of the request.
pub(crate) enum RouteOption {
    Literal(LitStr),
    Function(Box<Expr>),
}

impl RouteOption {
    /// Checks the option's value.
    pub(crate) fn new(value: Expr) -> Result<Self> {
        match value {
            Expr::Lit(ExprLit { lit: Lit::Str(template), .. }) => {
                check(&template)?;
                Ok(Self::Literal(template))
            }
            function @ (Expr::Path(_) | Expr::Closure(_)) => Ok(Self::Function(Box::new(function))),
            other => Err(Error::new(other.span(), "")),
        }
    }

    /// The literal.
    pub(crate) fn literal(&self) -> Option<&LitStr> {
        match self {
            Self::Literal(template) => Some(template),
            Self::Function(_) => None,
        }
    }

    /// Sets the route of the request that a handler's first parameter is.
    pub(crate) fn set(&self, krate: &Path, handler: &ItemFn) -> Result<TokenStream> {
        let route = match self {
            Self::Literal(template) => declared(&quote!(#krate), &template.value()),
            Self::Function(function) => {
                let Some((request, _)) = handler::request_parameter(handler) else {
                    let message = "the function gets the request, which is the handler's first parameter: add it";
                    return Err(Error::new(function.span(), message));
                };
                let span = function.span().resolved_at(proc_macro2::Span::call_site());
                quote_spanned!(span=> #krate::__private::route_of(&#request, #function))
            }
        };
        Ok(quote!(#krate::set_route(#route)))
    }
}
