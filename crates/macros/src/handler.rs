//! The expansion of `#[handler]`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::parse::Parser as _;
use syn::{Error, ItemFn, Path, Result, parse_quote};

/// Expands the attribute, to compile errors where it stands on something else than a function.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    wrap(options, item).unwrap_or_else(Error::into_compile_error)
}

fn wrap(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let krate = krate(options)?;
    let mut function: ItemFn = syn::parse2(item).map_err(|error| {
        let message = "`#[wasmetry::handler]` stands on a function with a body, such as the one that handles requests";
        Error::new(error.span(), message)
    })?;
    if let Some(token) = &function.sig.constness {
        return Err(Error::new(token.span, "a handler is no `const fn`: it runs once for each request"));
    }
    // Dropped at the end, after `return` and `?` too, and in an `async fn` when its future ends.
    function.block.stmts.insert(0, parse_quote! { let _wasmetry_request = #krate::__private::Request::begin(); });
    Ok(quote! { #function })
}

/// `crate = path`, for a crate that has wasmetry under another name.
fn krate(options: TokenStream) -> Result<Path> {
    let mut krate: Option<Path> = None;
    let parser = syn::meta::parser(|meta: ParseNestedMeta<'_>| {
        if !meta.path.is_ident("crate") {
            return Err(meta.error("unknown option: `#[wasmetry::handler]` has `crate = path::of::wasmetry` only"));
        }
        krate = Some(meta.value()?.call(Path::parse_mod_style)?);
        Ok(())
    });
    parser.parse2(options)?;
    Ok(krate.unwrap_or_else(|| {
        let wasmetry = proc_macro2::Ident::new("wasmetry", Span::call_site());
        parse_quote! { ::#wasmetry }
    }))
}
