//! cowtrace: which write in a forked program's workload copied each of its pages.
//!
//! The pipeline, one direction, each stage with its own type:
//!
//! ```text
//! kernel probes ─▶ ring buffer                                                     (package cowtrace-ebpf)
//! bpf ─bytes▶ event ─Event▶ process ─▶ classify ─▶ attribute ─Fault▶ record ─&Trace▶ report, export
//!                                                     ▲
//!                                   interp, symbolize ┘ (frames, names)
//! session: wires the stages; tells the kernel half which process to follow and how to walk an interpreter's frames
//! top: looks at a session's trace while it comes about, by the report's own code (report::live)
//! ```
//!
//! Reading order: the shared records (`cowtrace_ebpf::event`), the life of a fault (`cowtrace-ebpf/src/fault.rs`),
//! [`mod@event::decode`], [`classify`], [`attribute::rules`], [`record::schema`], one exporter, then [`session`].
//!
//! A module uses only modules further left; `cargo xtask layers` checks it. What comes after `record` knows nothing but
//! [`record::schema`].

pub mod arch;
pub mod attribute;
pub mod bpf;
pub mod classify;
pub mod cli;
pub mod commands;
pub mod diag;
pub mod doctor;
pub mod event;
pub mod export;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod interp;
pub mod kernel;
pub mod memory;
pub mod page;
pub mod process;
pub mod progress;
pub mod record;
pub mod report;
pub mod session;
pub mod symbolize;
#[cfg(feature = "top")]
pub mod top;
pub mod unwind;
