//! The expansion of `#[derive(Label)]`, and the types that are no labels.

mod fields;

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned as _;
use syn::{Attribute, Data, DeriveInput, Error, Fields, LitStr, Meta, Path, Result, Token, Type, Variant};
use wasmetry_abi::limits;
use wasmetry_abi::name::Problem;

use crate::{krate, route};

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
    let data = match &input.data {
        Data::Enum(data) => data,
        Data::Struct(data) => return fields::implement(input, data, options(&input.attrs)?),
        Data::Union(_) => {
            let message = "a union is no label: write an enum with a variant for each value";
            return Err(Error::new(name.span(), message));
        }
    };
    if !input.generics.params.is_empty() {
        let message = "a label has no generic parameters, since its values are known at compile time: remove them";
        return Err(Error::new(input.generics.params.span(), message));
    }
    if data.variants.is_empty() {
        return Err(Error::new(name.span(), "a label has at least one value: write a variant for each"));
    }
    let Options { case, krate, is_route } = options(&input.attrs)?;
    let (case, krate) = (case.unwrap_or(Case::Snake), krate.unwrap_or_else(krate::path));
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

/// The options of the attribute on the type.
struct Options {
    case: Option<Case>,
    krate: Option<Path>,
    /// `true` if the values are routes of requests.
    is_route: bool,
}

/// `#[label(rename_all = "…", route, crate = path)]` on the type.
fn options(attributes: &[Attribute]) -> Result<Options> {
    let mut options = Options { case: None, krate: None, is_route: false };
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("label")) {
        let usage = "write `#[label(rename_all = \"…\")]`, `#[label(route)]` or `#[label(crate = path::of::wasmetry)]`";
        if !matches!(attribute.meta, Meta::List(_)) {
            return Err(Error::new(attribute.span(), usage));
        }
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("crate") {
                let path = meta.value().and_then(|value| value.call(Path::parse_mod_style));
                options.krate = Some(path.map_err(|error| Error::new(error.span(), usage))?);
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
            options.case = Some(match text.value().as_str() {
                "lowercase" => Case::Lower,
                "UPPERCASE" => Case::Upper,
                "snake_case" => Case::Snake,
                "SCREAMING_SNAKE_CASE" => Case::ScreamingSnake,
                "kebab-case" => Case::Kebab,
                "PascalCase" => Case::Pascal,
                _ => return Err(Error::new(text.span(), format!("unknown case: write {known}"))),
            });
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
        let len = text.value().len();
        if len > limits::LABEL_VALUE {
            let message =
                format!("the value has {len} bytes, and a host takes {}: write a shorter one", limits::LABEL_VALUE);
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

/// The problem of a label's type, if its name shows that it is none. The compiler finds the others.
pub(crate) fn type_problem(ty: &Type) -> Option<Problem> {
    let name = match ty {
        Type::Path(path) => path.path.get_ident()?.to_string(),
        Type::Reference(reference) => match &*reference.elem {
            Type::Path(path) => path.path.get_ident()?.to_string(),
            _ => return None,
        },
        _ => return None,
    };
    match name.as_str() {
        "String" | "str" | "char" => Some(
            "texts without a bound are no label: write `wasmetry::Text<64>` for up to 64 texts, or derive `wasmetry::Label` for an enum",
        ),
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => Some(
            "numbers without a bound are no label: write `wasmetry::Below<N>` for those below N, or `wasmetry::Status` for an HTTP status",
        ),
        "f32" | "f64" => Some(
            "numbers with a fraction are no label: use a histogram for them, or derive `wasmetry::Label` for an enum of ranges",
        ),
        _ => None,
    }
}
