use std::ffi::OsStr;
use std::io;
use std::time::Duration;

use cowtrace_ebpf::config::{ABSENT, Config};
use unicode_width::UnicodeWidthStr as _;

use super::cgroup::Limit;
use super::machine::{Trial, Types};
use super::*;
use crate::kernel::capability::Effective;
use crate::kernel::fields::Fields;
use crate::kernel::hooks::HOOKS;
use crate::kernel::rung::{Means, Rung, Tracepoints, Way};

fn effective(mask: &str) -> Effective {
    Effective::of_status(&format!("CapEff:\t{mask}\n"))
}

/// A machine on which nothing is missing.
fn whole() -> Machine {
    Machine {
        release: "6.18.44-test".to_owned(),
        architecture: "x86_64".to_owned(),
        page_size: 4096,
        user: 0,
        capabilities: effective("000001ffffffffff"),
        seccomp: false,
        pid_namespace: Some("pid:[4026531836]".to_owned()),
        user_namespace: Some("user:[4026531837]".to_owned()),
        lockdown: Some("none".to_owned()),
        settings: vec![("kernel.perf_event_paranoid", "2".to_owned())],
        ptrace_scope: Some(1),
        types: Ok(Types {
            fields: Ok(Fields { config: Config::default(), missing: Vec::new() }),
            present: HOOKS.iter().collect(),
            means: Means { rung: Rung::Base, tracepoints: Tracepoints::Raw },
            preempted: Vec::new(),
        }),
        locked: Some(8 << 20),
        available: Some(1 << 30),
        limits: vec![Limit { path: "/sys/fs/cgroup/a".into(), limit: 1 << 30, used: 1 << 20 }],
        buffer: 64 << 20,
        trial: Trial::Worked { probes: 12, missing: Vec::new(), took: Duration::from_millis(45) },
    }
}

fn diagnosis(machine: &Machine) -> Diagnosis {
    let section = |about: &str, rows| Section { about: about.to_owned(), rows };
    let sections = vec![
        section("kernel", kernel::rows(machine)),
        section("privileges", privileges::rows(machine)),
        section("memory", memory::rows(machine)),
        section("probes", probes::rows(machine)),
    ];
    Diagnosis { sections }
}

/// The rows of a machine that are not ok, the rung's aside.
fn misses(machine: &Machine) -> Vec<Row> {
    let rows = diagnosis(machine).sections.into_iter().flat_map(|section| section.rows);
    rows.filter(|row| row.verdict != Verdict::Ok && row.check != "rung").collect()
}

/// The one row that is not ok after a change, with a verdict, a word of what was found and one of what to do.
fn one(change: impl FnOnce(&mut Machine), verdict: Verdict, check: &str, found: &str, next: &str) {
    let mut machine = whole();
    change(&mut machine);
    let rows = misses(&machine);
    let [row] = &rows[..] else { panic!("{check}: {rows:#?}") };
    assert_eq!((row.check, row.verdict), (check, verdict), "{row:?}");
    assert!(row.found.contains(found), "{row:?}");
    assert!(row.next.as_ref().is_some_and(|text| text.contains(next)), "{row:?}");
    assert_eq!(diagnosis(&machine).status(), u8::from(verdict == Verdict::Missing));
}

#[test]
fn a_whole_machine_has_no_misses() {
    assert_eq!(misses(&whole()), []);
    let rung = diagnosis(&whole()).sections.pop().unwrap().rows.pop().unwrap();
    assert!(rung.check == "rung" && rung.found.contains("get_user_pages"), "{rung:?}");
    assert_eq!(diagnosis(&whole()).status(), 0);
    let mut more = whole();
    more.types.as_mut().unwrap().means.rung = Rung::Functions(Way::Kprobes);
    let rung = diagnosis(&more).sections.pop().unwrap().rows.pop().unwrap();
    assert!(rung.verdict == Verdict::Ok && rung.found.starts_with("functions, by kprobe. "), "{rung:?}");
}

