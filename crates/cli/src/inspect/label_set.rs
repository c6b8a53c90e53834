//! Metrics of one name that have other labels.

use std::collections::BTreeSet;

use wasmetry_host::{Declarations, Metric};

use super::Problem;

/// Returns the metrics of one name that have other labels. A host exports them all, but a query
/// that groups by a label of one of them mixes them.
pub(super) fn label_sets(declarations: &Declarations) -> impl Iterator<Item = Problem<'_>> {
    let keys = |metric: &Metric| -> BTreeSet<String> {
        let declared = metric.labels.iter().map(|label| label.key.clone());
        declared.chain(metric.const_labels.iter().map(|(key, _)| key.clone())).collect()
    };
    declarations.metrics().windows(2).filter(|pair| pair[0].name == pair[1].name).filter_map(move |pair| {
        let [one, other] = [&*pair[0], &*pair[1]].map(keys);
        let list = |keys: &BTreeSet<String>| match keys.len() {
            0 => "no labels".to_owned(),
            _ => format!("the labels {}", keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")),
        };
        let reason = format!(
            "it is declared with {} and with {}; declare it with the same labels, or rename one of the two metrics",
            list(&one),
            list(&other)
        );
        (one != other).then_some(Problem { name: &pair[0].name, reason: reason.into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmetry_abi::{Descriptor, Kind};

    #[test]
    fn other_label_sets_are_problem() {
        const PLAIN: Descriptor<'static> = Descriptor::new(Kind::CounterU64, "hits_total", "Hits.");
        const WARM: Descriptor<'static> = PLAIN.with_const_labels(&[("state", "warm")]);
        const COLD: Descriptor<'static> = PLAIN.with_const_labels(&[("state", "cold")]);
        static PLAIN_RECORD: [u8; PLAIN.record_len()] = PLAIN.encode();
        static WARM_RECORD: [u8; WARM.record_len()] = WARM.encode();
        static COLD_RECORD: [u8; COLD.record_len()] = COLD.encode();
        let sound = Declarations::from_sections([&WARM_RECORD[..], &COLD_RECORD]);
        assert_eq!(label_sets(&sound).count(), 0);
        let mixed = Declarations::from_sections([&WARM_RECORD[..], &PLAIN_RECORD]);
        let problem = label_sets(&mixed).next().unwrap();
        assert!(problem.name == "hits_total" && problem.reason.contains("no labels"), "{problem:?}");
        assert!(problem.reason.contains("the labels `state`"), "{problem:?}");
    }
}
