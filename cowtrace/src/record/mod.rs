//! The waist of the pipeline: what is known at the end, independent of how it was found out.

pub mod build;
pub mod collections;
pub mod file;
#[cfg(test)]
pub(crate) mod fixture;
pub mod forks;
pub mod from;
pub mod json;
pub mod latency;
mod order;
pub mod page;
pub mod piece;
pub mod schema;
pub mod sink;
