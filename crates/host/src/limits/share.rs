//! The share that each of several tenants gets of what all of them have.

use super::FAIR_SHARE;

/// Returns `true` if one that has this much of what all share has no more than its fair share,
/// where `free` of `limit` is left: at most [`FAIR_SHARE`] times the free part of what is free.
///
/// So what one may have falls as others come, without a count of them. With the factor 2:
///
/// - One alone gets half.
/// - However much each of `n` takes, and in whatever order, more than `1 / (2n + 1)` of all is
///   free, and the next gets at least `2 / (2n + 3)²`. If they grow side by side, about
///   `1 / √(2n)` is free, and the next gets more than a third of what each of them has; beside
///   many, almost as much.
/// - Room that one returns is shared again. One that has more than its share by now keeps it,
///   and gets nothing more.
///
/// Source: the dynamic thresholds of buffers that queues share (A. K. Choudhury and E. L. Hahne,
/// IEEE/ACM Transactions on Networking 6(2), 1998), where the threshold is a multiple of what is
/// free. A queue above it drains, but what a guest has taken stays as long as the guest likes:
/// tenants that fill up one after the other would leave a half, a quarter, an eighth. Therefore the
/// multiple falls with the free part too.
///
/// ```
/// use wasmetry_host::limits::is_fair_share;
///
/// // Of 1,000, the first has half, and the second gets 190.
/// assert!(is_fair_share(500, 500, 1000) && !is_fair_share(501, 499, 1000));
/// assert!(is_fair_share(190, 310, 1000) && !is_fair_share(191, 309, 1000));
/// ```
pub fn is_fair_share(has: u64, free: u64, limit: u64) -> bool {
    let free = u128::from(free);
    u128::from(has) * u128::from(limit) <= (free * free).saturating_mul(FAIR_SHARE.into())
}
