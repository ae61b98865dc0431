//! The configuration: what was written (`file`) and what it means ([`model`]).

pub mod model;