#[test]
fn each_miss_is_one_row_with_its_next_step() {
    use Verdict::{Limited, Missing, NotChecked};
    one(|m| m.release = "5.4.0".into(), Missing, "release", "5.4.0", "5.8");
    one(|m| m.release = "six".into(), NotChecked, "release", "six", "5.8");
    one(|m| m.architecture = "riscv64".into(), Missing, "architecture", "riscv64", "x86-64");
    for said in ["aarch64", "never been run", "interpreters", "native code", "store instruction"] {
        one(|m| m.architecture = "aarch64".into(), Limited, "architecture", said, "x86-64");
    }
    for found in [16384, 65536] {
        one(|m| m.page_size = found, Limited, "page size", &found.to_string(), "smaps");
    }
    one(|m| m.page_size = 1 << 20, Missing, "page size", "1048576", "64 KiB");
    one(|m| m.lockdown = Some("confidentiality".into()), Missing, "lockdown", "memory", "integrity");
    one(|m| m.pid_namespace = Some("pid:[1]".into()), Missing, "PID namespace", "container", "--pid=host");
    one(|m| m.user_namespace = Some("user:[1]".into()), Missing, "user namespace", "container", "rootless");
    one(|m| m.ptrace_scope = Some(3), Limited, "ptrace scope", "3", "below 3");
    one(|m| m.available = Some(40 << 20), Missing, "free memory", "40.0 MiB", "--buffer 16M");
    one(|m| m.available = None, NotChecked, "free memory", "meminfo", "/proc");
    one(|m| m.limits[0].used = (1 << 30) - (10 << 20), Missing, "cgroup limit", "10.0 MiB", "--buffer 4M");
    one(|m| m.limits[0].used = 1 << 30, Missing, "cgroup limit", "0 B", "free some memory");
    one(|m| m.trial = Trial::Failed("no".into()), Missing, "attaching", "no", "-v");
    let no_ptrace = "000001fffff7ffff";
    one(|m| m.capabilities = effective(no_ptrace), Limited, "capability", "CAP_SYS_PTRACE", "on the host");
    let fields =
        |missing| Fields { config: Config { task_thread_pointer: ABSENT, ..Config::default() }, missing };
    let lacking = |m: &mut Machine| {
        let types = m.types.as_mut().unwrap();
        types.fields = Ok(fields(vec!["Nothing is seen."]));
    };
    one(lacking, Limited, "structures", "Nothing is seen.", "newer");
}

#[test]
fn locked_memory_counts_on_old_kernels_alone() {
    let old = |m: &mut Machine| {
        m.release = "5.10.0".into();
        m.capabilities = effective("000000c000080000");
    };
    let row = |change: &dyn Fn(&mut Machine)| {
        let mut machine = whole();
        old(&mut machine);
        change(&mut machine);
        memory::rows(&machine).remove(0)
    };
    assert_eq!(row(&|_| {}).verdict, Verdict::Missing);
    assert_eq!(row(&|m| m.locked = None).verdict, Verdict::Ok);
    assert_eq!(row(&|m| m.locked = Some(64 << 20)).verdict, Verdict::Ok);
    assert_eq!(row(&|m| m.release = "5.11.0".into()).verdict, Verdict::Ok);
    assert_eq!(row(&|m| m.capabilities = effective("0000000001000000")).verdict, Verdict::Ok);
}

#[test]
fn tracepoints_that_are_missing_are_named_with_what_is_lost() {
    for hook in
        HOOKS.iter().filter(|hook| matches!(hook.attach, crate::kernel::hooks::Attach::RawTracepoint { .. }))
    {
        let mut machine = whole();
        if let Ok(types) = &mut machine.types {
            types.present.retain(|present| present.name() != hook.name());
        }
        let rows = misses(&machine);
        assert!(rows[0].found.contains(hook.name()) && rows[0].found.contains(hook.without), "{rows:?}");
        let required = hook.need == crate::kernel::hooks::Need::Required;
        assert_eq!(rows[0].verdict == Verdict::Missing, required, "{rows:?}");
        assert_eq!(diagnosis(&machine).status(), u8::from(required));
    }
}

#[test]
fn without_types_the_rest_is_not_checked() {
    let mut machine = whole();
    machine.types = Err(crate::kernel::Error::NoBtf);
    machine.trial = Trial::Untried;
    let rows = misses(&machine);
    let verdicts: Vec<_> = rows.iter().map(|row| (row.check, row.verdict)).collect();
    let unchecked = Verdict::NotChecked;
    let expected = [
        ("types (BTF)", Verdict::Missing),
        ("structures", unchecked),
        ("tracepoints", unchecked),
        ("attaching", unchecked),
    ];
    assert_eq!(verdicts, expected);
    assert!(rows[0].next.as_ref().unwrap().contains("CONFIG_DEBUG_INFO_BTF=y"));
    machine.types = Err(crate::kernel::Error::Unreadable {
        path: crate::kernel::btf::KERNEL,
        source: io::ErrorKind::PermissionDenied.into(),
    });
    assert!(misses(&machine)[0].next.as_ref().unwrap().contains("sudo"));
}

