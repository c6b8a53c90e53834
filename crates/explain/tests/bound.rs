//! The bound on the requests that are kept, whatever they have.

use std::time::Duration;

use wasmetry_explain::{Attribute, AttributeKind, Explainer, Group, Request, Selection, Verdict, limits};

fn request(number: u64, group: Group) -> Request {
    Request { group, end: number, took: Duration::from_millis(number), ..Request::default() }
}

#[test]
fn hostile_attributes_keep_the_bound() {
    let limit = 1 << 20;
    let mut explainer = Explainer::new(limit);
    for number in 0..20_000u64 {
        let long = "x".repeat(number as usize % 2000);
        let attribute = |index: u64| {
            Attribute::new(AttributeKind::Label, &format!("m{{l{index}}}"), &format!("{number} {index} {long}"))
        };
        let mut attributes: Vec<Attribute> = (0..number % 400).map(attribute).collect();
        attributes.push(Attribute::new(AttributeKind::Route, "route", &format!("/{}", number % 3000)));
        let group = if number % 3 == 0 { Group::Failed } else { Group::Normal };
        explainer.add_request(request(number, group), attributes);
        assert!(explainer.size() <= limit, "{} bytes after {number}", explainer.size());
    }
    assert!(explainer.removed() > 0 && explainer.cut() > 0);
    assert!(explainer.requests() > 100, "{} requests", explainer.requests());
    let comparison = explainer.select(&Selection::default()).compare();
    assert_ne!(comparison.verdict, Verdict::NoRequests);
}

/// An attribute that no request has any more leaves its place to a new one.
#[test]
fn unused_names_are_forgotten() {
    let mut explainer = Explainer::new(16 << 20);
    let requests = 3 * limits::ATTRIBUTES as u64;
    for number in 0..requests {
        let unique = Attribute::new(AttributeKind::Label, "order{id}", &number.to_string());
        explainer.add_request(request(number, Group::Normal), vec![unique]);
    }
    assert_eq!(explainer.requests(), limits::REQUESTS_PER_ROUTE);
    assert_eq!(explainer.removed(), requests - limits::REQUESTS_PER_ROUTE as u64);
    assert!(explainer.cut() < requests / 4, "{} attributes found no room", explainer.cut());
}

#[test]
fn busy_route_leaves_others_alone() {
    let mut explainer = Explainer::new(256 << 10);
    let route = |name: &str| vec![Attribute::new(AttributeKind::Route, "route", name)];
    for number in 0..20 {
        explainer.add_request(request(number, Group::Failed), route("/quiet"));
    }
    for number in 0..50_000 {
        explainer.add_request(request(number, Group::Normal), route("/busy"));
        explainer.add_request(request(number, Group::Failed), route("/flood"));
    }
    let quiet = Selection { route: Some("/quiet".into()), ..Selection::default() };
    assert_eq!(explainer.select(&quiet).compare().selected.0, 20);
}

/// Durations select whatever the outcome; the others of the same filters are the normal requests.
#[test]
fn durations_select_against_the_rest() {
    let mut explainer = Explainer::new(1 << 20);
    for number in 0..1000u64 {
        let kind = if number >= 900 { "large" } else { "small" };
        let attributes = vec![
            Attribute::new(AttributeKind::Label, "orders_total{kind}", kind),
            Attribute::new(AttributeKind::Component, "component", if number % 2 == 0 { "shop" } else { "other" }),
        ];
        explainer.add_request(request(number, Group::Normal), attributes);
    }
    let selection = Selection {
        component: Some("shop".into()),
        durations: Some((Duration::from_millis(900), Duration::from_secs(9))),
        ..Selection::default()
    };
    let comparison = explainer.select(&selection).compare();
    assert_eq!((comparison.selected.0, comparison.normal.0), (50, 450));
    let cause = &comparison.causes[0];
    // The value of the normal requests is the same attribute, by its lack.
    assert_eq!(cause.attributes.len(), 1);
    assert_eq!(cause.attributes[0].text(), "orders_total{kind=\"large\"}");
    assert_eq!((cause.selected.with, cause.normal.with), (50, 0));
    assert_eq!(
        cause.text,
        "50 of 50 selected requests (100%) have orders_total{kind=\"large\"}; 0 of 450 normal ones (0%)"
    );
    let unknown = Selection { component: Some("none".into()), ..selection };
    assert_eq!(explainer.select(&unknown).compare().verdict, Verdict::NoRequests);
}

