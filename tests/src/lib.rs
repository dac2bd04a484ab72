//! Harness of cowtrace's integration tests: it runs the binary on programs of which is known what the kernel does about
//! every page they touch, and reads the JSON Lines that come out.
//!
//! [`Run`] is the language of the tests:
//!
//! ```no_run
//! use cowtrace_tests::{Run, check, programs};
//!
//! let traced = Run::new(programs::built("anonymous")).arg("written").flag("--all").trace();
//! check::nothing_lost(&traced.trace);
//! ```
//!
//! Tests share a kernel: run them with `--test-threads=1`, as root. `COWTRACE_BIN` names the binary; without it the
//! release build of this workspace is made and used. `COWTRACE_REPEAT` sets how often each case runs; see [`together`] for
//! `COWTRACE_TOGETHER`.
#![forbid(unsafe_code)]
#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::missing_panics_doc,
    reason = "the harness of the tests: it fails by panicking, and says on stdout what was skipped"
)]

pub mod attach;
pub mod binary;
pub mod builds;
pub mod check;
pub mod consumers;
pub mod facts;
pub mod group;
pub mod http;
pub mod loaded;
pub mod named;
pub mod needs;
pub mod peak;
pub mod process;
pub mod programs;
pub mod python;
pub mod run;
pub mod runs;
pub mod seed;
pub mod server;
pub mod settings;
pub mod software;
pub mod terminal;
pub mod together;
pub mod trace;

pub use process::{Finished, Started};
pub use run::{Run, Traced};
pub use server::Server;
pub use trace::{Fault, Trace};

/// How often a case is run: `COWTRACE_REPEAT`, or so often by default.
#[must_use]
pub fn repeats(default: u32) -> u32 {
    match std::env::var("COWTRACE_REPEAT") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("COWTRACE_REPEAT={text} is not a number")),
        Err(_) => default,
    }
}

/// How many times longer than usual everything may take: `COWTRACE_PATIENCE`, or 1. For machines that are emulated.
#[must_use]
pub fn patience() -> u32 {
    match std::env::var("COWTRACE_PATIENCE") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("COWTRACE_PATIENCE={text} is not a number")),
        Err(_) => 1,
    }
}
