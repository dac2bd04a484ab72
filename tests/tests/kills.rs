//! cowtrace is killed at any moment: nothing of it stays in the kernel, nobody stays stopped, and the traced program never
//! hears of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use cowtrace_tests::attach::{Attached, Stepped};
use cowtrace_tests::loaded::{Kind, Loaded, Names, held_by, loaded};
use cowtrace_tests::process::{Output, descendants, expect_state, state_of};
use cowtrace_tests::{Run, Started, binary, group, needs, patience, programs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const KILLS: u64 = 100;
/// How long a machine that is busy with other things may take for what is done at once.
const PATIENCE: Duration = Duration::from_secs(60);
/// Children of the traced command.
const CHILDREN: usize = 6;

/// xorshift, which is as random as it needs to be.
struct Random(u64);

impl Random {
    /// `COWTRACE_SEED`, or the clock.
    fn seed() -> u64 {
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
        let seed = std::env::var("COWTRACE_SEED").ok().and_then(|text| text.parse().ok());
        seed.unwrap_or_else(|| u64::try_from(clock.as_nanos()).unwrap_or(1) | 1)
    }

    /// Something from nothing up to this.
    fn within(&mut self, most: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let most = u64::try_from(most.as_micros()).expect("a short time");
        Duration::from_micros(self.0 % most.max(1))
    }
}

/// How far a cowtrace has come, as what it holds in the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It holds nothing: not yet, but for the moment between its letting go and its end.
    Before,
    /// It loads.
    Loading,
    /// Something is attached.
    Attached,
    /// Its end came first.
    Ended,
}

fn stage(of: &Started) -> (Stage, Loaded) {
    let held = held_by(of.pid());
    let stage = if held.iter().any(|(kind, _)| *kind == Kind::Link) {
        Stage::Attached
    } else if !held.is_empty() {
        Stage::Loading
    } else if state_of(of.pid()).as_deref() == Some("Z") {
        Stage::Ended
    } else {
        Stage::Before
    };
    (stage, held)
}

/// Waits until it has come as far as that, or farther.
fn until(started: &Started, least: Stage) {
    let deadline = Instant::now() + PATIENCE * patience();
    while stage(started).0 < least {
        assert!(Instant::now() < deadline, "{started:?} never came as far as {least:?}");
        sleep(Duration::from_micros(500));
    }
}

/// Waits until none of these is in the kernel.
fn freed(what: &str, left: impl Fn() -> Loaded) {
    let deadline = Instant::now() + PATIENCE * patience();
    loop {
        let left = left();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: left in the kernel: {left:?}");
        sleep(Duration::from_millis(20));
    }
}

/// What cowtrace does when it is killed.
#[derive(Clone, Copy, Debug)]
enum Doing {
    /// It attaches to a pool that waits, and traces it.
    Attaching,
    /// It runs a command to its end.
    Running,
    /// It runs a command that is not at its end before cowtrace is.
    Outlived,
}

/// A pool, and a file for which a command waits.
struct Scene {
    pool: Stepped,
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let mut pool = Stepped::start(Command::new(programs::built("attached")).args(["pool", "1"]));
        pool.until("ready");
        Self { pool, folder: TempDir::with_prefix("cowtrace-test-").expect("a temporary folder") }
    }

    fn go(&self) -> PathBuf {
        self.folder.path().join("go")
    }

    fn start(&self, doing: Doing) -> Started {
        let overload = programs::built("overload");
        match doing {
            Doing::Attaching => {
                let mut command = Command::new(binary::cowtrace());
                command.args(["-q", "-p", &self.pool.pid().to_string()]);
                Started::new(&mut command, b"", Output::Pipe, PATIENCE)
            }
            Doing::Running => Run::new(overload).args([&CHILDREN.to_string(), "256", "2"]).flag("-q").start(),
            Doing::Outlived => {
                if self.go().exists() {
                    fs::remove_file(self.go()).expect("it is ours");
                }
                let script = format!(
                    "echo ready; until [ -e '{}' ]; do sleep 0.02; done; exec '{}' {CHILDREN} 256 2",
                    self.go().display(),
                    overload.display()
                );
                Run::new("/bin/sh").arg("-c").arg(&script).flag("-q").start()
            }
        }
    }

    /// How long one that nobody kills takes to come to each stage.
    fn course(&self, doing: Doing) -> Course {
        let begun = Instant::now();
        let started = self.start(doing);
        until(&started, Stage::Loading);
        let loading = begun.elapsed();
        until(&started, Stage::Attached);
        let attached = begun.elapsed();
        match doing {
            Doing::Attaching => started.expect_error("press Ctrl-C"),
            Doing::Running => until(&started, Stage::Ended),
            Doing::Outlived => started.expect_output("ready"),
        }
        Course { loading, attached, end: begun.elapsed() }
    }
}

