//! cowtrace.
pub mod attribute;
pub mod bpf;
pub mod classify;
pub mod cli;
pub mod diag;
pub mod event;
pub mod export;
pub mod interp;
pub mod kernel;
pub mod memory;
pub mod process;
pub mod record;
pub mod report;
pub mod session;
pub mod symbolize;
