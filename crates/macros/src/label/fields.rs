//! A struct of labels: its fields are the labels of a metric.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{
    DataStruct, DeriveInput, Error, Expr, Field, Fields, GenericParam, Ident, LitStr, Result, Type, parse_quote,
};
use wasmetry_abi::name;

use super::{Options, type_problem};
use crate::krate;

/// The most labels that a metric can have.
const MOST: usize = 6;

/// The implementations of a struct with named fields.
pub(super) fn implement(input: &DeriveInput, data: &DataStruct, options: Options) -> Result<TokenStream> {
    let name = &input.ident;
    if options.case.is_some() {
        let message = "`rename_all` is for an enum's values: write `#[label(\"key\")]` on a field, or rename the field";
        return Err(Error::new(name.span(), message));
    }
    let krate = options.krate.unwrap_or_else(krate::path);
    let Fields::Named(fields) = &data.fields else {
        let message = "a struct of labels has a field for each, whose name is the label's key: write `struct Labels { route: Route }`";
        return Err(Error::new(name.span(), message));
    };
    if fields.named.is_empty() {
        return Err(Error::new(
            name.span(),
            "a struct of labels has at least one field: write `struct Labels { route: Route }`",
        ));
    }
    if let Some(seventh) = fields.named.iter().nth(MOST) {
        return Err(Error::new(seventh.span(), "a metric has at most six labels: remove some fields"));
    }
    let mut lifetimes = 0;
    for parameter in &input.generics.params {
        match parameter {
            GenericParam::Lifetime(_) if lifetimes == 0 => lifetimes = 1,
            other => {
                let message = "a struct of labels has at most one lifetime, for its texts, and no other parameter: remove this one";
                return Err(Error::new(other.span(), message));
            }
        }
    }
    let labels = fields.named.iter().map(|field| Label::of(field, &krate)).collect::<Result<Vec<_>>>()?;

    let private = quote!(#krate::__private);
    let (is_static, is_any) = match lifetimes {
        0 => (quote!(), quote!()),
        _ => (quote!(<'static>), quote!(<'values>)),
    };
    let types = labels.iter().map(|label| &label.ty);
    let names = fields.named.iter().map(|field| &field.ident);
    let (set, values) = match labels.as_slice() {
        [one] => {
            let (ty, name) = (&one.ty, &fields.named[0].ident);
            (quote!(#ty), quote!(values.#name))
        }
        _ => (quote!((#(#types,)*)), quote!((#(values.#names,)*))),
    };
    let keys = labels.iter().map(|label| &label.key);
    // A field that is no label is one error, at its bound; the rest relies on the bounds.
    let bounds: Vec<_> = labels.iter().filter_map(|label| label.bound.as_ref()).collect();
    Ok(quote! {
        #[automatically_derived]
        impl #krate::LabelSet for #name #is_static
        where
            #(#bounds,)*
        {
            type Values<'values> = #name #is_any;
            type Set = #set;
            type Tables = <Self::Set as #krate::LabelSet>::Tables;
            type Cells<C: #private::Words> = <Self::Set as #krate::LabelSet>::Cells<C>;
            const SHAPES: &'static [#private::abi::LabelShape<'static>] = <Self::Set as #krate::LabelSet>::SHAPES;
            const EMPTY_TABLES: Self::Tables = <Self::Set as #krate::LabelSet>::EMPTY_TABLES;

            #[inline]
            fn position(values: Self::Values<'_>, tables: &'static Self::Tables) -> usize {
                <Self::Set as #krate::LabelSet>::position(#values, tables)
            }
        }

        #[automatically_derived]
        impl #private::LabelStruct for #name #is_static
        where
            #(#bounds,)*
        {
            const KEYS: &'static [&'static str] = &[#(#keys),*];
        }
    })
}

/// One field.
struct Label {
    key: String,
    /// The label's type, which is not the field's if the attribute says what it is.
    ty: Type,
    /// The bound on a field's type that is the label's.
    bound: Option<TokenStream>,
}

impl Label {
    fn of(field: &Field, krate: &syn::Path) -> Result<Self> {
        let ident = field.ident.as_ref().map(Ident::unraw);
        let mut key = ident.as_ref().map(Ident::to_string).unwrap_or_default();
        let mut key_span = ident.span();
        let (mut text, mut max_len, mut below) = (None::<Expr>, None::<Expr>, None::<Expr>);
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("label")) {
            if let Ok(other) = attribute.parse_args::<LitStr>() {
                (key, key_span) = (other.value(), other.span());
                continue;
            }
            let usage = "a field has `#[label(\"key\")]`, `#[label(text = 64)]`, `#[label(text = 64, max_len = 128)]` or `#[label(below = 16)]`";
            let parsed = attribute.parse_nested_meta(|meta| {
                let option = match meta.path.get_ident().map(ToString::to_string).as_deref() {
                    Some("text") => &mut text,
                    Some("max_len") => &mut max_len,
                    Some("below") => &mut below,
                    _ => return Err(meta.error("unknown")),
                };
                *option = Some(meta.value()?.parse()?);
                Ok(())
            });
            parsed.map_err(|error| Error::new(error.span(), usage))?;
        }
        name::label(&key).map_err(|problem| Error::new(key_span, format!("`{key}`: {problem}")))?;
        let ty = match (text, max_len, below) {
            (Some(text), None, None) => parse_quote!(#krate::Text<{ #text }>),
            (Some(text), Some(len), None) => parse_quote!(#krate::Text<{ #text }, { #len }>),
            (None, None, Some(below)) => parse_quote!(#krate::Below<{ #below }>),
            (None, None, None) => {
                let (own, span) = (&field.ty, field.ty.span());
                let problem = type_problem(own);
                if problem.is_some() {
                    return Err(Error::new(span, unbounded(own)));
                }
                // The error points at the field.
                let at_field = |mut token: TokenTree| {
                    token.set_span(span.resolved_at(token.span()));
                    token
                };
                let krate: TokenStream = krate.to_token_stream().into_iter().map(at_field).collect();
                let ty = Type::Verbatim(quote_spanned!(span => <#own as #krate::__private::FieldLabel>::Label));
                let bound = quote_spanned!(span => #own: #krate::__private::FieldLabel);
                return Ok(Self { key, ty, bound: Some(bound) });
            }
            _ => return Err(Error::new(field.span(), "a field is one label: remove an option")),
        };
        Ok(Self { key, ty, bound: None })
    }
}

/// The message about a field that has too many values.
fn unbounded(ty: &Type) -> &'static str {
    if is_text(ty) {
        "texts without a bound are no label: write `#[label(text = 64)]` on a field of the type `&'a str`, for up to 64 texts"
    } else {
        "numbers without a bound are no label: write `#[label(below = 16)]` on a field of the type `usize`, or use `wasmetry::Status` for an HTTP status"
    }
}

/// Returns `true` for the types of texts.
fn is_text(ty: &Type) -> bool {
    match ty {
        Type::Reference(_) => true,
        Type::Path(path) => path.path.is_ident("String") || path.path.is_ident("char"),
        _ => false,
    }
}
