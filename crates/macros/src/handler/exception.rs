//! The code of `#[handler]` that records panics and returned errors.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Path;

/// Sets the panic hook, unless the guest has no standard library.
pub(super) fn set_hook(krate: &Path, is_no_std: bool) -> TokenStream {
    if is_no_std { TokenStream::new() } else { quote!(#krate::set_panic_hook!();) }
}

/// Imports the traits that select an error's form by its type.
pub(super) fn traits(private: &TokenStream) -> TokenStream {
    quote! {
        #[allow(unused_imports, reason = "which of them is used depends on the response's type")]
        use #private::{AnyError as _, BoxedError as _, DisplayError as _, Fails as _, SendError as _, Succeeds as _, TypedError as _};
    }
}

/// Records the error in the variable `response`, if it has one. `error_type` is a function that
/// names its type.
pub(super) fn record(private: &TokenStream, error_type: Option<&Path>) -> TokenStream {
    let kind = match error_type {
        Some(function) => {
            quote!(::core::option::Option::Some(::core::convert::AsRef::<str>::as_ref(&#function(error))))
        }
        None => quote!(::core::option::Option::None),
    };
    quote! {
        if let ::core::option::Option::Some(error) = (&&#private::Wrap(&response)).failure() {
            let place = #private::Place {
                target: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
                column: ::core::column!(),
            };
            (&&&&&#private::Wrap(error)).record(place, #kind);
        }
    }
}
