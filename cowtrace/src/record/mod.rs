//! The waist of the pipeline: what is known at the end, independent of how it was found out.

pub mod schema;
