//! Checks of one process or program: what runs in it, and how much of that is seen.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use cowtrace_ebpf::config::ABSENT;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, Uid, User, geteuid};
use procfs::process::{Process, StatFlags};

use super::machine::Machine;
use super::program;
use super::{Row, Section};
use crate::interp::{self, Discovery, Language, Reason};
use crate::memory::Live;
use crate::process::maps::{Kind, Maps};
use crate::process::object::Object;
use crate::record::schema::Interpreter;
use crate::report::numbers::{count, counted};

const SUDO: &str = "run it with sudo";

/// Looks at what one word names: digits are a process, all else is a program.
pub(super) fn section(target: &OsStr, machine: &Machine) -> Section {
    let text = target.to_string_lossy();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return process(&text, machine);
    }
    Section { about: format!("program {text}"), rows: program::rows(target, machine) }
}

fn process(number: &str, machine: &Machine) -> Section {
    let about = format!("process {number}");
    // A number too large for any process names none.
    let pid = number.parse::<i32>().ok().filter(|pid| *pid > 0);
    match pid.ok_or(Row::missing("process", gone(number), GONE)).and_then(|pid| alive(pid, number)) {
        Ok(alive) => {
            Section { about: format!("{about} ({})", alive.name), rows: of_process(&alive, machine) }
        }
        Err(row) => Section { about, rows: vec![row] },
    }
}

/// A process that may be looked at.
struct Alive {
    pid: u32,
    /// As the kernel has it, 15 bytes at most.
    name: String,
    owner: String,
    maps: Maps,
}

const GONE: &str = "`pgrep -a NAME` lists those that there are";

fn gone(number: &str) -> String {
    format!("there is no process {number}: it has ended, or never was")
}

/// # Errors
/// With the row that says why it cannot be looked at.
fn alive(pid: i32, number: &str) -> Result<Alive, Row> {
    const CHECK: &str = "process";
    let missing = |found: String, next: &str| Err(Row::missing(CHECK, found, next));
    if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
        return missing(gone(number), GONE);
    }
    let process = Process::new(pid);
    let facts = process.and_then(|process| Ok((process.stat()?, process.status()?)));
    let Ok((stat, status)) = facts else {
        return Err(not_yours(pid, "another user"));
    };
    if status.tgid != pid {
        let next = format!("name its process: `cowtrace doctor {}`", status.tgid);
        return missing(format!("{pid} is a thread of process {}", status.tgid), &next);
    }
    if stat.flags().is_ok_and(|flags| flags.contains(StatFlags::PF_KTHREAD)) {
        return missing(
            format!("{pid} is a thread of the kernel: it has no memory of its own"),
            "name a program's process",
        );
    }
    if matches!(stat.state, 'Z' | 'X') {
        let found = format!("{pid} has ended and waits for its parent (a zombie): it has no memory any more");
        return missing(found, "name a process that runs");
    }
    let user = User::from_uid(Uid::from_raw(status.euid)).ok().flatten();
    let owner = user.map_or_else(|| format!("user {}", status.euid), |user| user.name);
    let pid_number = pid.unsigned_abs();
    match Maps::of(pid_number) {
        Ok(maps) if maps.iter().next().is_some() => {
            Ok(Alive { pid: pid_number, name: stat.comm, owner, maps })
        }
        // Between the look at its state and this one.
        Ok(_) => missing(gone(number), GONE),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => missing(gone(number), GONE),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(not_yours(pid, &owner)),
        Err(error) => Err(Row::not_checked(CHECK, format!("its mappings cannot be read: {error}"), SUDO)),
    }
}

fn not_yours(pid: i32, owner: &str) -> Row {
    let next = if geteuid().is_root() {
        "a sandbox or a security module keeps root from it, too: run it outside of that"
    } else {
        SUDO
    };
    Row::not_checked("process", format!("{pid} belongs to {owner}: you may not look at it"), next)
}

