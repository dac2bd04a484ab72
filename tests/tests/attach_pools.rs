//! Pools that run already: what Python's workers copy is named as under launch; a server that is under load does not
//! notice; a control group is followed whoever comes into it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cowtrace_tests::attach::{Attached, Stepped};
use cowtrace_tests::process::descendants;
use cowtrace_tests::{Fault, Run, Trace, check, consumers, needs, programs};
use nix::unistd::Pid;
use serde::Deserialize;

/// Debian's interpreter.
const PYTHON: &str = "/usr/bin/python3.11";

/// What the script says about itself.
#[derive(Debug, Deserialize)]
struct Told {
    pids: Vec<u32>,
    start: u64,
    end: u64,
}

/// The workers' copies at the end of each marked line, by what was written.
fn at_lines(trace: &Trace, told: &Told, script: &Path) -> BTreeMap<(&'static str, String), usize> {
    let mut counts = BTreeMap::new();
    for line in ["# the swap", "# the reading", "# the collection", "# the buffer"] {
        let number = programs::line_ending(script, line);
        for fault in copies(trace, told).filter(|fault| fault.line_in(script) == Some(number)) {
            *counts.entry((line, fault.write.kind.clone())).or_default() += 1;
        }
    }
    counts
}

fn copies<'a>(trace: &'a Trace, told: &'a Told) -> impl Iterator<Item = &'a Fault> {
    trace.faults.iter().filter(|fault| told.pids.contains(&fault.pid) && fault.outcome == "copy")
}

fn named(trace: &Trace, told: &Told) -> f64 {
    let (mut all, mut known) = (0.0, 0.0);
    for fault in copies(trace, told) {
        all += 1.0;
        known += f64::from(u8::from(fault.write.kind != "unknown" && fault.operation.kind != "unknown"));
    }
    known / all
}

fn told(stdout: &str) -> Told {
    serde_json::from_str(stdout.lines().last().expect("a line")).expect("the script prints one JSON object")
}

