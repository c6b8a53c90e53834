//! Host programs that run guests: with wasmetry ([`observed`], [`http`]) and without it ([`plain`],
//! [`jco`]).

pub mod http;
pub mod jco;
pub mod observed;
pub mod plain;
