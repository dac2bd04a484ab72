//! cowtrace.
pub mod cli;
pub mod diag;
pub mod kernel;
pub mod process;
pub mod record;
