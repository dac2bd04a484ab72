//! `cargo xtask matrix`: Debian's kernels, booted under qemu's software emulation, and in each the tests that need a kernel.
//!
//! A guest has three disks. Its root is the Debian that this machine is, so that what was built here runs there. The second has
//! the Debian that the kernel is from, with its Python. The third has cowtrace, the tests and what they read, under the paths
//! that they have here; it is made for each run. Nothing that a guest writes is kept.
//!
//! Roots and images are in the user's cache. What is said there about versions is what the archive had when they were made:
//! who wants newer ones removes them.

mod console;
mod disks;
mod guest;
mod machine;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use self::console::Console;
use crate::command;
use crate::say::say;
use crate::test::counts::Counts;
use crate::workspace::Workspace;
use crate::{cargo, debian, test};

/// What to boot and run.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Only this kernel, e.g. 6.1; may be given several times
    #[arg(long, value_name = "VERSION")]
    kernel: Vec<String>,
    /// Only these jobs (doctor trace ground-truth seed experiments); may be given several times
    #[arg(long, value_name = "NAME")]
    job: Vec<String>,
    /// Run only tests with this in their names
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Take the debug build of cowtrace and of the tests, in place of the release build
    #[arg(long)]
    debug: bool,
}

/// A kernel, and where it comes from.
pub(crate) struct Kernel {
    /// Its version, as far as the suite settles it.
    version: &'static str,
    /// Debian's suite that has it.
    suite: &'static str,
    /// That suite's Python.
    python: &'static str,
}

/// One row for each kernel.
const KERNELS: &[Kernel] = &[
    Kernel { version: "5.10", suite: "bullseye", python: "3.9" },
    Kernel { version: "6.1", suite: "bookworm", python: "3.11" },
    Kernel { version: "6.12", suite: "trixie", python: "3.13" },
    Kernel { version: "7.2", suite: "forky", python: "3.14" },
];

/// Runs the matrix and ends with the sum.
pub(crate) fn report(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let counts = run(workspace, options)?;
    let failed: &[&str] = if counts.failed > 0 { &["matrix"] } else { &[] };
    Ok(test::summary(counts, failed))
}

/// Runs the matrix: one line for every test and kernel.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<Counts> {
    let unknown = options.kernel.iter().find(|word| KERNELS.iter().all(|row| row.version != *word));
    if let Some(unknown) = unknown {
        let known: Vec<&str> = KERNELS.iter().map(|row| row.version).collect();
        bail!("no kernel {unknown}: there are {}", known.join(", "));
    }
    let jobs = guest::jobs(options)?;
    if !command::is_root() && command::on_path("sudo").is_none() {
        return Ok(Counts::skip("other kernels: making their roots needs root, or sudo"));
    }
    debian::ensure(&[
        ("debootstrap", "/usr/sbin/debootstrap"),
        ("e2fsprogs", "/sbin/mke2fs"),
        ("gcc", "/usr/bin/gcc"),
        ("libc6-dev", "/usr/include/stdio.h"),
        ("qemu-system-x86", "/usr/bin/qemu-system-x86_64"),
    ])?;
    let built = built(workspace, options)?;
    let scratch = tempfile::tempdir().context("no temporary directory")?;
    let job_disk = disks::of_jobs(workspace, &built, &jobs, scratch.path())?;
    let base = disks::base()?;
    let mut counts = Counts::default();
    for kernel in KERNELS
        .iter()
        .filter(|row| options.kernel.is_empty() || options.kernel.iter().any(|k| k == row.version))
    {
        say(format_args!("\n-- {} ({}, CPython {})", kernel.version, kernel.suite, kernel.python));
        let suite = disks::of_suite(kernel)?;
        let mut console = Console::new(kernel.version, &jobs);
        let log = scratch.path().join("kernel.log");
        let ended = machine::run(&suite, [&base, &suite.image, &job_disk], &log, &mut console)?;
        say(format_args!("{}: {} after {}", kernel.version, ended.how, in_words(ended.after)));
        counts += console.finish(&ended, &log);
    }
    Ok(counts)
}

fn in_words(time: Duration) -> String {
    format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
}

/// What runs in the guests.
pub(crate) struct Built {
    cowtrace: PathBuf,
    /// Name and program of each test.
    tests: Vec<(String, PathBuf)>,
    /// The folder of the programs that are traced.
    programs: PathBuf,
}

fn built(workspace: &Workspace, options: &Options) -> Result<Built> {
    let cargo = |words: &[&str]| {
        let mut cargo = command::cargo(workspace.root());
        cargo.args(words).args((!options.debug).then_some("--release"));
        cargo::build(&mut cargo)
    };
    let cowtrace = cargo(&["build", "--package", "cowtrace", "--bin", "cowtrace"])?;
    let cowtrace = cowtrace.into_iter().filter(|artifact| artifact.name == "cowtrace");
    let cowtrace = cowtrace.filter_map(|artifact| artifact.executable).next_back();
    let mut words = vec!["test", "--package", "cowtrace-tests", "--no-run"];
    words.extend(guest::TESTS.iter().chain(&["oracle"]).flat_map(|test| ["--test", test]));
    let tests: Vec<(String, PathBuf)> = cargo(&words)?
        .into_iter()
        .filter_map(|artifact| Some((artifact.name, artifact.executable?)))
        .collect();
    // The tests compile the programs when they need them, and the guests have no compiler.
    let oracle =
        tests.iter().find(|(name, _)| name == "oracle").context("cargo built no test named oracle")?;
    say("compiling the programs that are traced");
    command::output(std::process::Command::new(&oracle.1).args(["--exact", "programs_compile"]))?;
    Ok(Built {
        cowtrace: cowtrace.context("cargo built no program named cowtrace")?,
        tests,
        programs: workspace.join("target/test-programs"),
    })
}
