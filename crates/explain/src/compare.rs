//! The comparison of two groups: tests, effects, and the ranking of causes.

use std::collections::HashMap;
use std::sync::Arc;

use wasmetry_host::record::TraceId;

use crate::attribute::{Attribute, AttributeId};
use crate::bits::{self, Bits, Places};
use crate::explainer::{Groups, Kept};
use crate::limits;
use crate::selection::Group;
use crate::statistics::{Factorials, Table, tarone};

/// The family-wise error: the probability that anything is claimed when the groups do not differ.
pub const ERROR_LEVEL: f64 = 0.01;

/// The least effect of a cause. A smaller one may be no chance and still explains little.
pub const MIN_EFFECT: f64 = 0.05;

/// The fewest selected requests that are compared.
pub const MIN_SELECTED: usize = 5;

/// The fewest normal requests that are compared.
pub const MIN_NORMAL: usize = 10;

/// The share of requests in which two attributes may differ and still be one cause.
const MAX_DISTANCE: f64 = 0.03;

/// The outcome of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// No request is selected.
    #[default]
    NoRequests,
    /// A group has too few requests.
    TooFew,
    /// No attribute differs by more than chance.
    Nothing,
    /// There are causes.
    Causes,
}

impl Verdict {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRequests => "no_requests",
            Self::TooFew => "too_few",
            Self::Nothing => "nothing",
            Self::Causes => "causes",
        }
    }
}

/// The requests of one group that have a cause.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// The requests that were compared and have it.
    pub with: usize,
    /// The share of all requests that have it, by their weights.
    pub share: f64,
}

/// An attribute, or two of them together, that the selected requests have more often.
#[derive(Clone, Debug)]
pub struct Cause {
    /// The attributes that occur in the same requests, or nearly.
    pub attributes: Vec<Attribute>,
    /// Of a pair, the attributes of the other part. The requests have both parts.
    pub together_with: Vec<Attribute>,
    /// `true` if the requests lack the attributes.
    pub is_absence: bool,
    /// The selected requests.
    pub selected: Count,
    /// The normal requests.
    pub normal: Count,
    /// The difference of the shares, shrunk towards 0 for few requests.
    pub effect: f64,
    /// The information in bits that the cause gives about the group, by which causes are ranked.
    pub information: f64,
    /// The ratio of the shares, shrunk towards 1 for few requests.
    pub ratio: f64,
    /// The p-value, adjusted for all comparisons.
    pub p_value: f64,
    /// Attributes that differ as well, and not among requests that are equal in this cause.
    pub follows: Vec<Attribute>,
    /// Traces of selected requests that have the cause, the newest first.
    pub examples: Vec<TraceId>,
    /// One sentence.
    pub text: String,
}

/// The answer of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// The outcome.
    pub verdict: Verdict,
    /// The selected requests that were compared, and the number that they stand for.
    pub selected: (usize, u64),
    /// The same of the normal requests.
    pub normal: (usize, u64),
    /// The causes, the most informative first.
    pub causes: Vec<Cause>,
    /// The reports of the failure itself: statuses, reasons, and logs of the level `error`.
    pub signs: Vec<Cause>,
    /// The attributes that were compared.
    pub compared: usize,
    /// The answer in one sentence.
    pub text: String,
}

/// An attribute of a class, and `false` if it occurs in all requests outside of the class.
type Member = (Arc<Attribute>, bool);

/// Attributes that occur in the same requests.
#[derive(Debug)]
struct Class {
    bits: Bits,
    /// The attributes.
    members: Vec<Member>,
}

/// A class, or a pair of them, and its numbers.
#[derive(Debug)]
struct Claim {
    parts: (usize, Option<usize>),
    bits: Bits,
    table: Table,
    p_value: f64,
}

impl Groups {
    /// Compares the two groups.
    pub fn compare(&self) -> Comparison {
        let sizes = [0, 1].map(|group: usize| self.requests[group].len());
        let mut comparison =
            Comparison { selected: (sizes[0], self.of[0]), normal: (sizes[1], self.of[1]), ..Comparison::default() };
        comparison.verdict = match sizes {
            [0, _] => Verdict::NoRequests,
            [selected, normal] if selected < MIN_SELECTED || normal < MIN_NORMAL => Verdict::TooFew,
            _ => {
                let comparer = Comparer::new(self);
                let (causes, signs) = comparer.classes();
                comparison.compared = causes.len();
                comparison.causes = comparer.rank(causes);
                // The lack of a good status is the presence of a bad one, which is listed.
                let present = signs.into_iter().filter(|sign| sign.members.iter().any(|(_, is_present)| *is_present));
                comparison.signs = comparer.rank(present.collect());
                if comparison.causes.is_empty() { Verdict::Nothing } else { Verdict::Causes }
            }
        };
        comparison.text = self.answer(&comparison);
        comparison
    }

