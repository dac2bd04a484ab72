//! The project's own chores: `cargo xtask <command>`.
//!
//! Does not depend on cowtrace, so that it can build the kernel program that cowtrace cannot be built without.

mod bench;
mod cargo;
mod command;
mod consumers;
mod debian;
#[path = "../../cowtrace/build/digest.rs"]
mod digest;
mod ebpf;
mod fuzz;
mod layers;
mod matrix;
mod programs;
mod pythons;
mod root;
mod say;
mod test;
mod tool;
mod trace;
mod venv;
mod workspace;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::say::say;
use crate::workspace::Workspace;

/// Builds, runs, checks and measures cowtrace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Compile the kernel program into cowtrace/ebpf/cowtrace.bpf.o
    BuildEbpf {
        /// Write nothing; fail if the committed object is not what its sources compile to
        #[arg(long)]
        check: bool,
    },
    /// Build what is out of date and run cowtrace as root, with these arguments
    #[command(disable_help_flag = true)]
    Trace {
        /// cowtrace's own options, `--` and the command to trace
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check everything that the project checks
    Test {
        /// Names of steps (fmt clippy clippy-bpf clippy-minimal arm64 doc licenses advisories unused object unit noop layers fuzz
        /// integration matrix), or parts of names of tests
        filters: Vec<String>,
        /// Make sure of the newest CPythons, in a Debian root in the user's cache: the network, root, some minutes once
        #[arg(long)]
        pythons: bool,
    },
    /// Check that cowtrace's modules use only what lies below them
    Layers,
    /// Boot Debian's other kernels, emulated, and trace in each
    Matrix(matrix::Options),
    /// Give cowtrace's readers inputs that are made up
    Fuzz(fuzz::Options),
    /// Measure what tracing adds to a fault
    Bench(bench::Options),
}

fn main() -> ExitCode {
    match Arguments::parse().chore.run() {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl Chore {
    fn run(self) -> Result<ExitCode> {
        let workspace = Workspace::find()?;
        match self {
            Self::BuildEbpf { check: false } => ebpf::build(&workspace)?,
            Self::BuildEbpf { check: true } => {
                ebpf::check(&workspace)?;
            }
            // The parser takes a leading `--` away, but where it stands means something to cowtrace.
            Self::Trace { arguments: _ } => match trace::run(&workspace, env::args_os().skip(2))? {},
            Self::Test { filters, pythons } => return test::run(workspace, filters, pythons),
            Self::Layers => layers::check(&workspace)?,
            Self::Matrix(options) => return matrix::report(&workspace, &options),
            Self::Fuzz(options) => return fuzz::run(&workspace, &options),
            Self::Bench(options) => bench::run(&workspace, &options)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
