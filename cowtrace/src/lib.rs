//! cowtrace.
pub mod bpf;
pub mod cli;
pub mod diag;
pub mod event;
pub mod export;
pub mod kernel;
pub mod process;
pub mod record;
pub mod report;