fn of_process(alive: &Alive, machine: &Machine) -> Vec<Row> {
    let Alive { pid, owner, maps, .. } = alive;
    let exe = format!("/proc/{pid}/exe");
    let path = std::fs::read_link(&exe).unwrap_or_default();
    let mut rows = vec![Row::ok("process", format!("{}, of {owner}", path.display()))];
    let mut library = None;
    match interp::discover(*pid, maps, &Live::new(*pid)) {
        Discovery::Found(found) => {
            rows.extend(known(&found.interpreter, found.language, machine));
            library = found.interpreter.path.clone().into();
        }
        Discovery::Unsupported { interpreter, reason } => {
            rows.push(unknown(&interpreter, &reason));
            library = Some(interpreter.path);
        }
        Discovery::NotYet => rows.push(Row::not_checked(
            INTERPRETER,
            "one is mapped that has not started yet, or has ended",
            "ask again in a moment",
        )),
        Discovery::None => rows.push(none()),
    }
    rows.push(names(Object::open(Path::new(&exe)).as_ref().ok(), &path));
    let library = library.filter(|library| Path::new(library) != path);
    let is_it = |mapping: &&crate::process::maps::Mapping| {
        mapping.kind == Kind::File && mapping.path_to_show() == library
    };
    if let Some(mapping) = maps.iter().find(is_it) {
        let object = Object::of_mapping(*pid, mapping).ok();
        rows.push(names(object.as_ref(), mapping.path.as_deref().unwrap_or(Path::new(""))));
    }
    rows
}

const INTERPRETER: &str = "interpreter";

/// Nothing whose frames could be walked.
pub(super) fn none() -> Row {
    Row::ok(INTERPRETER, "none that cowtrace knows: attribution by native symbols")
}

/// An interpreter whose frames can be walked.
pub(super) fn known(interpreter: &Interpreter, language: &dyn Language, machine: &Machine) -> Vec<Row> {
    let Interpreter { name, version, path, layout } = interpreter;
    let layout = layout.as_deref().unwrap_or("none");
    let mut rows = vec![Row::ok(INTERPRETER, format!("{name} {version}, layout {layout}, in {path}"))];
    let fields = machine.types.as_ref().ok().and_then(|types| types.fields.as_ref().ok());
    match fields {
        Some(fields) if fields.config.task_thread_pointer == ABSENT => {
            let found = fields.missing.first().copied().unwrap_or("the kernel does not say where they are");
            rows.push(Row::limited(
                "frames",
                found,
                "a newer cowtrace may know this kernel; please report it",
            ));
        }
        Some(_) => rows.push(Row::ok("frames", "functions and files of every frame")),
        None => rows.push(Row::not_checked(
            "frames",
            "not known without the kernel's types",
            "do first what stands above",
        )),
    }
    rows.push(if language.compiles() {
        Row::ok(
            "lines",
            "exact; of code that its JIT compiled, if that is on, near the right ones and marked",
        )
    } else {
        Row::ok("lines", "exact, from its line tables")
    });
    rows
}

/// An interpreter whose frames are not seen.
pub(super) fn unknown(interpreter: &Interpreter, reason: &Reason) -> Row {
    const NATIVE: &str = "native attribution only";
    let Interpreter { name, version, path, .. } = interpreter;
    let what = format!("{name} {version} in {path}");
    match reason {
        Reason::NoLayout { known, .. } => Row::limited(
            INTERPRETER,
            format!("{what} is not known: {NATIVE}"),
            format!("run it on one of {known}"),
        ),
        Reason::Inconsistent { .. } => Row::limited(
            INTERPRETER,
            format!("{what}: {reason}: {NATIVE}"),
            "use an unpatched build; please report this one",
        ),
        Reason::Processor => Row::limited(
            INTERPRETER,
            format!("{what}: {reason}: {NATIVE}"),
            "run it on an x86-64 machine to see its frames",
        ),
        Reason::Memory(source) => {
            Row::not_checked(INTERPRETER, format!("{what}: its memory cannot be read: {source}"), SUDO)
        }
        Reason::File(source) => Row::not_checked(INTERPRETER, format!("{what}: {source}"), SUDO),
    }
}

/// Whether a file's native code has names.
pub(super) fn names(object: Option<&Object>, path: &Path) -> Row {
    const CHECK: &str = "symbols";
    let path = path.display();
    match object.map(Object::names) {
        Some(Ok(names)) if names.all > 0 => {
            Row::ok(CHECK, format!("{} in {path}", counted(names.all as u64, "name")))
        }
        Some(Ok(names)) => {
            let exported = count(names.exported as u64);
            Row::limited(
                CHECK,
                format!("{path} is stripped: {exported} exported names, other native code is module+offset"),
                "use a build that is not stripped (separate debug files are not read)",
            )
        }
        Some(Err(error)) => Row::limited(CHECK, error.to_string(), "native code is module+offset there"),
        None => Row::not_checked(CHECK, format!("{path} cannot be read"), SUDO),
    }
}
