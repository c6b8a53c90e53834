//! The expansion of the metrics' macros.

mod naming;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::parse::{ParseStream, Parser as _};
use syn::spanned::Spanned as _;
use syn::{Error, Ident, LitInt, Result};
use wasmetry_abi::name::{self, Problem};
use wasmetry_abi::{Kind, exponential, limits};

use crate::declaration::{Declaration, LabelSource};
use crate::foreign::Usage;
use crate::{label, namesake, observe};

/// The macro that is expanded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Type {
    Counter,
    ObservableCounter,
    UpDownCounter,
    Gauge,
    ObservableGauge,
    Histogram,
    ExponentialHistogram,
    Info,
}

impl Type {
    const fn is_counter(self) -> bool {
        matches!(self, Self::Counter | Self::ObservableCounter)
    }

    const fn is_gauge(self) -> bool {
        matches!(self, Self::Gauge | Self::ObservableGauge)
    }

    const fn is_observable(self) -> bool {
        matches!(self, Self::ObservableCounter | Self::ObservableGauge)
    }

    /// The macro, and an example of its parameters.
    const fn usage(self) -> Usage {
        let (macro_name, name, help, option) = match self {
            Self::Counter => ("counter", "http_requests_total", "HTTP requests.", ""),
            Self::ObservableCounter => {
                ("observable_counter", "cache_hits_total", "Cache hits.", ", observe: || cache().hits()")
            }
            Self::UpDownCounter => ("up_down_counter", "jobs_queued", "Queued jobs.", ""),
            Self::Gauge => ("gauge", "queue_depth", "Queued jobs.", ""),
            Self::ObservableGauge => {
                ("observable_gauge", "pool_connections", "Open connections.", ", observe: || pool().len() as f64")
            }
            Self::Histogram => ("histogram", "cart_items", "Cart items.", ", buckets: [1, 5, 20]"),
            Self::ExponentialHistogram => ("exponential_histogram", "cart_items", "Cart items.", ""),
            Self::Info => ("info_metric", "storefront_info", "This build.", ", const_labels: [flavour: \"organic\"]"),
        };
        Usage { macro_name, name, help, option }
    }

    /// The macro's name.
    pub(crate) const fn macro_name(self) -> &'static str {
        self.usage().macro_name
    }

    /// The kind, of which number type it may be.
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Counter | Self::ObservableCounter => Kind::CounterU64,
            Self::UpDownCounter => Kind::UpDownI64,
            Self::Gauge | Self::ObservableGauge => Kind::GaugeF64,
            Self::Histogram => Kind::HistogramF64,
            Self::ExponentialHistogram => Kind::ExponentialF64,
            Self::Info => Kind::Info,
        }
    }

    /// The number type without the option `value`.
    pub(crate) const fn default_value(self) -> &'static str {
        match self {
            Self::Counter | Self::ObservableCounter => "u64",
            Self::UpDownCounter => "i64",
            _ => "f64",
        }
    }
}

/// The buckets of a histogram that names none: those of Prometheus' client libraries.
const DEFAULT_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The types that are recognised by name. The compiler checks all others.
const PRIMITIVES: [&str; 17] = [
    "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32", "f64", "bool",
    "char", "String",
];

