//! What `cargo xtask test` does, step by step.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::arm64;
use super::counts::{Counts, Reader};
use super::dependencies::{advisories, licenses, unused};
use crate::ebpf::{self, Checked, Tools};
use crate::say::say;
use crate::workspace::Workspace;
use crate::{cargo, command, consumers, debian, fuzz, layers, matrix, programs, pythons};

/// One step: its name on the command line, its heading, and what it does.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) heading: &'static str,
    pub(super) run: fn(&mut Run) -> Result<Counts>,
    /// Whether names of tests, given on the command line, choose among its tests.
    pub(super) tests: bool,
    /// Whether it runs only when it is named.
    pub(super) asked: bool,
}

impl Step {
    /// A check that always runs and has no tests of its own.
    const fn check(name: &'static str, heading: &'static str, run: fn(&mut Run) -> Result<Counts>) -> Self {
        Self { name, heading, run, tests: false, asked: false }
    }

    const fn with_tests(self) -> Self {
        Self { tests: true, ..self }
    }

    const fn when_named(self) -> Self {
        Self { asked: true, ..self }
    }
}

/// All steps in their order.
pub(super) const STEPS: &[Step] = &[
    Step::check("fmt", "formatting", fmt),
    Step::check("clippy", "clippy for this machine", clippy),
    Step::check("clippy-bpf", "clippy for the bpf target", clippy_bpf),
    Step::check("clippy-minimal", "clippy without any feature", clippy_minimal),
    Step::check("arm64", "types for arm64", types_arm64).when_named(),
    Step::check("licenses", "licences of dependencies", licenses),
    Step::check("advisories", "advisories of dependencies", advisories),
    Step::check("unused", "dependencies that nothing uses", unused),
    Step::check("doc", "documentation", doc),
    Step::check("object", "the kernel program's object is its sources'", object),
    Step::check("unit", "unit tests", unit).with_tests(),
    Step::check("noop", "building again builds nothing", noop),
    Step::check("layers", "modules use only what lies below them", layers),
    Step::check("fuzz", "inputs that are kept, and some that are made up", fuzzing),
    Step::check("integration", "tests against this kernel", integration).with_tests(),
    Step::check("matrix", "other kernels, emulated", matrix),
];

/// What the steps share.
pub(super) struct Run {
    pub(super) workspace: Workspace,
    /// When the first step began.
    pub(super) begun: Instant,
    /// Parts of the names of the tests to run; none = all.
    pub(super) filters: Vec<String>,
    /// The object to embed where the committed one was built by another toolchain.
    pub(super) object: Option<PathBuf>,
    /// Roots with more interpreters, as the tests are told of them; `None` = nobody looked.
    pub(super) python_roots: Option<OsString>,
}

impl Run {
    fn cargo<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut cargo = command::cargo(self.workspace.root());
        cargo.args(arguments);
        if let Some(object) = &self.object {
            cargo.env(cargo::OVERRIDE, object);
        }
        if let Some(roots) = &self.python_roots {
            cargo.env(pythons::ROOTS, roots);
        }
        cargo
    }
}

/// A check that passes by exit status 0.
fn checked(command: &mut Command) -> Result<Counts> {
    command::run(command).map(|()| Counts::check(true))
}

fn fmt(run: &mut Run) -> Result<Counts> {
    checked(&mut run.cargo(["fmt", "--all", "--check"]))
}

