//! The function of an observable metric.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Expr, Ident, ReturnType, Type, parse_quote};
use wasmetry_abi::name::Problem;

/// The problem of a function, if it is a closure with the wrong parameters.
pub(crate) fn problem(function: &Expr, has_labels: bool) -> Option<Problem> {
    let Expr::Closure(closure) = function else { return None };
    match closure.inputs.len() {
        0 if has_labels => Some(
            "a metric with labels is passed to the function, which sets its series: write `|metric| metric.with(Route::Home).set(7)`",
        ),
        0 | 1 => None,
        _ => Some("the function has too many parameters: write `|| value`, or `|metric| metric.set(value)`"),
    }
}

/// A function `observe_metric` that calls the author's function, in a scope without the macro's own
/// names.
///
/// `ty` is the type of the function's parameter, `value` that of the values.
pub(crate) fn setter(
    function: &Expr,
    has_labels: bool,
    private: &TokenStream,
    ty: &TokenStream,
    value: &TokenStream,
) -> TokenStream {
    // Hygiene hides it from the author's function.
    let metric = Ident::new("metric", Span::mixed_site());
    let takes_metric = match function {
        Expr::Closure(closure) => !closure.inputs.is_empty(),
        _ => has_labels,
    };
    let body = if takes_metric {
        quote!(#private::set_by(#metric, #function))
    } else {
        let call = call(function, value);
        quote! {
            let value: #value = #call;
            #metric.with(()).set(value);
        }
    };
    quote! {
        #[allow(clippy::redundant_closure_call, reason = "it is a function's name as well as a closure")]
        fn observe_metric(#metric: &#ty) {
            #body
        }
    }
}

/// Calls a function that returns the value. A closure gets its return type, so that an error points
/// at the value.
fn call(function: &Expr, value: &TokenStream) -> TokenStream {
    match function {
        Expr::Closure(closure) if matches!(closure.output, ReturnType::Default) => {
            let mut closure = closure.clone();
            let (body, ty): (_, Type) = (&closure.body, parse_quote!(#value));
            closure.body = match &**body {
                block @ Expr::Block(_) => Box::new(block.clone()),
                other => parse_quote!({ #other }),
            };
            closure.output = parse_quote!(-> #ty);
            quote!((#closure)())
        }
        other => {
            let span = other.span().resolved_at(Span::call_site());
            quote_spanned!(span=> (#other)())
        }
    }
}
