//! cowtrace.
pub mod record;
