//! `cargo xtask fuzz`: gives cowtrace's readers inputs that libFuzzer makes up.
//!
//! The targets are those of `tests/fuzz`. They are built by cargo-fuzz with the caller's own compiler: what libFuzzer needs of
//! it (counters of edges, traced comparisons) a stable one does, too. A sanitizer is not used; cowtrace's own code is safe Rust,
//! with overflows and assertions checked here.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::say::{result, say};
use crate::tool::Tool;
use crate::workspace::Workspace;
use crate::{command, debian};

const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };
/// MiB of memory that a target may take: what cowtrace makes of 20 KiB needs far less, whatever they are.
const MEMORY: u32 = 1024;
/// Seconds that one input may take. They are milliseconds on a machine that is idle; one that has other things to do may stand
/// still for ten seconds.
const SECONDS: u32 = 60;
/// Bytes of an input at most: the longest record of the ring buffer is one.
const LONGEST: u32 = 20 << 10;
/// Of what the fixed inputs are made.
const SEED: u32 = 1;
/// Lines that are shown of a target that failed.
const SHOWN: usize = 60;

/// What the command line says.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Only this target
    target: Option<String>,
    /// Inputs for each target
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
}

/// What inputs a target gets, after those that are kept in the tree.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plan {
    /// So many altogether, made of those alone and of one seed, whatever earlier runs found. They are the same each time, except
    /// for `elf` and `recording`: code there keeps hash tables, whose seeds are random.
    Fixed(u64),
    /// So many altogether, made of what earlier runs found, too; what this one finds is kept for the next.
    Onward(u64),
}

impl Plan {
    const fn inputs(self) -> u64 {
        let (Self::Fixed(inputs) | Self::Onward(inputs)) = self;
        inputs
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Fixed(_) => "fixed",
            Self::Onward(_) => "corpus",
        }
    }
}

/// What a target has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// Inputs.
    pub(crate) inputs: u64,
    /// Most memory that it took, MiB.
    memory: u64,
}

/// Runs what the command line says.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let mut targets = targets(workspace)?;
    if let Some(name) = &options.target {
        targets.retain(|target| target == name);
        if targets.is_empty() {
            bail!("tests/fuzz has no target {name}");
        }
    }
    let programs = build(workspace)?;
    let done = all(workspace, &programs, &targets, Plan::Onward(options.runs));
    let inputs: u64 = done.iter().flatten().map(|done| done.inputs).sum();
    let failed = done.iter().filter(|done| done.is_err()).count();
    result(format_args!("{inputs} inputs, {failed} of {} targets failed", targets.len()));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs targets, as many side by side as this machine has processors, and says what comes of each; in no order.
pub(crate) fn all(
    workspace: &Workspace,
    programs: &Path,
    targets: &[String],
    plan: Plan,
) -> Vec<Result<Done>> {
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            let begin = Instant::now();
            let one = one(workspace, programs, target, plan);
            match &one {
                Ok(done) => say(told(target, *done, begin.elapsed())),
                Err(error) => say(format_args!("error: {error:#}")),
            }
            done.push(one);
        }
        done
    };
    let side_by_side = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..side_by_side).map(|_| scope.spawn(some)).collect();
        let broken = |_panic| vec![Err(anyhow!("the thread that ran targets broke"))];
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(broken)).collect()
    })
}

/// The names of all targets.
pub(crate) fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.join("tests/fuzz/targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Builds all targets; the directory of the programs.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    if debian::may_install() {
        debian::ensure(&[("g++", "/usr/bin/g++")])?;
    }
    let bin = CARGO_FUZZ.ensure(workspace)?;
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = command::cargo(workspace.root());
    cargo.args(["fuzz", "build", "--sanitizer", "none", "--release", "--target", &triple]);
    // cargo-fuzz's one unit is for a faster program, and takes one processor longer to build than all of them.
    cargo.args(["--codegen-units", "16"]);
    cargo.arg("--fuzz-dir").arg(workspace.join("tests/fuzz"));
    cargo.arg("--target-dir").arg(folder(workspace));
    cargo.env("PATH", command::path_with(&[&bin])?);
    command::run(&mut cargo)?;
    Ok(folder(workspace).join(triple).join("release"))
}

/// Where the targets are built, and where they leave what they find.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.join("target/fuzz")
}

/// Runs one target.
fn one(workspace: &Workspace, programs: &Path, target: &str, plan: Plan) -> Result<Done> {
    let found = folder(workspace).join(plan.name()).join(target);
    let broken = folder(workspace).join("broken").join(target);
    if matches!(plan, Plan::Fixed(_)) && found.exists() {
        fs::remove_dir_all(&found).with_context(|| format!("failed to empty {}", found.display()))?;
    }
    for folder in [&found, &broken] {
        fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    }
    let kept = ["corpus", "regressions"].map(|kind| workspace.join("tests/fuzz").join(kind).join(target));
    let mut program = Command::new(programs.join(target));
    if let Plan::Fixed(_) = plan {
        // Comparisons of addresses are a source of new inputs: they are to be the same, too.
        program = Command::new("setarch");
        program.arg("--addr-no-randomize").arg(programs.join(target));
        // Otherwise it would look once a second whether another process has found something.
        program.args([format!("-seed={SEED}"), "-reload=0".to_owned()]);
    }
    program.args([
        format!("-runs={}", plan.inputs()),
        format!("-rss_limit_mb={MEMORY}"),
        format!("-timeout={SECONDS}"),
        format!("-max_len={LONGEST}"),
        "-print_final_stats=1".to_owned(),
        // The folder's name ends where the file's name begins.
        format!("-artifact_prefix={}/", broken.display()),
    ]);
    // What it finds goes to the first folder.
    program.arg(&found).args(kept.iter().filter(|folder| folder.is_dir()));
    let done = watch(&mut program).with_context(|| {
        format!(
            "{target}: what broke it lies in {}; once it is mended, keep that in tests/fuzz/regressions/{target}",
            broken.display()
        )
    })?;
    if done.inputs < plan.inputs() {
        bail!("{target} ended after {} of {} inputs", done.inputs, plan.inputs());
    }
    Ok(done)
}

