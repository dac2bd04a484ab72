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

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};

use self::console::Console;
use self::guest::Job;
use crate::command;
use crate::say::{in_words, say};
use crate::test::counts::Counts;
use crate::workspace::Workspace;
use crate::{cargo, debian, test};

/// What to boot and run.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Only this kernel, e.g. 6.1; may be given several times
    #[arg(long, value_name = "VERSION")]
    kernel: Vec<String>,
    /// Only these jobs (an unknown one lists them); may be given several times
    #[arg(long, value_name = "NAME")]
    job: Vec<String>,
    /// Run only tests with this in their names
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Use this rung in every job that names none
    #[arg(long, value_name = "RUNG")]
    rung: Option<String>,
    /// Begin nothing after so many minutes: what is left is listed as skipped
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// Take the debug build of cowtrace in place of the release build
    #[arg(long)]
    debug: bool,
}

impl Options {
    /// Everything that is begun within so many minutes.
    pub(crate) fn within(minutes: Option<u64>) -> Self {
        Self { minutes, ..Self::default() }
    }
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
    if !debian::is_debian() {
        return Ok(Counts::skip(
            "other kernels: guests have the Debian that this machine has, and it is none",
        ));
    }
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
    let built = built(workspace, options, &jobs)?;
    let scratch = tempfile::tempdir().context("no temporary directory")?;
    let script = guest::script(workspace.root(), &jobs, options);
    let shared = Shared {
        jobs: disks::of_jobs(workspace, &built, &script, scratch.path())?,
        base: disks::base()?,
        scratch: scratch.path(),
    };
    let asked: Vec<&Kernel> = KERNELS
        .iter()
        .filter(|row| options.kernel.is_empty() || options.kernel.iter().any(|k| k == row.version))
        .collect();
    // Each guest takes one processor.
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    let shares = Shares::new(options.minutes, asked.len().div_ceil(at_once));
    let next = AtomicUsize::new(0);
    let one_by_one = || {
        let mut counts = Counts::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(kernel) = asked.get(index) else { return counts };
            counts += one(kernel, &jobs, &shared, shares.end(index / at_once)).unwrap_or_else(|error| {
                say(format_args!("{}: {error:#}", kernel.version));
                Counts::failure(kernel.version, &format!("{error:#}"))
            });
        }
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..at_once).map(|_| scope.spawn(one_by_one)).collect();
        let mut all = Counts::default();
        for guests in running {
            let Ok(counts) = guests.join() else { bail!("a thread that watched a guest has panicked") };
            all += counts;
        }
        Ok(all)
    })
}

/// The time that there is, in equal parts for those that run one after the other.
struct Shares {
    begin: SystemTime,
    /// `None` = as much as it takes.
    each: Option<Duration>,
}

impl Shares {
    fn new(minutes: Option<u64>, rounds: usize) -> Self {
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX).max(1);
        let each = minutes.map(|minutes| Duration::from_secs(60 * minutes) / rounds);
        Self { begin: SystemTime::now(), each }
    }

    /// When the time of a round is over.
    fn end(&self, round: usize) -> Option<SystemTime> {
        let rounds = u32::try_from(round + 1).unwrap_or(u32::MAX);
        Some(self.begin + self.each?.saturating_mul(rounds))
    }
}

/// What all guests have.
struct Shared<'a> {
    /// The disk of this run.
    jobs: PathBuf,
    /// The root's.
    base: PathBuf,
    scratch: &'a Path,
}

/// Boots one kernel, in which no job begins after `until`.
fn one(
    kernel: &Kernel,
    jobs: &[&'static Job],
    shared: &Shared<'_>,
    until: Option<SystemTime>,
) -> Result<Counts> {
    let is_over = || until.is_some_and(|until| SystemTime::now() >= until);
    if is_over() {
        let mut counts = Counts::default();
        jobs.iter().for_each(|job| counts += console::late(kernel.version, job.name));
        return Ok(counts);
    }
    let suite = disks::of_suite(kernel)?;
    let version = kernel.version;
    say(format_args!("-- {version}: {}, CPython {}", suite.release, kernel.python));
    let mut console = Console::new(version, jobs);
    let log = shared.scratch.join(format!("{version}.log"));
    let disks = [&shared.base, &suite.image, &shared.jobs];
    let ended = machine::run(&suite, disks, &log, until.map(in_seconds), &mut console)?;
    say(format_args!("-- {version}: {} after {}", ended.how, in_words(ended.after)));
    Ok(console.finish(&ended, &log))
}

/// Seconds of the clock, which a guest reads as well.
fn in_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// What runs in the guests.
pub(crate) struct Built {
    cowtrace: PathBuf,
    /// Name and program of each test.
    tests: Vec<(String, PathBuf)>,
    /// The folder of the programs that are traced.
    programs: PathBuf,
}

fn built(workspace: &Workspace, options: &Options, jobs: &[&Job]) -> Result<Built> {
    let cargo = |words: &[&str], release: bool| {
        let mut cargo = command::cargo(workspace.root());
        cargo.args(words).args(release.then_some("--release"));
        cargo::build(&mut cargo)
    };
    let cowtrace = cargo(&["build", "--package", "cowtrace", "--bin", "cowtrace"], !options.debug)?;
    let cowtrace = cowtrace.into_iter().filter(|artifact| artifact.name == "cowtrace");
    let cowtrace = cowtrace.filter_map(|artifact| artifact.executable).next_back();
    let mut words = vec!["test", "--package", "cowtrace-tests", "--no-run"];
    let wanted: BTreeSet<&str> = jobs.iter().filter_map(|job| job.tests()).chain(["oracle"]).collect();
    words.extend(wanted.into_iter().flat_map(|test| ["--test", test]));
    let tests: Vec<(String, PathBuf)> = cargo(&words, false)?
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_share_the_time() {
        let shares = Shares::new(Some(20), 2);
        let after = |round| shares.end(round).unwrap().duration_since(shares.begin).unwrap().as_secs();
        assert_eq!((after(0), after(1)), (600, 1200));
        assert!(Shares::new(None, 2).end(0).is_none());
        let none = Shares::new(Some(0), 0);
        assert_eq!(none.end(0), Some(none.begin));
    }
}