    /// The selected requests in a sentence: by their outcomes, unless all others are the normal
    /// ones.
    fn selected_name(&self) -> &'static str {
        let is_failed = |kept: &Kept| self.selects_failed && kept.request.group == Group::Failed;
        let has_failed = self.requests[0].iter().any(is_failed);
        let has_slow = self.requests[0].iter().any(|kept| !is_failed(kept));
        match (self.is_against_rest, has_failed, has_slow) {
            (true, ..) => "selected",
            (false, true, false) => "failed",
            (false, false, true) => "slow",
            (false, ..) => "failed or slow",
        }
    }

    fn answer(&self, comparison: &Comparison) -> String {
        let [selected, normal] = [0, 1].map(|group: usize| self.requests[group].len());
        let name = self.selected_name();
        match (comparison.verdict, comparison.causes.first()) {
            (Verdict::NoRequests, _) => format!("no {name} requests"),
            (Verdict::TooFew, _) => format!(
                "too few requests to compare: {selected} {name} ones (at least {MIN_SELECTED}), {normal} normal ones (at \
                 least {MIN_NORMAL})"
            ),
            (_, Some(cause)) => cause.text.clone(),
            (_, None) => format!(
                "nothing in which the {selected} {name} requests differ from the {normal} normal ones by more than \
                 chance"
            ),
        }
    }
}

/// The places of the requests, and the tables that all tests share.
struct Comparer<'a> {
    groups: &'a Groups,
    places: Places,
    factorials: Factorials,
}

impl<'a> Comparer<'a> {
    fn new(groups: &'a Groups) -> Self {
        let weights = [0, 1]
            .map(|group: usize| groups.requests[group].iter().map(|kept| kept.request.weight).collect::<Vec<u32>>());
        let factorials = Factorials::new(weights[0].len() + weights[1].len());
        Self { groups, places: Places::new([&weights[0], &weights[1]]), factorials }
    }

    /// Returns the classes of attributes that may be causes, and of signs.
    fn classes(&self) -> (Vec<Class>, Vec<Class>) {
        let all = self.groups.requests.iter().map(Vec::len).sum::<usize>();
        let mut counts: HashMap<AttributeId, usize> = HashMap::new();
        for id in self.groups.requests.iter().flatten().flat_map(|kept| kept.attributes.iter()) {
            if self.groups.names.contains_key(id) {
                *counts.entry(*id).or_default() += 1;
            }
        }
        // What all or nearly no requests have cannot differ between the groups.
        let mut counts: Vec<(AttributeId, usize)> =
            counts.into_iter().filter(|(_, count)| *count > 2 && *count < all).collect();
        counts.sort_unstable_by_key(|(id, count)| (usize::MAX - (*count).min(all - count), *id));
        counts.truncate(limits::COMPARED);
        let index: HashMap<AttributeId, usize> =
            counts.iter().enumerate().map(|(index, (id, _))| (*id, index)).collect();
        let mut sets = vec![self.places.empty(); counts.len()];
        for (group, requests) in self.groups.requests.iter().enumerate() {
            for (at, kept) in requests.iter().enumerate() {
                for id in kept.attributes.iter() {
                    if let Some(index) = index.get(id) {
                        self.places.insert(&mut sets[*index], group, at);
                    }
                }
            }
        }
        let (mut causes, mut signs) = (Classes::default(), Classes::default());
        for ((id, _), bits) in counts.iter().zip(sets) {
            let attribute = &self.groups.names[id];
            let is_sign = self.groups.is_failure && attribute.kind.is_sign_of_failure();
            let classes = if is_sign { &mut signs } else { &mut causes };
            classes.add(&self.places, bits, attribute);
        }
        (self.directed(causes), self.directed(signs))
    }

    /// Turns each class so that the selected requests have it more often.
    fn directed(&self, classes: Classes) -> Vec<Class> {
        let mut classes = classes.classes;
        for class in &mut classes {
            if self.table(&class.bits, self.places.all()).effect() < 0.0 {
                class.bits = self.places.complement(&class.bits);
                class.members.iter_mut().for_each(|(_, is_present)| *is_present = !*is_present);
            }
            class.members.sort_by(|(a, a_present), (b, b_present)| (!a_present, a).cmp(&(!b_present, b)));
        }
        classes
    }

    /// The requests of each group within a set that are in another one, in effective numbers.
    fn table(&self, bits: &Bits, within: &Bits) -> Table {
        let mut table = Table { with: [0; 2], of: [0; 2] };
        for group in 0..2 {
            let all = self.places.weigh(within, self.places.all(), group);
            if all.requests == 0 {
                continue;
            }
            let with = self.places.weigh(bits, within, group);
            let effective = (all.weight as f64).powi(2) / all.squares;
            let of = (effective.round() as usize).clamp(1, all.requests);
            let share = with.weight as f64 / all.weight as f64;
            table.of[group] = of;
            table.with[group] = (share * of as f64).round() as usize;
        }
        table
    }

