//! Host programs that run guests: with wasmetry ([`observed`]) and without it ([`plain`], [`jco`]).

pub mod jco;
pub mod observed;
pub mod plain;
