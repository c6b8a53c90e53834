//! The expansion of `#[derive(Label)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Fields, LitStr, Result, Token, Variant};

/// How variants' names become values.
#[derive(Clone, Copy)]
enum Case {
    Lower,
    Upper,
    Snake,
    ScreamingSnake,
    Kebab,
    Pascal,
}

/// Expands the derive, to compile errors where the type cannot be a label.
pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    syn::parse2::<DeriveInput>(tokens).and_then(|input| implement(&input)).unwrap_or_else(Error::into_compile_error)
}

fn implement(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(name.span(), "only an enum can be a label: its variants are the label's values"));
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new(name.span(), "a label has no generic parameters"));
    }
    if data.variants.is_empty() {
        return Err(Error::new(name.span(), "a label has at least one variant: its variants are the label's values"));
    }
    let case = case(&input.attrs)?;
    let mut values: Vec<String> = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            let message =
                "a label's variant has no fields: for texts that are not known beforehand use `wasmetry::Text<N>`";
            return Err(Error::new(variant.ident.span(), message));
        }
        let value = value(variant, case)?;
        if values.contains(&value) {
            return Err(Error::new(variant.ident.span(), format!("two variants have the value `{value}`")));
        }
        values.push(value);
    }
    let count = values.len();
    let variants = data.variants.iter().map(|variant| &variant.ident);
    let positions = 0..count;
    Ok(quote! {
        #[automatically_derived]
        impl ::wasmetry::Label for #name {
            type Value<'a> = Self;
            type Table = ();
            type Array<C: ::wasmetry::__private::Words> = [C; #count];
            const SHAPE: ::wasmetry::__private::abi::LabelShape<'static> =
                ::wasmetry::__private::abi::LabelShape::values(&[#(#values),*]);
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

/// `#[label(rename_all = "…")]` on the enum; snake case without it.
fn case(attributes: &[Attribute]) -> Result<Case> {
    let mut case = Case::Snake;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("label")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("rename_all") {
                return Err(meta.error("unknown option: an enum has `#[label(rename_all = \"…\")]`"));
            }
            let text: LitStr = meta.value()?.parse()?;
            case = match text.value().as_str() {
                "lowercase" => Case::Lower,
                "UPPERCASE" => Case::Upper,
                "snake_case" => Case::Snake,
                "SCREAMING_SNAKE_CASE" => Case::ScreamingSnake,
                "kebab-case" => Case::Kebab,
                "PascalCase" => Case::Pascal,
                _ => {
                    let known =
                        "`lowercase`, `UPPERCASE`, `snake_case`, `SCREAMING_SNAKE_CASE`, `kebab-case` or `PascalCase`";
                    return Err(Error::new(text.span(), format!("unknown case: write {known}")));
                }
            };
            Ok(())
        })?;
    }
    Ok(case)
}

/// `#[label("value")]` on a variant, or its name in the enum's case.
fn value(variant: &Variant, case: Case) -> Result<String> {
    let mut explicit = None;
    for attribute in variant.attrs.iter().filter(|attribute| attribute.path().is_ident("label")) {
        let text: LitStr = attribute
            .parse_args_with(|input: syn::parse::ParseStream<'_>| {
                let text = input.parse()?;
                input.parse::<Option<Token![,]>>()?;
                Ok(text)
            })
            .map_err(|error| Error::new(error.span(), "a variant's value is a text: `#[label(\"not-found\")]`"))?;
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