/// Expands a metric macro, or returns its mistakes as compile errors.
pub(crate) fn expand(ty: Type, tokens: TokenStream) -> TokenStream {
    let parser = |input: ParseStream<'_>| Declaration::parse(input, ty.usage());
    parser
        .parse2(tokens)
        .and_then(|declaration| {
            check(ty, &declaration)?;
            namesake::check(ty, &declaration)?;
            Ok(storage(ty, &declaration))
        })
        .unwrap_or_else(|errors| {
            // Several errors are several statements, but the macro stands in the place of one
            // expression.
            let errors = errors.into_compile_error();
            quote!({ #errors })
        })
}

/// Checks everything that needs no types, and reports all problems at once.
fn check(ty: Type, declaration: &Declaration) -> Result<()> {
    let mut errors = Vec::new();
    let metric = declaration.name.value();
    if let Err(problem) = naming::check(ty, &metric) {
        let better = naming::better(ty, &metric).map(|better| format!(": write `{better}`")).unwrap_or_default();
        errors.push(Error::new(declaration.name.span(), format!("`{metric}`: {problem}{better}")));
    }
    if let Some(unit) = &declaration.unit
        && let Err(problem) = name::unit(&unit.to_string(), &metric)
    {
        let better = naming::with_unit(ty, &metric, &unit.to_string());
        let better = better.map(|better| format!(": write `{better}`")).unwrap_or_default();
        errors.push(Error::new(unit.span(), format!("`{unit}`: {problem}{better}")));
    }
    let mut report = |span, what: &str, found: Problem| errors.push(Error::new(span, format!("`{what}`: {found}")));
    if declaration.help.value().trim().is_empty() {
        report(declaration.help.span(), &metric, "the help text is empty: describe the metric in a sentence");
    }
    let labels = declaration.labels.listed();
    for (i, label) in labels.iter().enumerate() {
        let key = label.key.to_string();
        if let Err(problem) = name::label(&key) {
            report(label.key.span(), &key, problem);
        }
        if labels[..i].iter().any(|other| other.key == label.key) {
            report(label.key.span(), &key, "the metric has this label already: remove one of them");
        }
        if let Some(problem) = label::type_problem(&label.ty) {
            report(label.ty.span(), &label.ty.to_token_stream().to_string(), problem);
        }
    }
    let len = declaration.help.value().len();
    if len > limits::HELP {
        errors.push(Error::new(
            declaration.help.span(),
            format!("`{metric}`: the help text has {len} bytes, and a host takes {}: write a sentence", limits::HELP),
        ));
    }
    let len = labels.len() + declaration.const_labels.len();
    if len > limits::LABELS {
        errors.push(Error::new(
            declaration.name.span(),
            format!("`{metric}`: the metric has {len} labels, and a host takes {}: remove some", limits::LABELS),
        ));
    }
    let mut report = |span, what: &str, found: Problem| errors.push(Error::new(span, format!("`{what}`: {found}")));
    for (i, label) in declaration.const_labels.iter().enumerate() {
        let key = label.key.to_string();
        if let Err(problem) = name::label(&key) {
            report(label.key.span(), &key, problem);
        }
        let is_label = labels.iter().any(|other| other.key == label.key);
        if is_label || declaration.const_labels[..i].iter().any(|other| other.key == label.key) {
            report(label.key.span(), &key, "the metric has this label already: remove one of them");
        }
    }
    if ty == Type::Info && !declaration.labels.is_empty() {
        report(declaration.labels_span, "labels", "an info metric has `const_labels`, whose values are constants");
    }
    if let Some(seventh) = labels.get(6) {
        report(seventh.key.span(), &metric, "a metric has at most six labels: remove some");
    }
    if let Some(buckets) = &declaration.buckets {
        if ty == Type::ExponentialHistogram {
            report(
                buckets.span,
                "buckets",
                "the buckets follow from the values: remove the option, or use `histogram!`",
            );
        } else if ty != Type::Histogram {
            report(buckets.span, "buckets", "only a histogram has buckets: use `histogram!`");
        } else if let Err(problem) = name::buckets(buckets.bounds.iter().copied()) {
            report(buckets.span, "buckets", problem);
        } else if is_duration(declaration) && buckets.bounds.iter().any(|bound| *bound < 0.0) {
            report(buckets.span, "buckets", "a duration is never negative: remove the negative bounds");
        } else if is_duration(declaration) && !are_different_nanos(&buckets.bounds) {
            report(
                buckets.span,
                "buckets",
                "two bounds are the same in nanoseconds, in which durations are kept: remove one",
            );
        }
    }
    if let Some(number) = &declaration.max_buckets {
        if ty != Type::ExponentialHistogram {
            report(number.span(), "max_buckets", "only an exponential histogram has it: use `exponential_histogram!`");
        } else if let Err(problem) = name::max_buckets(requested_buckets(number)) {
            report(number.span(), "max_buckets", problem);
        }
    }
    if let Some(merge) = &declaration.merge {
        if !ty.is_gauge() {
            report(
                merge.span(),
                "merge",
                "only a gauge has a merge rule, since counters and histograms are added up: remove the option",
            );
        } else if merge_rule(merge).is_none() {
            report(merge.span(), &merge.to_string(), "a merge rule is `sum`, `max`, `min` or `last`");
        }
    }
    if let Some(value) = &declaration.value
        && let Some(problem) = value_problem(ty, value)
    {
        report(value.span(), "value", problem);
    }
    match &declaration.observe {
        Some(function) if ty.is_observable() => {
            if let Some(problem) = observe::problem(function, !declaration.labels.is_empty()) {
                report(function.span(), "observe", problem);
            }
        }
        Some(function) if ty.is_counter() => {
            report(function.span(), "observe", "a counter that a function sets is made by `observable_counter!`");
        }
        Some(function) if ty.is_gauge() => {
            report(function.span(), "observe", "a gauge that a function sets is made by `observable_gauge!`");
        }
        Some(function) => {
            report(function.span(), "observe", "only gauges and counters are observed: remove the option");
        }
        None if ty.is_observable() => {
            let problem =
                "an observable metric has a function that returns its value: write `observe: || pool().len() as f64`";
            report(declaration.name.span(), &metric, problem);
        }
        None => {}
    }

    errors
        .into_iter()
        .reduce(|mut all, error| {
            all.combine(error);
            all
        })
        .map_or(Ok(()), Err)
}

/// Returns `true` if rising bounds in seconds are different numbers of nanoseconds, to which a
/// histogram rounds them.
fn are_different_nanos(bounds: &[f64]) -> bool {
    let nanos: Vec<u64> = bounds.iter().map(|bound| (bound * 1e9 + 0.5) as u64).collect();
    nanos.windows(2).all(|pair| pair[0] < pair[1])
}

/// The number in `max_buckets`; 0 or `u64::MAX` if it is outside of `u64`.
fn requested_buckets(number: &LitInt) -> u64 {
    let beyond = if number.base10_digits().starts_with('-') { 0 } else { u64::MAX };
    number.base10_parse().unwrap_or(beyond)
}

/// The problem of a value's type, as far as its name shows.
fn value_problem(ty: Type, value: &syn::Type) -> Option<Problem> {
    let syn::Type::Path(path) = value else { return Some("the value has a number type: write `u64`, `i64` or `f64`") };
    let name = path.path.get_ident()?.to_string();
    let (allowed, problem) = match ty {
        Type::Counter | Type::ObservableCounter => {
            (["u64", "f64"], "a counter holds `u64` (without this option) or `f64`")
        }
        Type::UpDownCounter => (["i64", "f64"], "an up/down counter holds `i64` (without this option) or `f64`"),
        Type::Gauge | Type::ObservableGauge => (["f64", "i64"], "a gauge holds `f64` (without this option) or `i64`"),
        Type::Histogram | Type::ExponentialHistogram | Type::Info => {
            return Some("only counters and gauges have a value type: remove the option");
        }
    };
    (PRIMITIVES.contains(&name.as_str()) && !allowed.contains(&name.as_str())).then_some(problem)
}

/// A static with the metric's memory, its record in the custom section, and a handle to both.
fn storage(ty: Type, declaration: &Declaration) -> TokenStream {
    let Declaration { krate, name, help, .. } = declaration;
    let private = quote!(#krate::__private);
    let abi = quote!(#private::abi);

    let types: Vec<_> = declaration.labels.listed().iter().map(|label| &label.ty).collect();
    let label_set = match (&declaration.labels, types.as_slice()) {
        (LabelSource::Struct(ty), _) => quote!(#ty),
        (_, [one]) => quote!(#one),
        (_, all) => quote!((#(#all),*)),
    };
    let has_labels = !declaration.labels.is_empty();
    let unit = declaration.unit.as_ref().map(Ident::to_string).unwrap_or_default();
    // The rule of other metrics has no meaning.
    let default_merge = if ty.is_gauge() { quote!(Last) } else { quote!(Sum) };
    let merge = declaration.merge.as_ref().and_then(merge_rule).unwrap_or(default_merge);
    let is_sum = declaration.merge.as_ref().is_some_and(|rule| rule == "sum");
    let merge_type = if is_sum { quote!(Sum) } else { quote!(Set) };
    let value = match &declaration.value {
        Some(value) => quote!(#value),
        None => Ident::new(ty.default_value(), Span::call_site()).to_token_stream(),
    };
    let const_keys = declaration.const_labels.iter().map(|label| label.key.to_string());
    let const_values = declaration.const_labels.iter().map(|label| &label.value);
    let duration = is_duration(declaration);
    let bounds = match (ty, &declaration.buckets) {
        (Type::Histogram, Some(buckets)) => buckets.bounds.clone(),
        (Type::Histogram, None) => DEFAULT_BUCKETS.to_vec(),
        _ => Vec::new(),
    };
    let (number_of_bounds, words) = (bounds.len(), bounds.len() + 2);
    let max_buckets = match (ty, &declaration.max_buckets) {
        (Type::ExponentialHistogram, Some(number)) => number.base10_parse().unwrap_or_default(),
        (Type::ExponentialHistogram, None) => exponential::DEFAULT_BUCKETS,
        _ => 0,
    };

    let kind = match ty {
        Type::Counter | Type::ObservableCounter => quote!(<#value as #krate::CounterValue>::KIND),
        Type::UpDownCounter => quote!(<#value as #krate::GaugeValue>::UP_DOWN_KIND),
        Type::Info => quote!(#abi::Kind::Info),
        Type::Gauge | Type::ObservableGauge => quote!(<#value as #krate::GaugeValue>::KIND),
        Type::Histogram if duration => quote!(#abi::Kind::HistogramNanos),
        Type::Histogram => quote!(#abi::Kind::HistogramF64),
        Type::ExponentialHistogram if duration => quote!(#abi::Kind::ExponentialNanos),
        Type::ExponentialHistogram => quote!(#abi::Kind::ExponentialF64),
    };
    let cell = match ty {
        Type::Counter | Type::ObservableCounter | Type::UpDownCounter | Type::Info => quote!(#private::AtomicU64),
        Type::Gauge | Type::ObservableGauge => quote!([#private::AtomicU64; 2]),
        Type::Histogram => quote!([#private::AtomicU64; #words]),
        Type::ExponentialHistogram => {
            quote!([#private::AtomicU64; #abi::layout::cell_words(#kind, #max_buckets as usize)])
        }
    };
    let scratch = match ty {
        Type::ExponentialHistogram => {
            quote!([#private::AtomicU64; #abi::layout::scratch_words(#kind, #max_buckets)])
        }
        _ => quote!([#private::AtomicU64; 0]),
    };
    let handle = match ty {
        Type::Counter => quote!(#krate::Counter::<_, #value>::from_storage(&STORAGE, HASH, &RECORD)),
        Type::UpDownCounter => quote!(#krate::UpDownCounter::<_, #value>::from_storage(&STORAGE, HASH, &RECORD)),
        Type::Info => quote!(),
        Type::Gauge => {
            quote!(#krate::Gauge::<_, #value, #krate::#merge_type>::from_storage(&STORAGE, HASH, &RECORD))
        }
        Type::ObservableCounter => quote!({
            static OBSERVER: #private::Observer = #private::Observer::new(|| {
                observe_metric(&#krate::Totals::<_, #value>::from_storage(&STORAGE, HASH, &RECORD));
            });
            #krate::ObservableCounter::<_, #value>::from_storage(&STORAGE, HASH, &RECORD, &OBSERVER)
        }),
        Type::ObservableGauge => quote!({
            static OBSERVER: #private::Observer = #private::Observer::new(|| {
                observe_metric(&#krate::Gauge::<_, #value>::from_storage(&STORAGE, HASH, &RECORD));
            });
            #krate::ObservableGauge::<_, #value>::from_storage(&STORAGE, HASH, &RECORD, &OBSERVER)
        }),
        Type::ExponentialHistogram => quote! {
            #krate::ExponentialHistogram::from_storage(&STORAGE, HASH, &RECORD, #kind, #max_buckets)
        },
        Type::Histogram => {
            let (keys, table) = if duration {
                (quote!(duration_keys), quote!(durations))
            } else {
                (quote!(number_keys), quote!(numbers))
            };
            quote!({
                static KEYS: [u64; #number_of_bounds] = #private::#keys(BOUNDS);
                static TABLE: #private::Bounds = #private::Bounds::#table(&KEYS);
                #krate::Histogram::from_storage(&STORAGE, HASH, &RECORD, &TABLE)
            })
        }
    };

    // The labels' types are named once, so a type that is no label is one error.
    let span = declaration.labels_span.resolved_at(Span::call_site());
    let memory_type = quote_spanned!(span => <#label_set as #private::Labelled>::Storage<#cell, #scratch>);
    let keys = match &declaration.labels {
        LabelSource::Struct(ty) => quote_spanned!(span => <#ty as #private::LabelStruct>::KEYS),
        LabelSource::Listed(labels) => {
            let keys = labels.iter().map(|label| label.key.to_string());
            quote!(&[#(#keys),*])
        }
    };
    let number_of_buckets = if number_of_bounds > 0 { number_of_bounds } else { usize::from(max_buckets) };
    // Its own constant, on which no other depends, so that a mistake is one error.
    let check = quote_spanned!(span => const _: () = DESCRIPTOR.check(SHAPES.len(), #number_of_buckets););
    let (memory, shapes, handle) = match ty {
        // It has no memory, so the program contains nothing of it.
        Type::Info => (quote!(), quote!(&[]), quote!()),
        _ => (
            quote! {
                static STORAGE: #memory_type = #private::Storage::new();
                const HASH: u64 = #abi::hash(&RECORD);
            },
            quote_spanned!(span => <#label_set as #private::Labelled>::SHAPES),
            // In a variable, so that the compiler compares the declared type with this one as a
            // whole.
            quote!(let handle = #handle; handle),
        ),
    };

    let setter = declaration.observe.as_ref().map(|function| {
        let metric = if ty.is_gauge() { quote!(Gauge) } else { quote!(Totals) };
        let metric = quote!(#krate::#metric<#label_set, #value>);
        observe::setter(function, has_labels, &private, &metric, &value)
    });
    let is_observed = ty.is_observable();

    let declared = quote!({
        const BOUNDS: [f64; #number_of_bounds] = [#(#bounds),*];
        #memory
        const SHAPES: &[#abi::LabelShape<'static>] = #shapes;
        const KEYS: &[&str] = #keys;
        const LABELS: [#abi::LabelSpec<'static>; KEYS.len()] = #abi::LabelSpec::list(KEYS, SHAPES);
        const DESCRIPTOR: #abi::Descriptor<'static> = #abi::Descriptor::new(#kind, #name, #help)
            .with_unit(#unit)
            .with_merge(#abi::Merge::#merge)
            .with_labels(&LABELS)
            .with_const_labels(&[#((#const_keys, #const_values)),*])
            .with_bounds(&BOUNDS)
            .with_max_buckets(#max_buckets)
            .with_observed(#is_observed);
        #check
        const RECORD: [u8; DESCRIPTOR.record_len()] = DESCRIPTOR.encode();
        // In the custom section only: the linker does not put it into memory.
        #[cfg(target_family = "wasm")]
        #[allow(dead_code, reason = "it is read in the binary, not by the program")]
        #[unsafe(link_section = "wasmetry.v1")]
        static DECLARATION: [u8; RECORD.len()] = RECORD;
        #handle
    });
    match setter {
        Some(setter) => quote!({ #setter #declared }),
        None => declared,
    }
}

fn is_duration(declaration: &Declaration) -> bool {
    declaration.unit.as_ref().is_some_and(|unit| unit == "seconds")
}

fn merge_rule(rule: &Ident) -> Option<TokenStream> {
    match rule.to_string().as_str() {
        "sum" => Some(quote!(Sum)),
        "max" => Some(quote!(Max)),
        "min" => Some(quote!(Min)),
        "last" => Some(quote!(Last)),
        _ => None,
    }
}
