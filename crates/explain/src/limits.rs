//! The bounds on what requests can make this crate keep, and on the work of one comparison.

/// Bytes of an attribute's key and of its value. Longer ones are cut and end in `…`.
pub const TEXT: usize = 160;

/// Attributes that are known at a time. When there are as many, those of no request that is kept
/// are forgotten; if none can be, later attributes are counted only.
pub const ATTRIBUTES: usize = 1 << 14;

/// Bytes of the texts of all attributes.
pub const ATTRIBUTE_BYTES: usize = 2 << 20;

/// Attributes of one request. Later ones are counted only.
pub const ATTRIBUTES_PER_REQUEST: usize = 256;

/// Series whose attributes are known. When there are as many, all are forgotten and found again.
pub const SERIES: usize = 1 << 16;

/// Requests of one group and one route that are kept. The oldest are removed first.
pub const REQUESTS_PER_ROUTE: usize = 2048;

/// Pairs of a component and a route whose requests are kept apart. Later ones share a list.
pub const ROUTES: usize = 1024;

/// The newest requests of a group that are compared. More are not needed: at this number, a
/// difference of five percentage points is far beyond chance.
pub const GROUP: usize = 4096;

/// Attributes that are compared: those that divide the requests most evenly.
pub const COMPARED: usize = 4096;

/// Attributes whose pairs are compared: those that give the most information. All of the pairs
/// are counted as comparisons, so that nothing is found by choosing.
pub const PAIRED: usize = 256;

/// Causes, and signs, in one answer.
pub const CAUSES: usize = 5;

/// Attributes of one cause that are listed.
pub const ATTRIBUTES_PER_CAUSE: usize = 8;

/// Requests that are compared with one cause as examples.
pub const EXAMPLES: usize = 5;
