//! Declarations that break a rule or conflict with each other.

use wasmetry_abi::{Descriptor, Kind, LabelShape, LabelSpec};
use wasmetry_host::{Declarations, Identity, Registry};

use crate::image::{Declared, Image, declarations, declare, dropped, samples, shop};

declare!(HITS = Descriptor::new(Kind::CounterU64, "hits_total", "Hits."));
declare!(HITS_ELSEWHERE = Descriptor::new(Kind::CounterU64, "hits_total", "Hits, in other words."));
declare!(HITS_GAUGE = Descriptor::new(Kind::GaugeI64, "hits", "Not the hits."));
declare!(TIME = Descriptor::new(Kind::HistogramF64, "time_seconds", "Time.").with_bounds(&[1.0]));
declare!(TIME_FINER = Descriptor::new(Kind::HistogramF64, "time_seconds", "Time.").with_bounds(&[0.5]));
declare!(TIME_NANOS = Descriptor::new(Kind::HistogramNanos, "time_seconds", "Time.").with_bounds(&[1.0]));
declare!(
    TIME_UNIT = Descriptor::new(Kind::HistogramF64, "time_seconds", "Time.").with_unit("seconds").with_bounds(&[1.0])
);
const KIND_A: [(&str, &str); 1] = [("kind", "a")];
const KIND_B: [(&str, &str); 1] = [("kind", "b")];
declare!(FAILED_A = Descriptor::new(Kind::CounterU64, "failed_total", "Failed.").with_const_labels(&KIND_A));
declare!(FAILED_B = Descriptor::new(Kind::CounterU64, "failed_total", "Failed.").with_const_labels(&KIND_B));
const KIND_ANY: [LabelSpec<'static>; 1] = [LabelSpec { key: "kind", shape: LabelShape::values(&["b", "c"]) }];
declare!(FAILED_ANY = Descriptor::new(Kind::CounterU64, "failed_total", "Failed.").with_labels(&KIND_ANY));

/// Counts in a region of one counter.
fn count(component: &wasmetry_host::Component, metric: &Declared, value: u64) {
    let (mut image, [entry]) = Image::with(4, [metric]);
    image.set(entry, 0, value);
    image.read_last(component.instance(), 0);
}

#[test]
fn family_orders_components_by_identity() {
    let registry = Registry::new();
    for (identity, value) in [
        (Identity::new("b"), 1),
        (Identity::new("a").with_version("2"), 2),
        (Identity::new("z"), 3),
        (Identity::new("a").with_version("1"), 4),
        (Identity::new("a").with_tenant("acme").with_version("1"), 5),
    ] {
        count(&registry.component(identity, declarations(&[&HITS])), &HITS, value);
    }
    assert_eq!(
        samples(&registry, 0, "hits_total"),
        [
            "hits_total{component=\"a\",version=\"1\"} 4",
            "hits_total{component=\"a\",version=\"2\"} 2",
            "hits_total{component=\"b\"} 1",
            "hits_total{component=\"z\"} 3",
            "hits_total{component=\"a\",version=\"1\",tenant=\"acme\"} 5",
        ]
    );
    assert_eq!(samples(&registry, 0, "# HELP hits_total"), ["# HELP hits_total Hits."]);
}

#[test]
fn first_declaration_of_name_wins() {
    for other in [&HITS_GAUGE, &TIME_FINER, &TIME_UNIT] {
        let registry = Registry::new();
        let first = registry.component(Identity::new("first"), declarations(&[&HITS, &TIME]));
        assert_eq!(first.conflicts(), []);
        let second = registry.component(Identity::new("shop"), declarations(&[other]));
        assert_eq!(second.conflicts().len(), 1, "{other:?}");
        assert_eq!(dropped(&registry), ["type_conflict 1"]);
        let (image, _) = Image::with(8, [other]);
        let mut instance = second.instance();
        image.read(&mut instance, 0);
        image.read(&mut instance, 0);
        assert_eq!(dropped(&registry), ["type_conflict 2"]);
        assert_eq!(samples(&registry, 0, "time_seconds").len(), 4);
    }
    // The number type and the help text may differ.
    let registry = Registry::new();
    registry.component(Identity::new("first"), declarations(&[&HITS, &TIME]));
    let second = registry.component(Identity::new("second"), declarations(&[&HITS_ELSEWHERE, &TIME_NANOS]));
    assert_eq!(second.conflicts(), []);
    assert_eq!(samples(&registry, 0, "time_seconds").len(), 8);
    assert_eq!(samples(&registry, 0, "# HELP hits_total").len(), 1);
}

// The host's names are its own, whoever came first, so that no guest hides a metric of an embedder.
#[test]
fn host_takes_name_from_guests() {
    let (registry, component) = shop(&[&HITS, &TIME]);
    count(&component, &HITS, 5);
    let family = registry.counter("hits_total", "The host's.", &["queue"]);
    assert_eq!(family.rejected(), None);
    family.with(&["mail"]).inc();
    assert_eq!(samples(&registry, 0, "hits_total"), ["hits_total{queue=\"mail\"} 1"]);
    assert_eq!(dropped(&registry), ["type_conflict 1"]);
    assert_eq!(component.conflicts()[0].name, "hits_total");
    assert!(component.conflicts()[0].reason.starts_with("the host has it"), "{:?}", component.conflicts());
    // A sample's name is a name too, and the same component again does not get it back.
    registry.gauge("time_seconds_now", "The host's.", &[]).with(&[]).set(1.0);
    let again = registry.component(Identity::new("shop"), declarations(&[&HITS, &TIME]));
    assert_eq!((again.conflicts().len(), samples(&registry, 0, "hits_total").len()), (1, 1));
    assert_eq!(samples(&registry, 0, "time_seconds_count").len(), 1);

    let registry = Registry::new();
    registry.histogram("hits", "The host's.", &[], &[1.0]).with(&[]).observe(0.5);
    let component = registry.component(Identity::new("shop"), declarations(&[&HITS]));
    assert_eq!(component.conflicts()[0].name, "hits_total");
}

#[test]
fn disjoint_declarations_of_name_coexist() {
    let (registry, component) = shop(&[&FAILED_A, &FAILED_B, &HITS, &HITS_ELSEWHERE]);
    count(&component, &FAILED_A, 1);
    count(&component, &FAILED_B, 2);
    count(&component, &HITS, 3);
    count(&component, &HITS_ELSEWHERE, 4);
    assert_eq!(
        samples(&registry, 0, "failed_total"),
        ["failed_total{component=\"shop\",kind=\"a\"} 1", "failed_total{component=\"shop\",kind=\"b\"} 2"]
    );
    assert_eq!(samples(&registry, 0, "hits_total"), ["hits_total{component=\"shop\"} 7"]);

    let clash = Declarations::from_sections([FAILED_B.record, FAILED_ANY.record]);
    assert_eq!(clash.metrics().len(), 1);
    assert_eq!(clash.rejected()[0].name, "failed_total");
}

#[test]
fn same_identity_has_same_totals() {
    let (registry, first) = shop(&[&HITS]);
    let again = registry.component(Identity::new("shop"), declarations(&[&HITS]));
    count(&first, &HITS, 1);
    count(&again, &HITS, 2);
    let newer = registry.component(Identity::new("shop"), declarations(&[&HITS_ELSEWHERE, &FAILED_ANY]));
    count(&newer, &HITS_ELSEWHERE, 4);
    assert_eq!(samples(&registry, 0, "hits_total"), ["hits_total{component=\"shop\"} 7"]);
    let other = registry.component(Identity::new("shop"), declarations(&[&FAILED_A, &FAILED_B]));
    assert_eq!(other.conflicts().len(), 1);
    assert_eq!(samples(&registry, 0, "failed_total").len(), 3);
}

const FORGED: [LabelSpec<'static>; 3] = [
    LabelSpec { key: "component", shape: LabelShape::values(&["mine"]) },
    LabelSpec { key: "tenant", shape: LabelShape::values(&["other"]) },
    LabelSpec { key: "exported_component", shape: LabelShape::values(&["x"]) },
];
declare!(FORGER = Descriptor::new(Kind::CounterU64, "forged_total", "Forged.").with_labels(&FORGED));

#[test]
fn guest_cannot_forge_identity() {
    let (registry, _component) = shop(&[&FORGER]);
    assert_eq!(
        samples(&registry, 0, "forged_total"),
        [concat!(
            "forged_total{component=\"shop\",exported_exported_component=\"mine\",",
            "exported_tenant=\"other\",exported_component=\"x\"} 0"
        )]
    );
}

const TWICE: [LabelSpec<'static>; 2] =
    [LabelSpec { key: "a", shape: LabelShape::Below(1) }, LabelSpec { key: "a", shape: LabelShape::Below(2) }];
const DOUBLE: [LabelSpec<'static>; 1] = [LabelSpec { key: "a", shape: LabelShape::values(&["x", "y", "x"]) }];
const EMPTY: [LabelSpec<'static>; 1] = [LabelSpec { key: "a", shape: LabelShape::values(&[]) }];
const HUGE: [LabelSpec<'static>; 1] = [LabelSpec { key: "a", shape: LabelShape::Below(u32::MAX) }];
const VAST: [LabelSpec<'static>; 1] =
    [LabelSpec { key: "a", shape: LabelShape::Text { capacity: u32::MAX, max_len: u32::MAX - 3 } }];
const MANY: [LabelSpec<'static>; 40] = [LabelSpec { key: "a", shape: LabelShape::Below(u32::MAX) }; 40];
const LE: [LabelSpec<'static>; 1] = [LabelSpec { key: "le", shape: LabelShape::Below(1) }];
declare!(LABEL_TWICE = Descriptor::new(Kind::CounterU64, "x_total", "").with_labels(&TWICE));
declare!(VALUE_TWICE = Descriptor::new(Kind::CounterU64, "x_total", "").with_labels(&DOUBLE));
declare!(NO_VALUES = Descriptor::new(Kind::CounterU64, "x_total", "").with_labels(&EMPTY));
declare!(TOO_MANY_SERIES = Descriptor::new(Kind::CounterU64, "x_total", "").with_labels(&HUGE));
declare!(TOO_LONG_TEXTS = Descriptor::new(Kind::CounterU64, "x_total", "").with_labels(&VAST));
declare!(TOO_MANY_LABELS = Descriptor::new(Kind::CounterU64, "x_total", "").with_labels(&MANY));
declare!(BUCKET_LABEL = Descriptor::new(Kind::HistogramF64, "x", "").with_labels(&LE).with_bounds(&[1.0]));
declare!(NO_BUCKETS = Descriptor::new(Kind::HistogramF64, "x", ""));
declare!(FALLING = Descriptor::new(Kind::HistogramF64, "x", "").with_bounds(&[2.0, 1.0]));
declare!(BUCKETS_OF_NONE = Descriptor::new(Kind::CounterU64, "x_total", "").with_bounds(&[1.0]));
declare!(RESERVED = Descriptor::new(Kind::CounterU64, "wasmetry_dropped_total", "Forged."));
declare!(NO_TOTAL = Descriptor::new(Kind::CounterU64, "x", ""));
declare!(BAD_NAME = Descriptor::new(Kind::GaugeI64, "a b", ""));
declare!(BAD_UNIT = Descriptor::new(Kind::GaugeI64, "wait_ms", "").with_unit("ms"));

#[test]
fn host_checks_each_rule() {
    for bad in [
        &LABEL_TWICE,
        &VALUE_TWICE,
        &NO_VALUES,
        &TOO_MANY_SERIES,
        &TOO_LONG_TEXTS,
        &TOO_MANY_LABELS,
        &BUCKET_LABEL,
        &NO_BUCKETS,
        &FALLING,
        &BUCKETS_OF_NONE,
        &RESERVED,
        &NO_TOTAL,
        &BAD_NAME,
        &BAD_UNIT,
    ] {
        let found = Declarations::from_sections([bad.record, HITS.record]);
        assert_eq!(found.metrics().len(), 1, "{bad:?}");
        assert_eq!(found.rejected().len(), 1, "{bad:?}");
        assert_eq!(found.rejected()[0].name, bad.descriptor.name);
        assert!(!found.rejected()[0].reason.is_empty());
    }
}

#[test]
fn nested_modules_are_searched() {
    fn section(id: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![id];
        let mut len = payload.len();
        while len >= 0x80 {
            bytes.push(len as u8 | 0x80);
            len >>= 7;
        }
        bytes.push(len as u8);
        bytes.extend_from_slice(payload);
        bytes
    }
    fn custom(name: &str, data: &[u8]) -> Vec<u8> {
        section(0, &[&[name.len() as u8], name.as_bytes(), data].concat())
    }
    let module = |sections: &[Vec<u8>]| [b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat();
    let component = |sections: &[Vec<u8>]| [b"\0asm\x0d\0\x01\0".to_vec(), sections.concat()].concat();

    let core = module(&[custom("wasmetry.v1", HITS.record), custom("wasmetry.v2", b"whatever"), custom("name", b"")]);
    let inner = component(&[section(1, &core), custom("wasmetry.v1", TIME.record)]);
    let outer = component(&[section(4, &inner), custom("wasmetry.v1", HITS.record)]);
    let found = Declarations::from_wasm(&outer).unwrap();
    assert_eq!(
        found.metrics().iter().map(|metric| metric.name.as_str()).collect::<Vec<_>>(),
        ["hits_total", "time_seconds"]
    );
    assert_eq!(found.rejected().len(), 1);
    assert!(found.rejected()[0].reason.contains("wasmetry.v2"));
    assert!(!found.uses_wasmetry());

    // A function type, and a function of this type that is imported from our package.
    let import = b"\x01\x1bwasmetry:telemetry/region@1\x04open\x00\x00";
    let importer = module(&[section(1, b"\x01\x60\x00\x00"), section(2, import)]);
    assert!(Declarations::from_wasm(&importer).unwrap().uses_wasmetry());

    for (bytes, expected) in [(&b"#!/bin/sh"[..], "not WebAssembly"), (&outer[..40], "offset")] {
        let error = Declarations::from_wasm(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for end in 0..outer.len() {
        let _ = Declarations::from_wasm(&outer[..end]);
    }
}

// Prometheus drops a whole scrape with a label `__name__`. A name of one letter is valid.
#[test]
fn host_metrics_follow_guest_rules() {
    let registry = Registry::new();
    for name in ["x_total", "wasm_x_total"] {
        let family = registry.counter(name, "Counted.", &["kind"]);
        assert_eq!(family.rejected(), None);
        family.with(&["a"]).inc();
        assert_eq!(samples(&registry, 0, name), [format!("{name}{{kind=\"a\"}} 1")]);
    }
    registry.gauge("app_build_info", "The build.", &["version"]).with(&["1"]).set(1.0);
    assert_eq!(samples(&registry, 0, "app_build_info").len(), 1);

    let long = "x".repeat(5000);
    let keys: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    let many: Vec<&str> = keys.iter().map(String::as_str).collect();
    let refused = [
        registry.counter("a_total", "A.", &["__name__"]).rejected().cloned(),
        registry.counter("b_total", "B.", &["le"]).rejected().cloned(),
        registry.counter("c_total", "C.", &["Kind"]).rejected().cloned(),
        registry.counter("d_total", "D.", &["k", "k"]).rejected().cloned(),
        registry.counter("e_total", "E.", &["job"]).rejected().cloned(),
        registry.counter("f__total", "F.", &[]).rejected().cloned(),
        registry.counter("g", "G.", &[]).rejected().cloned(),
        registry.counter("h_total", &long, &[]).rejected().cloned(),
        registry.counter("i_total", "I.", &many).rejected().cloned(),
        registry.float_counter("j_total_total", "J.", &[]).rejected().cloned(),
        registry.gauge("k_bucket", "K.", &[]).rejected().cloned(),
        registry.gauge("Level", "L.", &[]).rejected().cloned(),
        registry.histogram("m_sum", "M.", &[], &[1.0]).rejected().cloned(),
        registry.histogram("n", "N.", &[], &[2.0, 1.0]).rejected().cloned(),
    ];
    assert!(refused.iter().all(Option::is_some), "{refused:?}");
    let counted = samples(&registry, 0, "wasmetry_dropped_total{signal=\"metrics\",reason=\"invalid_declaration\"}");
    assert_eq!(counted, ["wasmetry_dropped_total{signal=\"metrics\",reason=\"invalid_declaration\"} 14"]);
    let text = wasmetry_host::encode::prometheus::encode(&registry.snapshot(Default::default()));
    assert!(!text.contains("__"), "{text}");
}

#[test]
fn conflict_names_both_metrics_and_places() {
    let (_registry, component) = shop(&[&HITS, &HITS_GAUGE, &TIME, &FAILED_A]);
    let [conflict] = &component.conflicts()[..] else { panic!("{:?}", component.conflicts()) };
    assert_eq!(
        conflict.to_string(),
        "the declaration of `hits_total` is refused: this component has `hits`, a gauge, and the exposition formats need the \
         name `hits` for it and for `hits_total`; rename one of the two metrics"
    );

    let registry = Registry::new();
    registry.component(Identity::new("first").with_version("2").with_tenant("acme"), declarations(&[&HITS, &TIME]));
    registry.gauge("load", "The host's.", &[]);
    let second = Identity::new("second").with_tenant("acme");
    let second = registry.component(second, declarations(&[&HITS_GAUGE, &TIME_UNIT, &LOAD]));
    let reasons: Vec<String> = second.conflicts().into_iter().map(|conflict| conflict.reason).collect();
    assert_eq!(
        reasons,
        [
            "the component `first` of version `2` of the tenant `acme` has `hits_total`, a counter, and the exposition formats \
             need the name `hits` for it and for `hits` of the component `second` of the tenant `acme`; rename one of the \
             two metrics",
            "the host has it, and metrics of the host and of guests never share a name; rename one of the two metrics",
            "the component `first` of version `2` of the tenant `acme` has it with no unit, and the component `second` \
             of the tenant `acme` has it with the unit `seconds`; \
             declare it in the same way, or rename one of the two metrics",
        ]
    );
}

declare!(LOAD = Descriptor::new(Kind::HistogramF64, "load", "Load.").with_bounds(&[1.0]));