fn told(target: &str, Done { inputs, memory }: Done, took: Duration) -> String {
    format!("{target}: {inputs} inputs in {:.1} s, {memory} MiB", took.as_secs_f64())
}

/// Runs a target to its end, and shows its last lines if that is not a good one.
fn watch(program: &mut Command) -> Result<Done> {
    let shown = command::show(program);
    let mut child = program
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start: {shown}"))?;
    let output = child.stderr.take().context("the target's output is not piped")?;
    let (mut done, mut last) = (Done::default(), VecDeque::new());
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line).into_owned();
        count(&line, &mut done);
        last.push_back(line);
        if last.len() > SHOWN {
            last.pop_front();
        }
    }
    let status = child.wait().with_context(|| format!("failed to wait for: {shown}"))?;
    if !status.success() {
        last.iter().for_each(say);
        bail!("{status} from: {shown}");
    }
    if done.inputs == 0 {
        bail!("no inputs were counted by: {shown}");
    }
    Ok(done)
}

/// Takes a line of libFuzzer's last figures.
fn count(line: &str, done: &mut Done) {
    let figure = |name| line.strip_prefix(name).and_then(|rest: &str| rest.trim().parse().ok());
    done.inputs = figure("stat::number_of_executed_units:").unwrap_or(done.inputs);
    done.memory = figure("stat::peak_rss_mb:").unwrap_or(done.memory);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        let mut done = Done::default();
        for line in ["#7 DONE", "stat::number_of_executed_units: 1234", "stat::peak_rss_mb:              48"]
        {
            count(line, &mut done);
        }
        assert_eq!(told("lines", done, Duration::from_millis(2050)), "lines: 1234 inputs in 2.0 s, 48 MiB");
    }

    /// A program that says that it was given as many inputs as it was told to take, or `inputs`.
    fn program(folder: &Path, target: &str, inputs: &str) {
        let text = format!(
            "#!/bin/sh\nfor word; do case $word in -runs=*) runs=${{word#-runs=}};; esac; done\n\
             echo \"$@\" > {}/{target}.words\necho stat::number_of_executed_units: {inputs} >&2\n",
            folder.display()
        );
        // Not written by this process: another test may fork while the file is open, and what is open is not run.
        let write = "printf %s \"$2\" > \"$1\" && chmod 700 \"$1\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", write, "sh"]).arg(folder.join(target)).arg(text);
        assert!(shell.status().unwrap().success());
    }

    #[test]
    fn fixed_inputs_begin_with_nothing_that_was_found() {
        let root = std::env::temp_dir().join(format!("cowtrace-xtask-fuzz-{}", std::process::id()));
        fs::create_dir_all(root.join("tests/fuzz/corpus/whole")).unwrap();
        let old = root.join("target/fuzz/fixed/whole/found-before");
        fs::create_dir_all(old.parent().unwrap()).unwrap();
        fs::write(&old, "x").unwrap();
        program(&root, "whole", "$runs");
        program(&root, "half", "3");
        let (workspace, targets) = (Workspace::at(&root), ["whole", "half"].map(str::to_owned));
        let mut done = all(&workspace, &root, &targets, Plan::Fixed(6));
        done.sort_by_key(Result::is_err);
        let [Ok(whole), Err(half)] = done.as_slice() else { panic!("{done:?}") };
        assert_eq!(whole.inputs, 6);
        assert_eq!(half.to_string(), "half ended after 3 of 6 inputs");
        assert!(!old.exists(), "what was found before");
        let words = fs::read_to_string(root.join("whole.words")).unwrap();
        assert!(words.contains("-seed=1 ") && words.contains("-runs=6 "), "{words}");
        assert!(words.trim_end().ends_with("tests/fuzz/corpus/whole"), "{words}");
        let onward = one(&workspace, &root, "whole", Plan::Onward(7)).unwrap();
        assert_eq!(onward.inputs, 7);
        let words = fs::read_to_string(root.join("whole.words")).unwrap();
        assert!(!words.contains("-seed") && words.contains("target/fuzz/corpus/whole"), "{words}");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_target_that_breaks_is_an_error() {
        let broken =
            watch(Command::new("sh").args(["-c", "echo stat::number_of_executed_units: 5 >&2; exit 77"]));
        assert!(broken.unwrap_err().to_string().starts_with("exit status: 77"));
        let idle = watch(Command::new("sh").args(["-c", "exit 0"]));
        assert!(idle.unwrap_err().to_string().starts_with("no inputs"));
    }
}