    /// Returns the causes, the most informative first.
    fn rank(&self, classes: Vec<Class>) -> Vec<Cause> {
        let all = self.places.all();
        let tables: Vec<Table> = classes.iter().map(|class| self.table(&class.bits, all)).collect();
        let mut claims = self.singles(&classes, &tables);
        claims.extend(self.pairs(&classes, &tables));
        let first = |claim: &Claim| classes[claim.parts.0].members.first().map(|(attribute, _)| Arc::clone(attribute));
        claims.sort_by(|a, b| {
            let by_information = b.table.information().total_cmp(&a.table.information());
            let by_parts = a.parts.1.is_some().cmp(&b.parts.1.is_some());
            by_information.then(a.p_value.total_cmp(&b.p_value)).then(by_parts).then_with(|| first(a).cmp(&first(b)))
        });
        let mut heads: Vec<(Claim, Vec<Member>, Vec<Attribute>)> = Vec::new();
        let tests = claims.len().max(1) as f64;
        for claim in claims {
            let members = &classes[claim.parts.0].members;
            let owner = heads.iter().enumerate().find_map(|(index, (head, ..))| {
                let larger = bits::count(&head.bits).max(bits::count(&claim.bits));
                let is_same = bits::distance(&head.bits, &claim.bits) as f64 <= MAX_DISTANCE * larger as f64;
                (is_same || self.follows(&claim.bits, &head.bits, ERROR_LEVEL / tests)).then_some((index, is_same))
            });
            match owner {
                // A pair that belongs to an earlier cause has nothing to add.
                Some(_) if claim.parts.1.is_some() => {}
                Some((index, true)) => heads[index].1.extend(members.iter().cloned()),
                Some((index, false)) => {
                    let present = members.iter().filter(|(_, is_present)| *is_present);
                    heads[index].2.extend(present.map(|(attribute, _)| (**attribute).clone()));
                }
                None if heads.len() < limits::CAUSES => heads.push((claim, members.clone(), Vec::new())),
                None => {}
            }
        }
        heads.into_iter().map(|(claim, members, follows)| self.cause(&claim, &classes, members, follows)).collect()
    }

    /// Returns `true` if a set makes no significant difference among requests that are equal in
    /// another one.
    fn follows(&self, bits: &Bits, head: &Bits, level: f64) -> bool {
        let strata = [head.clone(), self.places.complement(head)];
        let least = strata.iter().map(|within| self.factorials.p_value(self.table(bits, within)));
        2.0 * least.fold(1.0, f64::min) > level
    }

    fn singles(&self, classes: &[Class], tables: &[Table]) -> Vec<Claim> {
        let mut least: Vec<f64> = tables.iter().map(|table| self.factorials.least_p_value(*table)).collect();
        let comparisons = tarone(&mut least, ERROR_LEVEL / 2.0) as f64;
        let claim = |(index, table): (usize, &Table)| {
            let p_value = (self.factorials.p_value(*table) * comparisons * 2.0).min(1.0);
            (p_value <= ERROR_LEVEL && table.effect() >= MIN_EFFECT).then(|| Claim {
                parts: (index, None),
                bits: classes[index].bits.clone(),
                table: *table,
                p_value,
            })
        };
        tables.iter().enumerate().filter_map(claim).collect()
    }

    fn pairs(&self, classes: &[Class], tables: &[Table]) -> Vec<Claim> {
        // A lack of something is no part of a pair.
        let mut parts: Vec<usize> = (0..classes.len()).filter(|index| classes[*index].members[0].1).collect();
        let possible = parts.len() * parts.len().saturating_sub(1) / 2;
        parts.sort_by(|a, b| tables[*b].information().total_cmp(&tables[*a].information()).then(a.cmp(b)));
        let is_complete = parts.len() <= limits::PAIRED;
        parts.truncate(limits::PAIRED);
        let all = self.places.all();
        let (mut least, mut found) = (Vec::new(), Vec::new());
        for (at, a) in parts.iter().enumerate() {
            for b in &parts[at + 1..] {
                let bits = bits::both(&classes[*a].bits, &classes[*b].bits);
                let table = self.table(&bits, all);
                least.push(self.factorials.least_p_value(table));
                let of_parts = tables[*a].information().max(tables[*b].information());
                if table.information() > of_parts && table.effect() >= MIN_EFFECT {
                    found.push(Claim { parts: (*a, Some(*b)), bits, table, p_value: 0.0 });
                }
            }
        }
        // Pairs that were chosen by their parts' information count as all.
        let comparisons = if is_complete { tarone(&mut least, ERROR_LEVEL / 2.0) } else { possible } as f64;
        let level = ERROR_LEVEL / parts.len().max(1) as f64;
        found.retain_mut(|claim| {
            claim.p_value = (self.factorials.p_value(claim.table) * comparisons * 2.0).min(1.0);
            let (a, Some(b)) = claim.parts else { return false };
            let (a, b) = (&classes[a].bits, &classes[b].bits);
            let differs = |bits, within| self.factorials.p_value(self.table(bits, within)) <= level;
            claim.p_value <= ERROR_LEVEL && differs(a, b) && differs(b, a)
        });
        found
    }

