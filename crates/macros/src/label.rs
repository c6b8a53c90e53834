//! The expansion of `#[derive(Label)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned as _;
use syn::{Attribute, Data, DeriveInput, Error, Fields, LitStr, Meta, Path, Result, Token, Variant, parse_quote};

use crate::route;

/// The case of values that are made from variants' names.
#[derive(Clone, Copy)]
enum Case {
    Lower,
    Upper,
    Snake,
    ScreamingSnake,
    Kebab,
    Pascal,
}

/// Expands the derive, or returns compile errors if the type cannot be a label.
pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    syn::parse2::<DeriveInput>(tokens).and_then(|input| implement(&input)).unwrap_or_else(Error::into_compile_error)
}

fn implement(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(name.span(), "only an enum can be a label: write one with a variant for each value"));
    };
    if !input.generics.params.is_empty() {
        let message = "a label has no generic parameters, since its values are known at compile time: remove them";
        return Err(Error::new(input.generics.params.span(), message));
    }
    if data.variants.is_empty() {
        return Err(Error::new(name.span(), "a label has at least one value: write a variant for each"));
    }
    let Options { case, krate, is_route } = options(&input.attrs)?;
    let mut values: Vec<String> = Vec::new();
    let mut errors = Vec::new();
    for variant in &data.variants {
        match value(variant, case) {
            Ok(value) if values.contains(&value) => {
                let message = format!("two variants have the value `{value}`: change one by `#[label(\"…\")]`");
                errors.push(Error::new(variant.ident.span(), message));
            }
            Ok(value) => values.push(value),
            Err(error) => errors.push(error),
        }
    }
    let all = errors.into_iter().reduce(|mut all, error| {
        all.combine(error);
        all
    });
    if let Some(errors) = all {
        return Err(errors);
    }
    let count = values.len();
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let routes = if is_route { Some(route::implement(&krate, name, &variants, &values)?) } else { None };
    let positions = 0..count;
    Ok(quote! {
        #routes
        #[automatically_derived]
        impl #krate::Label for #name {
            type Value<'a> = Self;
            type Table = ();
            type Array<C: #krate::__private::Words> = [C; #count];
            const SHAPE: #krate::__private::abi::LabelShape<'static> =
                #krate::__private::abi::LabelShape::values(&[#(#values),*]);
            const POSITIONS: usize = #count;
            const EMPTY_TABLE: () = ();

            #[inline]
            fn position(value: Self, _table: &'static ()) -> usize {
                match value {
                    #(Self::#variants => #positions,)*
                }
            }
        }
    })
}

/// The options of the attribute on the enum.
struct Options {
    case: Case,
    krate: Path,
    /// `true` if the values are routes of requests.
    is_route: bool,
}

/// `#[label(rename_all = "…", route, crate = path)]` on the enum; snake case and `::wasmetry` without it.
fn options(attributes: &[Attribute]) -> Result<Options> {
    let mut options = Options { case: Case::Snake, krate: parse_quote!(::wasmetry), is_route: false };
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("label")) {
        let usage = "write `#[label(rename_all = \"…\")]`, `#[label(route)]` or `#[label(crate = path::of::wasmetry)]`";
        if !matches!(attribute.meta, Meta::List(_)) {
            return Err(Error::new(attribute.span(), usage));
        }
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("crate") {
                let path = meta.value().and_then(|value| value.call(Path::parse_mod_style));
                options.krate = path.map_err(|error| Error::new(error.span(), usage))?;
                return Ok(());
            }
            if meta.path.is_ident("route") {
                options.is_route = true;
                return Ok(());
            }
            if !meta.path.is_ident("rename_all") {
                return Err(meta.error(format!("unknown option: {usage}")));
            }
            let known = "`lowercase`, `UPPERCASE`, `snake_case`, `SCREAMING_SNAKE_CASE`, `kebab-case` or `PascalCase`";
            let text = meta.value().and_then(|value| value.parse::<LitStr>());
            let text = text.map_err(|error| Error::new(error.span(), format!("the case is a text: write {known}")))?;
            options.case = match text.value().as_str() {
                "lowercase" => Case::Lower,
                "UPPERCASE" => Case::Upper,
                "snake_case" => Case::Snake,
                "SCREAMING_SNAKE_CASE" => Case::ScreamingSnake,
                "kebab-case" => Case::Kebab,
                "PascalCase" => Case::Pascal,
                _ => return Err(Error::new(text.span(), format!("unknown case: write {known}"))),
            };
            Ok(())
        })?;
    }
    Ok(options)
}

/// `#[label("value")]` on a variant, or its name in the enum's case.
fn value(variant: &Variant, case: Case) -> Result<String> {
    if !matches!(variant.fields, Fields::Unit) {
        let message = "a label's variant has no fields: remove them, or use `wasmetry::Text<N>` for texts that are known at run time only";
        return Err(Error::new(variant.fields.span(), message));
    }
    let mut explicit = None;
    for attribute in variant.attrs.iter().filter(|attribute| attribute.path().is_ident("label")) {
        if explicit.is_some() {
            return Err(Error::new(attribute.span(), "a variant has one value: remove one `#[label(\"…\")]`"));
        }
        let usage = |span| Error::new(span, "a variant's value is a text: write `#[label(\"not-found\")]`");
        if !matches!(attribute.meta, Meta::List(_)) {
            return Err(usage(attribute.span()));
        }
        let text: LitStr = attribute
            .parse_args_with(|input: syn::parse::ParseStream<'_>| {
                let text = input.parse()?;
                input.parse::<Option<Token![,]>>()?;
                Ok(text)
            })
            .map_err(|error| usage(error.span()))?;
        if text.value().is_empty() {
            let message =
                "an empty value means to Prometheus that the label is absent: write a value, such as \"none\"";
            return Err(Error::new(text.span(), message));
        }
        explicit = Some(text.value());
    }
    let name = variant.ident.to_string();
    let name = name.strip_prefix("r#").unwrap_or(&name);
    Ok(explicit.unwrap_or_else(|| match case {
        Case::Lower => name.to_lowercase(),
        Case::Upper => name.to_uppercase(),
        Case::Snake => words(name, '_'),
        Case::ScreamingSnake => words(name, '_').to_uppercase(),
        Case::Kebab => words(name, '-'),
        Case::Pascal => name.to_owned(),
    }))
}

/// A name in Pascal case as lower-case words.
fn words(name: &str, separator: char) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(separator);
        }
        words.extend(letter.to_lowercase());
    }
    words
}
