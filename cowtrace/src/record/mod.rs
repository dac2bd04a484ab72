//! The waist of the pipeline: what is known at the end, independent of how it was found out.

mod collections;
#[cfg(test)]
pub(crate) mod fixture;
pub mod from;
pub mod json;
pub mod page;
pub mod schema;
