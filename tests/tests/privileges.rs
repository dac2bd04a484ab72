//! What cowtrace needs, and what it gives up: a user without rights and a file with few capabilities are enough, and of
//! more nothing is left once the probes are attached.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cowtrace_tests::attach::{Attached, Stepped};
use cowtrace_tests::process::Output;
use cowtrace_tests::{Finished, Started, Trace, binary, check, needs, programs, seed};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A user that nothing belongs to.
const USER: u32 = 64321;

/// Numbers of capabilities, as in `<linux/capability.h>`.
const DAC_READ_SEARCH: u32 = 2;
const KILL: u32 = 5;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const SYS_NICE: u32 = 23;
const PERFMON: u32 = 38;
const BPF: u32 = 39;
const CHECKPOINT_RESTORE: u32 = 40;

/// A copy of cowtrace with these capabilities, in a folder of that user.
struct Capable(TempDir);

impl Capable {
    fn new(capabilities: &str) -> Self {
        let folder = TempDir::with_prefix_in("cowtrace-privileges-", "/tmp").expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        chown(folder.path(), Some(USER), Some(USER)).expect("root may");
        let program = folder.path().join("cowtrace");
        fs::copy(binary::cowtrace(), &program).expect("it can be copied");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
        if !capabilities.is_empty() {
            let set = Command::new("setcap").arg(format!("{capabilities}+ep")).arg(&program).status();
            assert!(set.expect("setcap (libcap2-bin) runs").success());
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Runs it as the user.
    fn run(&self, words: &[&str], command: &[&Path]) -> Finished {
        let user = USER.to_string();
        let mut run = Command::new("setpriv");
        run.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(self.path("cowtrace"));
        run.args(words).args(command).current_dir(self.0.path()).env_remove("SUDO_UID");
        Started::new(&mut run, b"", Output::Terminal, Duration::from_secs(180)).finish()
    }
}

/// What the report of script 5 is about: how often each operation and write was met on each line of the script, in how many
/// workers. Where a write did not happen in every run it is left out: which of the pool's workers get how many tasks is
/// chance.
fn answer(trace: &Trace, script: &Path, workers: usize) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let swaps = trace.faults.iter().filter(|fault| fault.operation.kind == "module_swap");
    for fault in swaps {
        let line = fault.line_in(script).expect("a line of the script");
        let (name, write) = (fault.operation.name.as_deref(), fault.write.name.as_deref());
        let op = fault.python.first().and_then(|frame| frame.op.as_deref());
        *found.entry(format!("line {line}: {name:?}, {write:?}, {op:?}")).or_insert(0) += 1;
    }
    // As many as there were workers with a task.
    found.values_mut().for_each(|count| *count = usize::from(*count == workers));
    found
}

fn traced_script_5(capable: Option<&Capable>) -> BTreeMap<String, usize> {
    let folder = TempDir::with_prefix_in("cowtrace-privileges-", "/tmp").expect("a temporary folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let script = folder.path().join("5_swap_same.py");
    fs::copy(seed::script("5_swap_same"), &script).expect("it can be copied");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let python = Path::new("/usr/bin/python3");
    let (trace, finished) = match capable {
        Some(capable) => {
            let path = capable.path("trace.jsonl");
            let finished =
                capable.run(&["-o", path.to_str().expect("UTF-8"), "--force", "--"], &[python, &script]);
            assert_eq!(finished.code(), 0, "{}", finished.stderr_text());
            let metadata = path.metadata().expect("the trace was written");
            assert_eq!((metadata.uid(), metadata.mode() & 0o777), (USER, 0o600), "owner and mode");
            (Trace::read(&path), finished)
        }
        None => {
            let run = cowtrace_tests::Run::new(python).arg(&script).on_terminal().timeout(180);
            let traced = run.reported();
            (traced.trace, traced.finished)
        }
    };
    check::nothing_lost(&trace);
    check::totals_add_up(&trace);
    let text = finished.stderr_words();
    assert!(text.contains("swap of sys.modules['statistics'] at 5_swap_same.py:8 (f)"), "{text}");
    assert_eq!(trace.header.interpreters.len(), 1, "{:?}", trace.header.interpreters);
    answer(&trace, &script, seed::workers(&finished.stdout_text()).len())
}

/// A user without rights gets the same answer as root: with every capability that `doctor` names, and with the two alone
/// without which there is no trace.
#[test]
fn file_capabilities_are_enough() {
    const ALL: &str =
        "cap_perfmon,cap_bpf,cap_sys_ptrace,cap_dac_read_search,cap_sys_nice,cap_checkpoint_restore";
    if !needs::tracing() {
        return;
    }
    let as_root = traced_script_5(None);
    assert_eq!(as_root.len(), 1, "{as_root:?}");
    assert_eq!(as_root.values().copied().collect::<Vec<_>>(), [1], "one swap in each worker: {as_root:?}");
    for capabilities in [ALL, "cap_perfmon,cap_bpf"] {
        assert_eq!(traced_script_5(Some(&Capable::new(capabilities))), as_root, "{capabilities}");
    }
}

/// With one of the two missing there is no trace but a sentence; `doctor` says which one it is.
#[test]
fn what_is_missing_is_named() {
    if !needs::tracing() {
        return;
    }
    for (has, lacks) in
        [("", "CAP_PERFMON, no CAP_BPF"), ("cap_perfmon", "CAP_BPF"), ("cap_bpf", "CAP_PERFMON")]
    {
        let capable = Capable::new(has);
        let finished = capable.run(&["--"], &[Path::new("/bin/true")]);
        let text = finished.stderr_text();
        assert!(finished.code() == 125 && text.contains("needs root"), "{has}: {text}");
        assert_eq!(text.lines().count(), 1, "{has}: {text}");
        let doctor = capable.run(&["doctor"], &[]).stdout_text();
        assert!(doctor.contains(&format!("no {lacks}")), "{has}: {doctor}");
    }
    let doctor = Capable::new("cap_perfmon,cap_bpf").run(&["doctor"], &[]).stdout_text();
    for optional in ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_CHECKPOINT_RESTORE"] {
        assert!(doctor.contains(&format!("no {optional}:")), "{doctor}");
    }
}

/// Each thread's name and capabilities, and whether it cannot gain others.
fn threads(pid: Pid) -> Vec<(String, u64, bool)> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten() {
        // It may have ended since the folder was read.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
            line.trim_start_matches(':').trim().to_owned()
        };
        let mask = |name: &str| u64::from_str_radix(&field(name), 16).expect("a mask");
        assert_eq!(mask("CapEff"), mask("CapPrm"), "nothing is kept back: {status}");
        found.push((field("Name"), mask("CapPrm"), field("NoNewPrivs") == "1"));
    }
    found
}