/// Attributes that always occur together are one cause.
#[test]
fn inseparable_attributes_are_one_cause() {
    let mut explainer = Explainer::new(1 << 20);
    for number in 0..400u64 {
        let is_failed = number % 10 == 0;
        let item = if is_failed { "unicorn" } else { "apple" };
        let mut attributes = vec![
            Attribute::new(AttributeKind::Label, "orders_total{item}", item),
            Attribute::new(AttributeKind::Label, "shelf_reads_total{shelf}", if is_failed { "9" } else { "1" }),
            Attribute::new(
                AttributeKind::Label,
                "visits_total{client}",
                if number % 7 == 0 { "app" } else { "browser" },
            ),
        ];
        if is_failed {
            attributes.push(Attribute::new(AttributeKind::Span, "span", "restock"));
        }
        explainer.add_request(request(number, if is_failed { Group::Failed } else { Group::Normal }), attributes);
    }
    let comparison = explainer.select(&Selection::default()).compare();
    let [cause] = &comparison.causes[..] else { panic!("{:#?}", comparison.causes) };
    let texts: Vec<String> = cause.attributes.iter().map(Attribute::text).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    for part in ["orders_total{item=\"unicorn\"}", "shelf_reads_total{shelf=\"9\"}", "restock"] {
        assert!(texts.iter().any(|text| text.contains(part)), "{part}: {texts:?}");
    }
    assert_eq!((cause.selected.with, cause.normal.with), (40, 0));
}

/// A time selects whatever the outcome and duration; the other requests of the same filters are the
/// normal ones.
#[test]
fn time_selects_against_the_rest() {
    let mut explainer = Explainer::new(1 << 20);
    for number in 0..1000u64 {
        let is_peak = (400..500).contains(&number);
        let client = if is_peak { "campaign" } else { "browser" };
        let group = if number % 25 == 0 { Group::Failed } else { Group::Normal };
        let status = if group == Group::Failed { "503" } else { "200" };
        let attributes = vec![
            Attribute::new(AttributeKind::Label, "visits_total{client}", client),
            Attribute::new(AttributeKind::Status, "status", status),
        ];
        explainer.add_request(request(number, group), attributes);
    }
    let selection = Selection { from: 400, to: 499, all: true, ..Selection::default() };
    let comparison = explainer.select(&selection).compare();
    assert_eq!((comparison.selected.0, comparison.normal.0), (100, 900));
    assert_eq!(comparison.causes.len(), 1);
    assert_eq!(
        comparison.text,
        "100 of 100 selected requests (100%) have visits_total{client=\"campaign\"}; 0 of 900 normal ones (0%)"
    );
    // Among failed requests of this time, nothing differs.
    let of_outcome = Selection { all: false, ..selection };
    let comparison = explainer.select(&of_outcome).compare();
    assert_eq!((comparison.selected.0, comparison.normal.0, comparison.causes.len()), (4, 96, 0));
}

/// A threshold of slow requests is stronger than the group, and selects failed ones that are slow.
#[test]
fn threshold_selects_slow_requests() {
    let mut explainer = Explainer::new(1 << 20);
    for number in 0..1000u64 {
        let group = match number {
            number if number % 10 == 0 => Group::Failed,
            900.. => Group::Slow,
            _ => Group::Normal,
        };
        let kind = if number >= 600 { "large" } else { "small" };
        explainer.add_request(request(number, group), vec![Attribute::new(AttributeKind::Label, "o{kind}", kind)]);
    }
    let selected = |failed: bool, least: u64| {
        let slow_from = Some(Duration::from_millis(least));
        let selection = Selection { failed, slow_from, ..Selection::default() };
        explainer.select(&selection).compare()
    };
    let slow = selected(false, 600);
    // Failed requests that were not slow are in no group.
    assert_eq!((slow.selected.0, slow.normal.0), (400, 540));
    assert!(slow.text.starts_with("400 of 400 slow requests (100%)"), "{}", slow.text);
    let both = selected(true, 600);
    assert_eq!((both.selected.0, both.normal.0), (460, 540));
    assert!(both.text.contains("failed or slow requests"), "{}", both.text);
    // Those that are slow for the host, and not for this threshold, are normal.
    assert_eq!(selected(false, 950).normal.0, 855);
    let none = Selection { slow: false, ..Selection::default() };
    assert_eq!(explainer.select(&none).compare().selected.0, 100);
}

/// The sentence has the numbers of fingerprints, and the share of all if weights differ.
#[test]
fn weighted_shares_are_named() {
    let mut explainer = Explainer::new(1 << 20);
    for number in 0..400u64 {
        // Of the normal requests a quarter is kept once the service is busy.
        let is_busy = number >= 200;
        let group = if number % 4 == 0 { Group::Failed } else { Group::Normal };
        let weight = if is_busy && group == Group::Normal { 4 } else { 1 };
        let kind = if group == Group::Failed || is_busy && number % 3 == 0 { "large" } else { "small" };
        let attributes = vec![Attribute::new(AttributeKind::Label, "orders_total{kind}", kind)];
        explainer.add_request(Request { weight, ..request(number, group) }, attributes);
    }
    let comparison = explainer.select(&Selection::default()).compare();
    let cause = &comparison.causes[0];
    assert_eq!((cause.selected.with, comparison.selected.0, comparison.normal), (100, 100, (300, 750)));
    // 50 of 300, each of which stands for four requests.
    assert_eq!(cause.normal.with, 50);
    assert!((cause.normal.share - 200.0 / 750.0).abs() < 1e-12);
    assert_eq!(
        cause.text,
        "100 of 100 failed requests (100%) have orders_total{kind=\"large\"}; 50 of 300 normal ones (27% by weight)"
    );
}
