//! What guests do that exist in more than one form.

pub mod recorder;