#[test]
fn a_user_without_rights_is_told_to_use_sudo() {
    let mut machine = whole();
    (machine.user, machine.capabilities, machine.trial) = (1000, Effective::default(), Trial::Untried);
    machine.lockdown = None;
    let rows = misses(&machine);
    let checks: Vec<_> = rows.iter().map(|row| row.check).collect();
    assert_eq!(checks, ["lockdown", "user", "capabilities", "attaching"]);
    assert!(rows.iter().all(|row| row.next.as_ref().unwrap().contains("sudo")), "{rows:?}");
    assert_eq!(diagnosis(&machine).status(), 1);
    machine.user = 0;
    let next = misses(&machine).into_iter().find(|row| row.check == "capabilities").unwrap().next.unwrap();
    assert!(next.contains("container"), "{next}");
}

#[test]
fn text_fits_its_width_and_json_has_the_same_rows() {
    let mut machine = whole();
    machine.types = Err(crate::kernel::Error::NoBtf);
    let mut diagnosis = diagnosis(&machine);
    diagnosis.sections.push(Section {
        about: "process 1 (\x1b[2J\n)".to_owned(),
        rows: vec![Row::ok("process", "a\u{202e}b\0 \"quoted\"")],
    });
    for width in [60, 80, 120] {
        let mut out = Vec::new();
        diagnosis.write(width, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in text.lines() {
            assert!(line.width() <= width, "{width}: {line}");
            assert!(!line.contains(char::is_control) && !line.contains('\u{202e}'), "{line:?}");
        }
        assert!(text.contains("-> boot a kernel"), "{text}");
        let last = text.split("\n\n").last().unwrap().replace('\n', " ");
        assert_eq!(last.trim(), "Not everything that cowtrace needs is here: 1 check fails; 3 not checked.");
    }
    let mut out = Vec::new();
    diagnosis.write_json(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!((text.matches('\n').count(), text.matches(char::is_control).count()), (1, 1));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["verdict"], "missing");
    let sections = value["sections"].as_array().unwrap();
    let rows: usize = sections.iter().map(|section| section["rows"].as_array().unwrap().len()).sum();
    assert_eq!(rows, diagnosis.sections.iter().map(|section| section.rows.len()).sum::<usize>());
    let row = &sections.last().unwrap()["rows"][0];
    assert_eq!((&row["found"], &row["next"]), (&"a\u{202e}b\0 \"quoted\"".into(), &serde_json::Value::Null));
    assert_eq!(sections[0]["rows"][4]["verdict"], "not_checked");
}

fn about(target: &str) -> Vec<Row> {
    target::section(OsStr::new(target), &whole()).rows
}

#[test]
fn processes_that_cannot_be_looked_at() {
    let first = |target: &str| {
        let mut rows = about(target);
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    };
    for gone in ["0", "2147483647", "99999999999999999999"] {
        let row = first(gone);
        assert_eq!(row.verdict, Verdict::Missing);
        assert!(row.found.contains("there is no process") && row.next.is_some(), "{row:?}");
    }
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = child.id().to_string();
    let stat = format!("/proc/{pid}/stat");
    while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    assert!(first(&pid).found.contains("zombie"));
    child.wait().unwrap();
    assert!(first(&pid).found.contains("there is no process"));
    let (tell, told) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        tell.send(nix::unistd::gettid()).unwrap();
        let _ = ended.recv();
    });
    let row = first(&told.recv().unwrap().to_string());
    assert!(row.found.contains(&format!("a thread of process {}", std::process::id())), "{row:?}");
    drop(end);
    thread.join().unwrap();
    // Where there is a kernel of one's own, 2 is its first thread's.
    if std::fs::read_to_string("/proc/2/comm").is_ok_and(|name| name.trim() == "kthreadd") {
        assert!(first("2").found.contains("thread of the kernel"));
    }
}

#[test]
fn this_process_has_no_interpreter_and_symbols() {
    let rows = about(&std::process::id().to_string());
    let checks: Vec<_> = rows.iter().map(|row| (row.check, row.verdict)).collect();
    let ok = Verdict::Ok;
    assert_eq!(checks, [("process", ok), ("interpreter", ok), ("symbols", ok)], "{rows:?}");
}

#[test]
fn programs() {
    let missing = about("no-such-program-here").remove(0);
    assert!(missing.verdict == Verdict::Missing && missing.next.unwrap().contains("sudo env"));
    assert_eq!(about("/no/such/program")[0].verdict, Verdict::Missing);
    assert_eq!(about("/")[0].verdict, Verdict::Missing);
    assert_eq!(about("")[0].verdict, Verdict::Missing);
    let rows = about("true");
    assert!(rows[0].verdict == Verdict::Ok && rows[1].found.starts_with("none"), "{rows:?}");
}