/// When a cowtrace that is left alone comes to its stages.
#[derive(Debug)]
struct Course {
    loading: Duration,
    attached: Duration,
    /// It traces, and waits; or it has ended.
    end: Duration,
}

impl Course {
    /// Waits for one of four: any moment; any before it loads; any since it loads; any since something is attached. The
    /// moments are random; those that are told by what was seen come on the slowest machine, too.
    fn moment(&self, round: u64, doing: Doing, started: &Started, random: &mut Random) -> String {
        let (since, most) = match round % 4 {
            0 => (None, self.end),
            1 => (None, self.loading),
            2 => (Some(Stage::Loading), self.attached.saturating_sub(self.loading)),
            _ => (Some(Stage::Attached), self.end.saturating_sub(self.attached)),
        };
        if let Some(stage) = since {
            until(started, stage);
        }
        if since == Some(Stage::Attached) && matches!(doing, Doing::Outlived) {
            started.expect_output("ready");
        }
        // One of each at once.
        let after = if round < 4 { Duration::ZERO } else { random.within(most) };
        sleep(after);
        format!("{after:?} after {since:?}")
    }
}

/// A hundred times at a random moment between its first instruction and its last.
#[test]
fn a_hundred_times() {
    if !needs::tracing() {
        return;
    }
    let begun = Instant::now();
    let seed = Random::seed();
    println!("COWTRACE_SEED={seed}");
    let mut random = Random(seed);
    let mut scene = Scene::new();
    let there = descendants(Pid::this());
    let attached = Attached::start(&["-q", "-p", &scene.pool.pid().to_string()]);
    let names = Names::of(&held_by(attached.started.pid()));
    assert!(names.count(Kind::Program) > 1 && names.count(Kind::Map) > 1, "{names:?}");
    drop(attached);
    let all = [Doing::Attaching, Doing::Running, Doing::Outlived];
    let courses = all.map(|doing| (doing, scene.course(doing)));
    println!("{courses:?}");
    let mut stages = BTreeMap::new();
    let (mut unaware, mut never) = (0, 0);
    for number in 0..KILLS {
        let (doing, course) = &courses[usize::try_from(number % 3).expect("a small number")];
        let started = scene.start(*doing);
        let moment = course.moment(number / 3, *doing, &started, &mut random);
        let (stage, held) = stage(&started);
        *stages.entry(stage).or_insert(0) += 1;
        let what = format!("kill {number}, {doing:?}, {stage:?}, {moment}");
        let group = started.pid();
        let has_begun = started.output_so_far().contains("ready");
        // It alone: its command is in the same process group.
        kill(group, Signal::SIGKILL).expect("it is our child and was not waited for");
        if has_begun {
            assert!(group::members(group).iter().any(|pid| *pid != group), "{what}: its command");
        }
        fs::write(scene.go(), "").expect("the folder is ours");
        // Its command's output ends with the command.
        let finished = started.finish();
        freed(&what, || held.intersection(&loaded()).copied().collect());
        let deadline = Instant::now() + PATIENCE * patience();
        while let members @ [_, ..] = &group::members(group)[..] {
            assert!(Instant::now() < deadline, "{what}: {members:?} do not end");
            sleep(Duration::from_millis(2));
        }
        let output = finished.stdout_text();
        // The command was not yet let go, or it has done all that it does.
        let is_whole = output.ends_with("done\n")
            && output.lines().filter(|line| line.starts_with("child ")).count() == CHILDREN;
        assert!(output.is_empty() || is_whole, "{what}: {output}");
        match finished.code() {
            // It was faster, and so was the command.
            0 => assert!(is_whole && !matches!(doing, Doing::Outlived), "{what}: {finished:?}"),
            code => assert_eq!(code, 137, "{what}: {}", finished.stderr_text()),
        }
        assert!(is_whole || !has_begun, "{what}: {output}");
        unaware += u32::from(has_begun);
        never += u32::from(output.is_empty() && !matches!(doing, Doing::Attaching));
        assert_eq!(descendants(Pid::this()), there, "{what}: processes of this test");
        for pid in &there {
            expect_state(*pid, "S");
        }
    }
    println!(
        "{stages:?} of {KILLS}, {unaware} while a command ran, {never} before it was let go, {:?}",
        begun.elapsed()
    );
    for stage in [Stage::Before, Stage::Loading, Stage::Attached] {
        assert!(stages.contains_key(&stage), "{stage:?}: {stages:?}");
    }
    assert!(unaware > 0 && never > 0);
    // Also what one had made between our look and its end.
    freed("at the end", || names.orphans());
    scene.pool.next();
    scene.pool.until("written");
    scene.pool.next();
    scene.pool.end();
}
