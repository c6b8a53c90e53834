//! Finds what failed or slow requests have in common and normal ones have not.
//!
//! The host's `Sink` receives the facts of each request: the series that it touched, the call sites
//! that it reached, its route, tenant and version. An [`Explainer`] keeps them as short lists of
//! numbers, and compares the two groups of a [`Selection`]:
//!
//! ```
//! use wasmetry_explain::{Attribute, AttributeKind, Explainer, Group, Request, Selection};
//!
//! let mut explainer = Explainer::new(4 << 20);
//! for number in 0..400 {
//!     let tenant = if number % 10 == 0 { "acme" } else { "others" };
//!     let group = if number % 10 == 0 { Group::Failed } else { Group::Normal };
//!     let attributes = vec![Attribute::new(AttributeKind::Tenant, "tenant", tenant)];
//!     explainer.add_request(Request { group, ..Request::default() }, attributes);
//! }
//! let found = explainer.select(&Selection::default()).compare();
//! assert_eq!(found.causes[0].attributes[0].value.as_ref(), "acme");
//! ```
//!
//! It deliberately does not know sockets, clocks or the formats of answers.
//!
//! # The procedure
//!
//! **Two groups** of requests: the selected ones, and the normal ones that they are compared with.
//! Normal requests are sampled, so each has a weight, the number of requests that it stands for. A
//! share is a weighted one, and a group's size in a test is its effective size by Kish,
//! (Σw)² / Σw².
//!
//! **Attributes that occur in the same requests**, or in exactly the others, are one from here on.
//! Those that report the failure itself (status, reason, logs of the level `error`) are compared
//! apart: they are signs.
//!
//! **Effect**: the difference of the two shares, (x + ½) / (n + 1) in each group, so that few
//! requests make a small effect. At least [`MIN_EFFECT`] is needed for a claim. **Information** is
//! the mutual information of having the attribute and being selected, from the same shares, as if
//! both groups were equally large: 1 bit if all selected requests have it and no normal one.
//!
//! **Significance**: Fisher's exact test, twice the smaller tail of the hypergeometric
//! distribution, in log space. The family-wise error is [`ERROR_LEVEL`]: half of it for single
//! attributes and half for all of their pairs, each by Tarone's procedure, which is Bonferroni's
//! without the comparisons that are too rare to be ever significant. An adjusted p-value is the
//! p-value times the number of comparisons that count, doubled for the halves. It holds however the
//! attributes are correlated. It is exact for requests of equal weights, and approximate where an
//! effective size stands for a group. Signs are a family of their own.
//!
//! **Pairs**: two attributes together are a cause if they give more information than either, and
//! each of them still makes a significant difference among the requests that have the other.
//!
//! **Ranking** is by information. A cause behind an earlier one is listed only if it makes a
//! significant difference among requests that are equal in the earlier one; if not, it follows from
//! it.
//!
//! With N requests and M attributes, singles cost O(M·N) and pairs O(K²·N/64) for
//! K = min(M, [`limits::PAIRED`]). All three are bounded by [`limits`].

#![forbid(unsafe_code)]

mod attribute;
mod bits;
mod compare;
mod explainer;
pub mod limits;
mod selection;
mod statistics;

pub use attribute::{Attribute, AttributeKind};
pub use compare::{Cause, Comparison, Count, ERROR_LEVEL, MIN_EFFECT, MIN_NORMAL, MIN_SELECTED, Verdict};
pub use explainer::{Explainer, Groups};
pub use selection::{Group, Request, Selection};
