//! The functions of guests that are built in several forms.

pub mod recorder;
