//! Exact tests of two shares, in log space.

/// The logarithms of factorials.
#[derive(Debug)]
pub(crate) struct Factorials(Vec<f64>);

impl Factorials {
    /// Creates the table of 0! to `max`!.
    pub(crate) fn new(max: usize) -> Self {
        let mut sum = 0.0;
        let logs = (1..=max).map(|number| {
            sum += (number as f64).ln();
            sum
        });
        Self(std::iter::once(0.0).chain(logs).collect())
    }

    fn choose(&self, n: usize, k: usize) -> f64 {
        self.0[n] - self.0[k] - self.0[n - k]
    }

    /// The logarithm of the hypergeometric probability of a table.
    fn probability(&self, Table { with: [a, b], of: [n, m] }: Table) -> f64 {
        self.choose(n, a) + self.choose(m, b) - self.choose(n + m, a + b)
    }

    /// Returns the p-value of Fisher's exact test: twice the smaller tail, at most 1.
    pub(crate) fn p_value(&self, table: Table) -> f64 {
        let Table { with: [a, b], of: [n, m] } = table;
        // The tail in the direction in which the shares differ. The other one is larger.
        let is_more = a as u64 * m as u64 >= b as u64 * n as u64;
        let first = self.probability(table);
        let (mut sum, mut term, mut at) = (1.0_f64, 1.0_f64, table);
        loop {
            let [a, b] = at.with;
            // The next table by the ratio of its probability to this one's.
            let next = if is_more {
                if a == n || b == 0 {
                    break;
                }
                term *= ((n - a) as f64 * b as f64) / ((a + 1) as f64 * (m - b + 1) as f64);
                [a + 1, b - 1]
            } else {
                if b == m || a == 0 {
                    break;
                }
                term *= ((m - b) as f64 * a as f64) / ((b + 1) as f64 * (n - a + 1) as f64);
                [a - 1, b + 1]
            };
            sum += term;
            if term < sum * 1e-17 {
                break;
            }
            at.with = next;
        }
        (2.0 * (first + sum.ln()).exp()).min(1.0)
    }

    /// Returns the smallest p-value that a table with these sums can have.
    pub(crate) fn least_p_value(&self, table: Table) -> f64 {
        let Table { with: [a, b], of: [n, m] } = table;
        let with = a + b;
        let (most, least) = (with.min(n), with.saturating_sub(m));
        let extreme = |a: usize| self.probability(Table { with: [a, with - a], of: [n, m] });
        (2.0 * extreme(most).min(extreme(least)).exp()).min(1.0)
    }
}

/// The numbers of requests with an attribute in two groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// The requests with the attribute in each group.
    pub(crate) with: [usize; 2],
    /// The requests in each group.
    pub(crate) of: [usize; 2],
}

impl Table {
    /// The difference of the two shares, each with half a request more of either kind.
    pub(crate) fn effect(self) -> f64 {
        self.share(0) - self.share(1)
    }

    /// The mutual information of the attribute and the group in bits, if both groups were equally
    /// large, by the same correction: 0 for equal shares, 1 if exactly one group has it.
    pub(crate) fn information(self) -> f64 {
        let entropy = |share: f64| -share * share.log2() - (1.0 - share) * (1.0 - share).log2();
        let (a, b) = (self.share(0), self.share(1));
        entropy((a + b) / 2.0) - (entropy(a) + entropy(b)) / 2.0
    }

    /// The ratio of the two shares, by the same correction.
    pub(crate) fn ratio(self) -> f64 {
        self.share(0) / self.share(1)
    }

    fn share(self, group: usize) -> f64 {
        (self.with[group] as f64 + 0.5) / (self.of[group] as f64 + 1.0)
    }
}

/// Returns the number of comparisons that count by Tarone's procedure at a level: the smallest
/// number `k` for which no more than `k` of the least p-values are at most `level / k`.
pub(crate) fn tarone(least: &mut [f64], level: f64) -> usize {
    least.sort_unstable_by(f64::total_cmp);
    let reach = |k: usize| least.partition_point(|p| *p <= level / k as f64);
    // It falls as `k` rises, so the first that is enough is found by halving.
    let (mut low, mut high) = (1, least.len().max(1));
    while low < high {
        let middle = low + (high - low) / 2;
        if reach(middle) <= middle {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with exact sums of binomials.
    #[test]
    fn p_values_equal_exact_sums() {
        let factorials = Factorials::new(200);
        // Of 10 and 10 requests 9 have it, 8 or more of the first: C(10,8)C(10,1) + C(10,9) over
        // C(20,9).
        let expected = 2.0 * f64::from(45 * 10 + 10) / 167_960.0;
        let found = factorials.p_value(Table { with: [8, 1], of: [10, 10] });
        assert!((found / expected - 1.0).abs() < 1e-12, "{found} {expected}");
        let mirrored = factorials.p_value(Table { with: [1, 8], of: [10, 10] });
        assert!((found / mirrored - 1.0).abs() < 1e-12);
        let complement = factorials.p_value(Table { with: [2, 9], of: [10, 10] });
        assert!((found / complement - 1.0).abs() < 1e-12);
        assert_eq!(factorials.p_value(Table { with: [5, 5], of: [10, 10] }), 1.0);
        assert_eq!(factorials.p_value(Table { with: [0, 0], of: [10, 10] }), 1.0);
        // The most extreme table is its own tail.
        let table = Table { with: [9, 0], of: [40, 100] };
        let (tail, least) = (factorials.p_value(table), factorials.least_p_value(table));
        assert!((tail / least - 1.0).abs() < 1e-12, "{tail} {least}");
    }

    /// Under independence, a p-value of at most `p` is found with a probability of at most `p`.
    #[test]
    fn p_values_are_valid() {
        let factorials = Factorials::new(60);
        for (n, m, with) in [(10, 50, 12), (30, 30, 5), (7, 20, 20)] {
            let tables = (with - m.min(with)..=n.min(with)).map(|a| Table { with: [a, with - a], of: [n, m] });
            let values: Vec<(f64, f64)> =
                tables.map(|table| (factorials.p_value(table), factorials.probability(table).exp())).collect();
            let total: f64 = values.iter().map(|(_, probability)| probability).sum();
            assert!((total - 1.0).abs() < 1e-9);
            for level in [0.5, 0.1, 0.05, 0.01, 0.001] {
                let reached: f64 = values.iter().filter(|(p, _)| *p <= level).map(|(_, probability)| probability).sum();
                assert!(reached <= level * (1.0 + 1e-9), "{n} {m} {with}: {reached} > {level}");
            }
        }
    }

    #[test]
    fn rare_comparisons_do_not_count() {
        // Three that can be significant, and a thousand that cannot.
        let mut least: Vec<f64> = std::iter::repeat_n(0.2, 1000).chain([1e-9; 3]).collect();
        assert_eq!(tarone(&mut least, 0.005), 3);
        assert_eq!(tarone(&mut [1e-9; 50], 0.005), 50);
        assert_eq!(tarone(&mut [], 0.005), 1);
    }
}