/// Once it traces, no thread of it has what loads and attaches; what it has, it cannot get more of.
#[test]
fn privileges_are_given_up() {
    if !needs::tracing() {
        return;
    }
    let mut pool = Stepped::start(Command::new(programs::built("attached")).args(["pool", "1"]));
    pool.until("ready");
    let attached = Attached::start(&["-q", "-p", &pool.pid().to_string()]);
    let bits = |numbers: &[u32]| numbers.iter().fold(0_u64, |mask, number| mask | 1 << number);
    let reading = bits(&[DAC_READ_SEARCH, SYS_PTRACE, BPF, CHECKPOINT_RESTORE]);
    let session = reading | bits(&[KILL, SYS_NICE]);
    // Each does it first of all, but on a busy machine that may be a moment after the trace has begun.
    let until = Instant::now() + Duration::from_secs(60);
    let threads = loop {
        let threads = threads(attached.started.pid());
        let reads = |name: &str| threads.contains(&(name.to_owned(), reading, true));
        if ["ring", "unwind", "attribute"].into_iter().all(reads) {
            break threads;
        }
        assert!(Instant::now() < until, "{threads:x?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    for (name, mask, closed) in &threads {
        assert!(mask & !session == 0 && *closed, "thread {name} has {mask:x}: {threads:x?}");
        assert_eq!(mask & bits(&[SYS_ADMIN, PERFMON]), 0, "{name}");
    }
    let traced = attached.interrupt();
    check::totals_add_up(&traced.trace);
    pool.next();
    pool.until("written");
    pool.next();
    pool.end();
}
