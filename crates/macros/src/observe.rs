//! The function that sets a metric which is observed.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Expr, Ident, ReturnType, Type, parse_quote};
use wasmetry_abi::name::Problem;

/// What is wrong with a function, as far as it is written out.
pub(crate) fn problem(function: &Expr, has_labels: bool) -> Option<Problem> {
    let Expr::Closure(closure) = function else { return None };
    match closure.inputs.len() {
        0 if has_labels => Some(
            "with labels, the function is given the metric and sets its series: write `|metric| metric.with(Route::Home).set(7)`",
        ),
        0 | 1 => None,
        _ => Some("the function takes nothing and returns the value, or takes the metric that it sets"),
    }
}

/// A function `set_this_metric` that calls the author's, which stands where it sees nothing of the macro's.
///
/// `ty` is the type of what the function is given, `value` that of the values.
pub(crate) fn setter(
    function: &Expr,
    has_labels: bool,
    private: &TokenStream,
    ty: &TokenStream,
    value: &TokenStream,
) -> TokenStream {
    // The author's function does not see it.
    let metric = Ident::new("metric", Span::mixed_site());
    let is_given_the_metric = match function {
        Expr::Closure(closure) => !closure.inputs.is_empty(),
        _ => has_labels,
    };
    let body = if is_given_the_metric {
        quote!(#private::set_by(#metric, #function))
    } else {
        let call = call(function, value);
        quote! {
            let value: #value = #call;
            #metric.with(()).set(value);
        }
    };
    quote! {
        #[allow(clippy::redundant_closure_call, reason = "it may be a function's name as well")]
        fn set_this_metric(#metric: &#ty) {
            #body
        }
    }
}

/// Calls a function that returns the value. A closure is told its type, so that an error points at what it returns.
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
