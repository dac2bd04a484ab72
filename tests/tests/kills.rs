//! cowtrace is killed at any moment: nothing of it stays in the kernel, nobody stays stopped, and the traced program never
//! hears of it.

use std::collections::HashSet;
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use aya::programs::{loaded_links, loaded_programs};
use cowtrace_tests::attach::{Attached, Stepped};
use cowtrace_tests::process::{Output, descendants, state_of};
use cowtrace_tests::{Run, Started, binary, needs, programs};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// Half of them while it attaches to what runs, half while it runs a command.
const KILLS: u64 = 100;
/// How long the kernel may take to free what nobody holds.
const FREED: Duration = Duration::from_secs(20);

/// Kind and number of something in the kernel.
type Held = HashSet<(&'static str, u32)>;

/// What the file descriptors of a process hold.
fn held(pid: i32, into: &mut Held) {
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        for line in text.lines() {
            let Some((name, number)) = line.split_once(':') else { continue };
            let kind = match name {
                "prog_id" => "program",
                "link_id" => "link",
                "map_id" => "map",
                _ => continue,
            };
            into.insert((kind, number.trim().parse().expect("a number")));
        }
    }
}

/// The kernel's lists of programs, links and maps.
fn loaded() -> Held {
    let programs = loaded_programs().flatten().map(|program| ("program", program.id()));
    let links = loaded_links().flatten().map(|link| ("link", link.id()));
    let maps = aya::maps::loaded_maps().flatten().map(|map| ("map", map.id()));
    programs.chain(links).chain(maps).collect()
}

/// What every living process holds; somebody else may be tracing.
fn held_by_anybody() -> Held {
    let mut all = Held::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        if let Ok(pid) = entry.file_name().to_string_lossy().parse() {
            held(pid, &mut all);
        }
    }
    all
}

/// Waits until none of these is in the kernel.
fn freed(what: &str, left: impl Fn() -> Held) {
    let until = Instant::now() + FREED;
    loop {
        let left = left();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "{what}: left in the kernel: {left:?}");
        sleep(Duration::from_millis(20));
    }
}

/// xorshift, which is as random as it needs to be.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most.max(1)
    }
}

fn command() -> Run {
    Run::new(programs::built("overload")).args(["6", "256", "2"])
}

/// A hundred times at a random moment between its first instruction and its last.
#[test]
fn a_hundred_times() {
    if !needs::tracing() {
        return;
    }
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    let seed = std::env::var("COWTRACE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::try_from(clock.as_nanos()).unwrap_or(1) | 1);
    println!("COWTRACE_SEED={seed}");
    let mut random = Random(seed);
    let before = loaded();
    let mut pool = Stepped::start(Command::new(programs::built("attached")).args(["pool", "1"]));
    pool.until("ready");
    let pid = pool.pid().to_string();
    let there = descendants(Pid::this());
    // How long it takes until it traces, and until it has ended.
    let begun = Instant::now();
    drop(Attached::start(&["-q", "-p", &pid]));
    let attaching = micros(begun);
    let begun = Instant::now();
    assert_eq!(command().flag("-q").cowtrace().code(), 0);
    let running = micros(begun);
    let (mut whole, mut holding) = (0, 0);
    for round in 0..KILLS {
        let attaches = round % 2 == 0;
        let (started, longest) = if attaches {
            let mut command = Command::new(binary::cowtrace());
            command.args(["-q", "-p", &pid]);
            let started = Started::new(&mut command, b"", Output::Pipe, Duration::from_secs(60));
            (started, attaching * 5 / 4)
        } else {
            (command().flag("-q").start(), running)
        };
        let after = random.below(longest);
        sleep(Duration::from_micros(after));
        let mut ours = Held::new();
        held(started.pid().as_raw(), &mut ours);
        holding += u32::from(!ours.is_empty());
        // It alone: its command is in the same process group.
        let killed = nix::sys::signal::kill(started.pid(), Signal::SIGKILL);
        killed.expect("it is our child and was not waited for");
        let what = format!("kill {round} after {after} us, attaching: {attaches}");
        // Its command's output ends with the command.
        let finished = started.finish();
        freed(&what, || ours.intersection(&loaded()).copied().collect());
        let output = finished.stdout_text();
        if finished.code() == 0 {
            // It was faster, and so was the command.
            assert!(output.ends_with("done\n"), "{what}: {finished:?}");
            continue;
        }
        assert_eq!(finished.code(), 137, "{what}: {}", finished.stderr_text());
        // The command was not yet let go, or it has done all that it does.
        let lines = output.lines().filter(|line| line.starts_with("child ")).count();
        let is_whole = output.ends_with("done\n") && lines == 6;
        assert!(output.is_empty() || is_whole, "{what}: {output}");
        whole += u32::from(is_whole);
        assert_eq!(descendants(Pid::this()), there, "{what}: processes of this test");
        for pid in &there {
            assert_eq!(state_of(*pid).as_deref(), Some("S"), "{what}: process {pid} goes on waiting");
        }
    }
    println!("{holding} of {KILLS} while it held something in the kernel, {whole} while its command ran");
    assert!(holding > 0);
    // Also what it had made between our look and its end. Maps are held by programs too, of whoever traces here.
    freed("at the end", || {
        let held = held_by_anybody();
        let new = loaded().into_iter().filter(|one| one.0 != "map" && !before.contains(one));
        new.filter(|one| !held.contains(one)).collect()
    });
    pool.next();
    pool.until("written");
    pool.next();
    pool.end();
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).expect("a short time")
}
