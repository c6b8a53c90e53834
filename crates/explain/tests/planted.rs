//! Causes that were planted among noise are found first, and nothing is found where none was.

use std::time::{Duration, Instant};

use wasmetry_explain::{Attribute, AttributeKind, Comparison, Explainer, Group, Request, Selection, Verdict};

/// SplitMix64: the same sequence everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to 1, without 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn is(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.share() * (high - low)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A number below `bound`; each is half as frequent again as the next one but one.
    fn skewed(&mut self, bound: usize) -> usize {
        let at = (bound as f64 + 1.0).powf(self.share()) - 1.0;
        (at as usize).min(bound - 1)
    }
}

/// The other attributes of a request: 20, of many kinds.
const NOISE: usize = 20;

/// The values of each.
const VALUES: [usize; NOISE] = [2, 2, 3, 3, 4, 4, 5, 6, 8, 10, 12, 16, 30, 200, 2, 2, 2, 2, 2, 2];

/// Returns the attribute with a number and a value.
fn noise(number: usize, value: usize) -> Attribute {
    match number {
        14 | 15 => Attribute::new(AttributeKind::Span, "span", &format!("step {number} {value}")),
        16..NOISE => {
            Attribute::new(AttributeKind::LogSite, &format!("src/noise.rs:{number}"), &format!("branch {value}"))
        }
        _ => {
            let key = format!("noise_{}_total{{label_{number}}}", number % 7);
            Attribute::new(AttributeKind::Label, &key, &format!("value {value}"))
        }
    }
}

const TENANTS: usize = 8;

fn tenant(number: usize) -> Attribute {
    Attribute::new(AttributeKind::Tenant, "tenant", &format!("tenant {number}"))
}

fn version(number: usize) -> Attribute {
    Attribute::new(AttributeKind::Version, "version", &format!("1.{number}"))
}

fn branch() -> Attribute {
    Attribute::new(AttributeKind::LogSite, "src/cart.rs:42", "cart {} has no items")
}

/// The requests that are planted to fail or to be slow.
enum Plant {
    Nothing,
    Slow { label: usize, value: usize },
    Tenant(usize),
    Version,
    Branch,
    Pair { first: (usize, usize), second: (usize, usize) },
}

impl Plant {
    fn attributes(&self) -> Vec<Attribute> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Slow { label, value } => vec![noise(*label, *value)],
            Self::Tenant(number) => vec![tenant(*number)],
            Self::Version => vec![version(1)],
            Self::Branch => vec![branch()],
            Self::Pair { first, second } => vec![noise(first.0, first.1), noise(second.0, second.1)],
        }
    }
}

/// Makes requests with a plant, and compares those that are selected.
fn run(seed: u64, plant: &Plant, is_slow: bool) -> (Comparison, Duration) {
    let mut random = Random(seed);
    let mut explainer = Explainer::new(8 << 20);
    let requests = 1500 + random.below(4000);
    let strength = random.between(0.35, 0.9);
    let (base_failed, base_slow) = (random.between(0.002, 0.02), random.between(0.005, 0.03));
    let new_version = random.between(0.05, 0.4);
    let branch_share = random.between(0.03, 0.25);
    for number in 0..requests {
        let of_tenant = random.skewed(TENANTS);
        let mut values: Vec<usize> = VALUES.iter().map(|bound| random.skewed(*bound)).collect();
        // Some attributes depend on each other: a plan on the tenant, a step on a label.
        values[4] = if random.is(0.8) { of_tenant % 4 } else { values[4] };
        values[14] = if random.is(0.9) { values[0] } else { values[14] };
        values[5] = if random.is(0.7) { values[8] % 4 } else { values[5] };
        let is_new = random.is(new_version);
        let has_branch = random.is(branch_share);
        let is_planted = match plant {
            Plant::Nothing => false,
            Plant::Slow { label, value } => values[*label] == *value,
            Plant::Tenant(number) => of_tenant == *number,
            Plant::Version => is_new,
            Plant::Branch => has_branch,
            Plant::Pair { first, second } => values[first.0] == first.1 && values[second.0] == second.1,
        } && random.is(strength);
        let has_failed = is_planted && !is_slow || random.is(base_failed);
        let was_slow = is_planted && is_slow || random.is(base_slow);
        let group = match (has_failed, was_slow) {
            (true, _) => Group::Failed,
            (false, true) => Group::Slow,
            _ => Group::Normal,
        };
        // In the second half the service is busy, and fewer normal requests are kept.
        let weight = if group == Group::Normal && number > requests / 2 { 4 } else { 1 };
        if weight > 1 && !random.is(1.0 / f64::from(weight)) {
            continue;
        }
        let mut attributes = vec![
            Attribute::new(AttributeKind::Component, "component", "shop"),
            Attribute::new(AttributeKind::Route, "route", ["/cart", "/item", "/search"][random.skewed(3)]),
            Attribute::new(AttributeKind::Method, "method", ["GET", "POST"][random.skewed(2)]),
            Attribute::new(AttributeKind::Status, "status", if has_failed { "500" } else { "200" }),
            tenant(of_tenant),
            version(usize::from(is_new)),
        ];
        attributes.extend(values.iter().enumerate().map(|(number, value)| noise(number, *value)));
        attributes.extend(has_branch.then(branch));
        if has_failed {
            // What a failure leaves behind: it has the largest effect, and is no cause.
            attributes.push(Attribute::new(AttributeKind::Reason, "reason", "unreachable"));
            attributes.push(Attribute::new(AttributeKind::ErrorSite, "src/main.rs:9", "the request failed"));
            attributes.push(Attribute::new(AttributeKind::Outcome, "requests_total{outcome}", "error"));
        } else {
            attributes.push(Attribute::new(AttributeKind::Outcome, "requests_total{outcome}", "ok"));
        }
        let took = Duration::from_millis(if was_slow { 2000 } else { 20 });
        explainer.add_request(Request { group, end: number as u64, took, weight, trace: None }, attributes);
    }
    let selection = Selection { failed: !is_slow, slow: is_slow, ..Selection::default() };
    let start = Instant::now();
    let comparison = explainer.select(&selection).compare();
    (comparison, start.elapsed())
}

