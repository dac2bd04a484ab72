//! cowtrace.
pub mod export;
pub mod record;
pub mod report;