    fn cause(&self, claim: &Claim, classes: &[Class], mut members: Vec<Member>, mut follows: Vec<Attribute>) -> Cause {
        members.sort_by(|(a, a_present), (b, b_present)| (!a_present, a).cmp(&(!b_present, b)));
        let is_absence = members.first().is_some_and(|(_, is_present)| !is_present);
        let listed = |members: &[Member]| {
            let same = members.iter().filter(|(_, is_present)| *is_present != is_absence);
            same.take(limits::ATTRIBUTES_PER_CAUSE).map(|(attribute, _)| (**attribute).clone()).collect()
        };
        let attributes: Vec<Attribute> = listed(&members);
        let together_with: Vec<Attribute> =
            claim.parts.1.map(|part| listed(&classes[part].members)).unwrap_or_default();
        follows.truncate(limits::ATTRIBUTES_PER_CAUSE);
        let [selected, normal] = [0, 1].map(|group: usize| {
            let all = self.places.weigh(self.places.all(), self.places.all(), group);
            let with = self.places.weigh(&claim.bits, self.places.all(), group);
            Count { with: with.requests, share: with.weight as f64 / (all.weight as f64).max(1.0) }
        });
        let examples = self.groups.requests[0]
            .iter()
            .enumerate()
            .filter(|(index, _)| self.places.contains(&claim.bits, 0, *index))
            .filter_map(|(_, kept)| kept.request.trace)
            .take(limits::EXAMPLES)
            .collect();
        let mut cause = Cause {
            attributes,
            together_with,
            is_absence,
            selected,
            normal,
            effect: claim.table.effect(),
            information: claim.table.information(),
            ratio: claim.table.ratio(),
            p_value: claim.p_value,
            follows,
            examples,
            text: String::new(),
        };
        cause.text = self.sentence(&cause);
        cause
    }

    fn sentence(&self, cause: &Cause) -> String {
        let first = |attributes: &[Attribute]| attributes.first().map(Attribute::text).unwrap_or_default();
        let mut what = first(&cause.attributes);
        if !cause.together_with.is_empty() {
            what = format!("{what} together with {}", first(&cause.together_with));
        }
        let [selected, normal] = [0, 1].map(|group: usize| self.groups.requests[group].len());
        let name = self.groups.selected_name();
        format!(
            "{} {} {what}; {}",
            counted(cause.selected, selected, &format!("{name} requests")),
            if cause.is_absence { "lack" } else { "have" },
            counted(cause.normal, normal, "normal ones"),
        )
    }
}

/// Writes how many of the requests that were compared have a cause, and their share of all. The
/// share is another one than that of the numbers if the requests have different weights.
fn counted(count: Count, of: usize, name: &str) -> String {
    let Count { with, share } = count;
    let of_compared = with as f64 / (of as f64).max(1.0);
    let by_weight = if (share - of_compared).abs() < 0.005 { "" } else { " by weight" };
    format!("{with} of {of} {name} ({}{by_weight})", percent(share))
}

/// Writes a share so that neither 0% nor 100% is written for another one.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        0.0 => "0%".to_owned(),
        _ if percent < 0.1 => "<0.1%".to_owned(),
        _ if percent < 10.0 => format!("{percent:.1}%"),
        _ if (99.5..100.0).contains(&percent) => ">99%".to_owned(),
        _ => format!("{percent:.0}%"),
    }
}

/// Classes while attributes are added.
#[derive(Default)]
struct Classes {
    classes: Vec<Class>,
    /// The index of the class of a set of requests, or of all others.
    by_bits: HashMap<Bits, usize>,
}

impl Classes {
    fn add(&mut self, places: &Places, bits: Bits, attribute: &Arc<Attribute>) {
        // Of a set and its complement, the one with the first request stands for both.
        let first = places.all().iter().zip(&bits).find(|(all, _)| **all != 0);
        let is_present = first.is_some_and(|(all, bits)| bits >> all.trailing_zeros() & 1 == 1);
        let bits = if is_present { bits } else { places.complement(&bits) };
        let index = *self.by_bits.entry(bits.clone()).or_insert_with(|| {
            self.classes.push(Class { bits, members: Vec::new() });
            self.classes.len() - 1
        });
        self.classes[index].members.push((Arc::clone(attribute), is_present));
    }
}