fn clippy(run: &mut Run) -> Result<Counts> {
    checked(&mut run.cargo(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
}

/// Nobody here has such a machine: that it compiles is the least.
fn types_arm64(run: &mut Run) -> Result<Counts> {
    arm64::check(&run.workspace)
}

/// A trace, its report, JSON Lines and recordings need none of the features.
fn clippy_minimal(run: &mut Run) -> Result<Counts> {
    let minimal = ["clippy", "--package", "cowtrace", "--no-default-features", "--all-targets", "--"];
    checked(run.cargo(minimal).args(["--deny", "warnings"]))
}

fn clippy_bpf(run: &mut Run) -> Result<Counts> {
    let tools = Tools::find(&run.workspace)?;
    if !tools.clippy_driver().exists() && tools.is_debians() && debian::may_install() {
        debian::install(&["rust-web-clippy"])?;
    }
    if !tools.clippy_driver().exists() {
        return Ok(Counts::skip(
            "clippy for the bpf target: the compiler that has the library's source has no clippy",
        ));
    }
    tools.clippy(&run.workspace)?;
    Ok(Counts::check(true))
}

fn doc(run: &mut Run) -> Result<Counts> {
    let mut flags = env::var("RUSTDOCFLAGS").unwrap_or_default();
    flags.push_str(" --deny warnings");
    let mut cargo = run.cargo(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    checked(cargo.env("RUSTDOCFLAGS", flags))
}

fn object(run: &mut Run) -> Result<Counts> {
    if let Checked::OtherToolchain(fresh) = ebpf::check(&run.workspace)? {
        run.object = Some(fresh);
    }
    Ok(Counts::check(true))
}

fn unit(run: &mut Run) -> Result<Counts> {
    let mut cargo = run.cargo(["test", "--workspace", "--exclude", "cowtrace-tests", "--no-fail-fast"]);
    cargo.args(["--", "--show-output"]).args(&run.filters);
    counted(&mut cargo)
}

fn noop(run: &mut Run) -> Result<Counts> {
    let again = || cargo::build(&mut run.cargo(["test", "--workspace", "--no-run", "--quiet"]));
    again()?;
    let built: Vec<String> =
        again()?.into_iter().filter(|artifact| !artifact.fresh).map(|artifact| artifact.name).collect();
    if !built.is_empty() {
        bail!("nothing had changed, but cargo built {} again", built.join(", "));
    }
    Ok(Counts::check(true))
}

fn layers(run: &mut Run) -> Result<Counts> {
    layers::check(&run.workspace)?;
    Ok(Counts::check(true))
}

/// Inputs for each target.
const FUZZED: u64 = 50_000;

/// A little of what `cargo xtask fuzz` does for as long as one likes, the same each time.
fn fuzzing(run: &mut Run) -> Result<Counts> {
    let programs = fuzz::build(&run.workspace)?;
    let targets = fuzz::targets(&run.workspace)?;
    let mut counts = Counts::default();
    for done in fuzz::all(&run.workspace, &programs, &targets, fuzz::Plan::Fixed(FUZZED)) {
        counts += Counts::check(done.is_ok());
    }
    Ok(counts)
}

fn integration(run: &mut Run) -> Result<Counts> {
    if !command::is_root() && command::on_path("sudo").is_none() {
        return Ok(Counts::skip("tests against this kernel: they need root, or sudo"));
    }
    if debian::may_install() {
        debian::ensure(&[
            ("g++", "/usr/bin/g++"),
            ("gcc", "/usr/bin/gcc"),
            ("gdb", "/usr/bin/gdb"),
            ("libc6-dev", "/usr/include/stdio.h"),
            ("libcap2-bin", "/usr/sbin/setcap"),
            ("python3", "/usr/bin/python3"),
            ("sudo", "/usr/bin/sudo"),
            ("tmux", "/usr/bin/tmux"),
        ])?;
    }
    // Debian 12 has it and others have not: there the tests of Ruby say that they are left out.
    if debian::may_install()
        && let Err(error) = debian::ensure(&[("ruby3.1", "/usr/bin/ruby3.1")])
    {
        say(format_args!("Ruby 3.1 could not be installed: {error:#}"));
    }
    let consumers = consumers::find();
    let programs = programs::find();
    let cowtrace = cargo::cowtrace(&run.workspace, run.object.as_deref())?;
    // Built as the caller, so that no file of root's is left behind in the target directory; run as root. The tests themselves have
    // no need to be fast: what they share with the unit tests is there already.
    let built = cargo::build(&mut run.cargo(["test", "--package", "cowtrace-tests", "--no-run"]))?;
    let mut counts = Counts::default();
    for test in built.iter().filter(|artifact| artifact.package.ends_with("tests")) {
        let Some(program) = &test.executable else { continue };
        say(format_args!("{}:", test.name));
        let mut kept: Vec<(&str, OsString)> = vec![
            ("COWTRACE_BIN", cowtrace.clone().into()),
            ("CARGO_MANIFEST_DIR", test.package.clone().into()),
            (consumers::FOLDER, consumers.clone()),
            (programs::FOLDER, programs.clone()),
        ];
        for key in ["CI", "COWTRACE_BLESS", "RUST_BACKTRACE"] {
            kept.extend(env::var_os(key).map(|value| (key, value)));
        }
        kept.extend(run.python_roots.clone().map(|roots| (pythons::ROOTS, roots)));
        let kept: Vec<(&str, &OsStr)> = kept.iter().map(|(key, value)| (*key, value.as_os_str())).collect();
        let started = |arguments: &[String]| -> Result<Counts> {
            let mut command = command::as_root(program.as_os_str(), &kept)?;
            command.current_dir(&test.package).args(["--test-threads=1", "--show-output"]);
            counted(command.args(arguments))
        };
        let mut found = started(&run.filters)?;
        // They follow programs as those run, and a machine that stands still for a second is none that they can be judged
        // on. What passes the second time is told of in the end.
        for name in found.complaints.keys().cloned().collect::<Vec<_>>() {
            say(format_args!("{name} failed and is run again:"));
            let again = started(&["--exact".to_owned(), name.clone()])?;
            found.run_again(&name, &again);
        }
        counts += found;
    }
    Ok(counts)
}

/// Minutes after which no more is begun of what takes long: of all steps together. Without it everything is run.
const MINUTES: &str = "COWTRACE_TEST_MINUTES";

fn matrix(run: &mut Run) -> Result<Counts> {
    let minutes = match env::var(MINUTES) {
        Ok(text) => {
            let all: u64 = text.parse().with_context(|| format!("{MINUTES} is no number: {text}"))?;
            Some(all.saturating_sub(run.begun.elapsed().as_secs() / 60))
        }
        Err(_) => None,
    };
    matrix::run(&run.workspace, &matrix::Options::within(minutes))
}

/// Runs tests, passes on what they print, and counts them.
fn counted(command: &mut Command) -> Result<Counts> {
    let shown = command::show(command);
    let (reader, status) = read_lines(command).with_context(|| format!("failed to run: {shown}"))?;
    let mut counts = reader.finish();
    if !status.success() && counts.failed == 0 {
        say(format_args!("{status} from: {shown}"));
        counts.failed = 1;
    }
    Ok(counts)
}

fn read_lines(command: &mut Command) -> Result<(Reader, ExitStatus)> {
    // One pipe for both, so that lines stay in the order in which they were printed.
    let (output, input) = std::io::pipe()?;
    command.stdout(input.try_clone()?).stderr(input);
    let mut child = command.spawn()?;
    // The command keeps its ends of the pipe open, and reading would never end.
    command.stdout(std::process::Stdio::inherit()).stderr(std::process::Stdio::inherit());
    let mut reader = Reader::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        reader.line(&line);
        say(line);
    }
    Ok((reader, child.wait()?))
}