/// Workers that were forked before the attach: their lines, and what they wrote there, are told as when cowtrace ran the
/// script, by the same numbers but for a few pages; so is the swap of a module.
#[test]
fn python_workers_are_explained_as_under_launch() {
    if !needs::tracing() {
        return;
    }
    let script = programs::workload("attached.py");
    let launched = Run::new(PYTHON).arg(&script).input(b"\n\n").trace();
    let mut pool = Stepped::start(Command::new(PYTHON).arg(&script));
    pool.until("ready");
    let attached = Attached::start(&["-p", &pool.pid().to_string()]);
    pool.next();
    let output = pool.until("pids");
    let traced = attached.interrupt();
    pool.next();
    pool.end();
    check::nothing_lost(&traced.trace);
    check::totals_add_up(&traced.trace);
    assert_eq!(traced.trace.header.interpreters.len(), 1, "{:?}", traced.trace.header);
    let (launched_told, attached_told) = (told(&launched.finished.stdout_text()), told(&output));
    let expected = at_lines(&launched.trace, &launched_told, &script);
    let found = at_lines(&traced.trace, &attached_told, &script);
    for line in ["# the swap", "# the reading", "# the collection", "# the buffer"] {
        let is_here = |(key, _): &(&(&str, String), &usize)| key.0 == line;
        let most = expected.iter().filter(is_here).max_by_key(|(_, count)| **count);
        let ((_, kind), expected) = most.unwrap_or_else(|| panic!("nothing at {line}: {expected:?}"));
        let found = found.get(&(line, kind.clone())).copied().unwrap_or_default();
        let near = expected.abs_diff(found) * 100 <= expected * 5 + 400;
        assert!(near && found > 0, "{kind} at {line}: {found}, under launch {expected}");
    }
    let swaps = |trace: &Trace| {
        let swaps = trace.faults.iter().filter(|fault| fault.operation.kind == "module_swap");
        swaps.filter_map(|fault| fault.operation.name.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    let at_swap = copies(&traced.trace, &attached_told)
        .filter(|fault| fault.line_in(&script) == Some(programs::line_ending(&script, "# the swap")));
    assert!(swaps(&traced.trace).contains("module_500"), "{:?}", check::operations(at_swap));
    let buffer = copies(&traced.trace, &attached_told)
        .filter(|fault| (attached_told.start..attached_told.end).contains(&fault.address))
        .filter(|fault| fault.write.kind == "buffer")
        .count() as u64;
    let pages = (attached_told.end - attached_told.start) / 4096 * 2;
    assert!(buffer.abs_diff(pages) <= 4, "{buffer} of {pages} pages of the buffer");
    let shares = [named(&launched.trace, &launched_told), named(&traced.trace, &attached_told)];
    println!("named under launch {:.4}, attached {:.4}", shares[0], shares[1]);
    assert!(shares[1] >= 0.98 && shares[1] + 0.01 >= shares[0], "{shares:?}");
}

/// An HTTP answer: its status and its body.
fn ask(port: u16, path: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

/// So many different paths are asked for.
const PATHS: usize = 20_000;

/// What the application answers, by its own word, outside of any server.
fn right_answers(python: &Path, script: &Path) -> Vec<(String, String)> {
    let output = Command::new(python).arg(script).arg(PATHS.to_string()).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the script prints one JSON array")
}

/// Asks one after the other until it is told to stop; how many answers there were. Each must be right.
fn hammer(port: u16, first: usize, expected: &[(String, String)], stop: &AtomicBool) -> usize {
    let mut answers = 0;
    while !stop.load(Ordering::Relaxed) {
        let number = (first + answers) % PATHS;
        let (status, body) = ask(port, &format!("/{number}")).expect("an answer");
        let right = &expected[number];
        assert_eq!(
            (status.strip_prefix("HTTP/1.1 "), &body),
            (Some(right.0.as_str()), &right.1),
            "/{number}"
        );
        answers += 1;
    }
    answers
}

/// A gunicorn under load is attached to, and let go, again and again: every answer is what it was, no worker is another, and
/// what its workers copy is explained.
#[test]
fn a_server_under_load_does_not_notice() {
    let (true, Some(python)) = (needs::tracing(), consumers::python()) else { return };
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        free.local_addr().expect("an address").port()
    };
    let gunicorn: PathBuf = python.with_file_name("gunicorn");
    assert!(gunicorn.exists(), "gunicorn is not in {}", python.display());
    let workloads = programs::workload("service.py").parent().expect("a folder").to_owned();
    let mut command = Command::new(&gunicorn);
    command.args(["--preload", "--workers", "2", "--log-level", "warning", "--no-control-socket"]);
    command.arg("--chdir").arg(&workloads).arg("--bind").arg(format!("127.0.0.1:{port}"));
    command.arg("service:application").env("PYTHONDONTWRITEBYTECODE", "1");
    let server = Stepped::start(&mut command);
    let until = Instant::now() + Duration::from_secs(30);
    let master = Pid::from_raw(i32::try_from(server.pid()).expect("pids are small"));
    while ask(port, "/0").is_err() || descendants(master).len() < 2 {
        assert!(Instant::now() < until, "the server never answered");
        std::thread::sleep(Duration::from_millis(50));
    }
    let workers = descendants(master);
    let expected = right_answers(&python, &workloads.join("service.py"));
    assert!(expected[0].0.contains("200") && expected[7].0.contains("404"), "{:?}", &expected[..8]);
    let stop = AtomicBool::new(false);
    let (answers, traces) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|client| {
                let (expected, stop) = (&expected, &stop);
                scope.spawn(move || hammer(port, client * PATHS / 3, expected, stop))
            })
            .collect();
        let traces: Vec<Trace> = (0..3)
            .map(|_| {
                let attached = Attached::start(&["-p", &server.pid().to_string()]);
                std::thread::sleep(Duration::from_secs(1));
                attached.interrupt().trace
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        let answers: usize =
            clients.into_iter().map(|client| client.join().expect("every answer is right")).sum();
        (answers, traces)
    });
    println!("{answers} answers");
    assert!(answers > 300, "{answers} answers while it was traced");
    assert_eq!(descendants(master), workers, "the same workers");
    for trace in &traces {
        check::nothing_lost(trace);
        check::totals_add_up(trace);
        assert_eq!(trace.processes.len(), 3);
        assert!(trace.processes.iter().all(|process| process.attached && process.end.is_none()));
    }
    let copied: u64 = traces.iter().map(|trace| trace.summary.copies).sum();
    let lines = traces
        .iter()
        .flat_map(|trace| &trace.faults)
        .filter(|fault| fault.python.iter().any(|frame| frame.file.ends_with("service.py")));
    let lines = lines.count();
    println!("{copied} copies, {lines} faults in the application");
    assert!(lines > 0, "what the application did has its frames");
}

/// A control group is followed: who is in it, what is forked there, and who is moved into it later or started there.
#[test]
fn a_control_group_is_followed() {
    if !needs::tracing() {
        return;
    }
    let Some(group) = Group::new() else { return };
    let spawn = |group: &Group| {
        let mut command = Command::new("sh");
        // Into the group, then another program.
        command.arg("-c").arg(format!("echo $$ > {}/cgroup.procs; exec \"$0\" pool 1", group.path.display()));
        let mut pool = Stepped::start(command.arg(programs::built("attached")));
        pool.until("ready");
        pool
    };
    let mut first = spawn(&group);
    let name = format!("/{}", group.path.file_name().expect("a name").to_string_lossy());
    let attached = Attached::start(&["--cgroup", &name]);
    let mut second = spawn(&group);
    // Moved: it neither forks nor executes anything.
    let mut third = Stepped::start(Command::new(programs::built("attached")).args(["pool", "1"]));
    third.until("ready");
    for pid in descendants(Pid::from_raw(third.pid().cast_signed())).into_iter().map(Pid::as_raw) {
        std::fs::write(group.path.join("cgroup.procs"), pid.to_string()).expect("it can be moved");
    }
    std::fs::write(group.path.join("cgroup.procs"), third.pid().to_string()).expect("it can be moved");
    std::thread::sleep(Duration::from_millis(1500));
    let mut facts = Vec::new();
    for pool in [&mut first, &mut second, &mut third] {
        pool.next();
        facts.extend(cowtrace_tests::facts::parse(&pool.until("written")));
    }
    let traced = attached.interrupt();
    check::nothing_lost(&traced.trace);
    check::totals_add_up(&traced.trace);
    assert_eq!(traced.trace.header.cgroup.as_deref(), Some(name.as_str()));
    for fact in &facts {
        let faults = traced.trace.faults_of(fact.pid).filter(|fault| fault.outcome == fact.outcome);
        let there = faults.filter(|fault| (fact.start..fact.end).contains(&fault.address)).count() as u64;
        assert_eq!(there, fact.pages, "{fact:?}");
    }
    for pool in [&mut first, &mut second, &mut third] {
        pool.next();
        pool.end();
    }
}

/// A control group of version 2, removed when this is dropped.
struct Group {
    path: PathBuf,
}

impl Group {
    /// `None`, which is said, if there can be none here.
    fn new() -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("/proc");
        let line = mounts.lines().find(|line| line.contains(" - cgroup2 "));
        let mount = line.and_then(|line| line.split(' ').nth(4)).map(PathBuf::from);
        let path = mount.map(|mount| mount.join(format!("cowtrace-test-{}", std::process::id())));
        match path.map(|path| std::fs::create_dir(&path).map(|()| path)) {
            Some(Ok(path)) => Some(Self { path }),
            other => {
                needs::skipped(&format!("no control group can be made here: {other:?}"));
                None
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let until = Instant::now() + Duration::from_secs(5);
        // Its processes need a moment to be gone.
        while std::fs::remove_dir(&self.path).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