/// Returns the value of a noise attribute with a share in a range.
fn common_value(random: &mut Random, label: usize, low: f64, high: f64) -> usize {
    let bound = VALUES[label] as f64 + 1.0;
    let share = |value: usize| ((value as f64 + 2.0).ln() - (value as f64 + 1.0).ln()) / bound.ln();
    let values: Vec<usize> = (0..VALUES[label]).filter(|value| (low..high).contains(&share(*value))).collect();
    values[random.below(values.len())]
}

fn plants() -> Vec<(Plant, bool)> {
    let mut random = Random(7);
    let mut plants = Vec::new();
    for number in 0..10 {
        let label = 2 + number;
        plants.push((Plant::Slow { label, value: common_value(&mut random, label, 0.03, 0.35) }, true));
        plants.push((Plant::Tenant(number % TENANTS), false));
        plants.push((Plant::Version, number % 3 == 0));
        plants.push((Plant::Branch, false));
        // Neither part alone is planted, and they do not depend on each other.
        let (first, second) = (6 + number % 3, 9 + number % 3);
        // Each part is in a twelfth of the requests or more, so that both are in some ten that
        // fail.
        let (first_value, second_value) =
            (common_value(&mut random, first, 0.08, 0.5), common_value(&mut random, second, 0.08, 0.5));
        plants.push((Plant::Pair { first: (first, first_value), second: (second, second_value) }, number % 4 == 0));
    }
    plants
}

#[test]
fn planted_causes_come_first() {
    let plants = plants();
    let (mut found, mut longest) = (0, Duration::ZERO);
    for (seed, (plant, is_slow)) in plants.iter().enumerate() {
        let (comparison, took) = run(1000 + seed as u64, plant, *is_slow);
        longest = longest.max(took);
        let expected = plant.attributes();
        let is_first = comparison.causes.first().is_some_and(|cause| {
            let has =
                |attribute: &Attribute| cause.attributes.contains(attribute) || cause.together_with.contains(attribute);
            expected.iter().all(has) && (expected.len() == 2) != cause.together_with.is_empty()
        });
        found += usize::from(is_first);
        if !is_first {
            println!("seed {seed}: planted {expected:?}, found {:?}", comparison.causes.first().map(|c| &c.text));
        }
    }
    println!("{found} of {} planted causes came first; the longest comparison took {longest:?}", plants.len());
    assert_eq!(plants.len(), 50);
    assert!(found >= 45, "{found} of 50");
}

#[test]
fn nothing_planted_claims_nothing() {
    let (mut silent, mut compared) = (0, 0);
    for seed in 0..200 {
        let (comparison, _) = run(seed, &Plant::Nothing, seed % 2 == 0);
        compared += comparison.compared;
        match comparison.verdict {
            Verdict::Nothing => silent += 1,
            Verdict::Causes => println!("seed {seed}: {}", comparison.text),
            verdict => panic!("seed {seed}: {verdict:?}"),
        }
    }
    println!("nothing was claimed in {silent} of 200 runs, of {} attributes each on average", compared / 200);
    assert!(silent >= 196, "{silent} of 200");
    assert!(compared / 200 > 100, "the comparisons are few");
}

/// The signs of a failure are listed apart, however strong they are.
#[test]
fn signs_are_no_causes() {
    let (comparison, _) = run(3, &Plant::Branch, false);
    assert_eq!(comparison.causes[0].attributes, [branch()]);
    let signs: Vec<_> = comparison.signs.iter().flat_map(|sign| &sign.attributes).map(Attribute::text).collect();
    assert!(signs.contains(&"status 500".to_owned()), "{signs:?}");
    assert!(comparison.causes.iter().all(|cause| !cause.attributes.iter().any(|a| a.kind.is_sign_of_failure())));
}
