//! The waist of the pipeline: what is known at the end, independent of how it was found out.

#[cfg(test)]
pub(crate) mod fixture;
mod collections;
pub mod from;
pub mod json;
pub mod schema;
