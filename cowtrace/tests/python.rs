//! Python interpreters of this machine, walked from outside by the plan that `discover` gives, against what each says
//! of itself. Needs no root: a process may read the memory of its children.
//!
//! The walk does what the kernel side does, step by step, only slower. Interpreters are looked for in `PATH` and in
//! pyenv's directory; one that is missing is a line on stderr, no failure.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test, helpers included")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use cowtrace::interp::{CodeFacts, Discovery, Found, FrameFacts, Place, Reason, Slot, discover};
use cowtrace::memory::{Live, Memory};
use cowtrace::process::maps::Maps;
use cowtrace::process::object::Object;
use cowtrace::symbolize::native::Native;
use cowtrace_ebpf::plan::{MAX_FRAMES, MAX_THREAD_STATES, UNUSED};
use cowtrace_ebpf::state::ModuleTable;
use serde::Deserialize;

/// What the script says of itself.
#[derive(Deserialize)]
struct Facts {
    frames: Vec<Frame>,
    modules: u64,
    thread: u64,
    keys: BTreeMap<String, u64>,
    types: HashMap<String, String>,
    not_types: Vec<u64>,
    strings: HashMap<String, String>,
    string_type: u64,
    type_type: u64,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Frame {
    code: u64,
    function: String,
    file: String,
    line: u32,
}

/// A script that waits for its stdin to end; ends with this value.
struct Running {
    child: Child,
    facts: Facts,
}

impl Running {
    fn start(python: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/frames.py");
        let mut child = Command::new(python)
            .arg(script)
            .env("PYTHONIOENCODING", "utf-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let facts =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}", python.display()));
        Self { child, facts }
    }

    fn memory(&self) -> Live {
        Live::new(self.child.id())
    }

    fn discover(&self) -> Discovery {
        discover(self.child.id(), &Maps::of(self.child.id()).unwrap(), &self.memory())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// Every interpreter of this machine, with its version, e.g. `3.11.7`.
static INTERPRETERS: LazyLock<BTreeMap<PathBuf, String>> = LazyLock::new(|| {
    let mut candidates = Vec::new();
    for directory in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()) {
        candidates.extend((8..20).map(|minor| directory.join(format!("python3.{minor}"))));
    }
    let pyenv = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| std::env::home_dir().map(|home| home.join(".pyenv"))).unwrap_or_default();
    for version in std::fs::read_dir(pyenv.join("versions")).into_iter().flatten().flatten() {
        candidates.push(version.path().join("bin/python3"));
    }
    let program =
        "import sys, os, platform; print(os.path.realpath(sys.executable), platform.python_version())";
    let run = |candidate: PathBuf| {
        let output = Command::new(candidate).args(["-c", program]).stderr(Stdio::null()).output().ok()?;
        let output = String::from_utf8(output.stdout).ok()?;
        let (path, version) = output.trim_end().rsplit_once(' ')?;
        Some((PathBuf::from(path), version.to_owned()))
    };
    candidates.into_iter().filter_map(run).collect()
});

/// Runs a check with each supported interpreter.
fn with_each(minor: &str, check: impl Fn(&Running, &Found)) {
    let wanted: Vec<_> = INTERPRETERS.iter().filter(|(_, version)| version.starts_with(minor)).collect();
    if wanted.is_empty() {
        eprintln!("SKIPPED (allowed): there is no Python {minor} here");
    }
    for (path, version) in wanted {
        eprintln!("{} ({version})", path.display());
        let running = Running::start(path);
        match running.discover() {
            Discovery::Found(found) => {
                assert_eq!(found.interpreter.version, *version);
                check(&running, &found);
            }
            other => panic!("{}: {other:?}", path.display()),
        }
    }
}

/// Walked by these tests.
const SUPPORTED: &[&str] = &["3.11."];
/// Found by these tests; their frames are compared with what scripts know by the tests that trace.
const TRACED: &[&str] = &["3.8.", "3.9.", "3.10.", "3.12.", "3.13.", "3.14.", "3.15."];

fn at(address: u64, offset: u16) -> u64 {
    assert_ne!(offset, UNUSED);
    address + u64::from(offset)
}

/// Address of the frame that the thread with this ident runs.
fn current_frame(memory: &dyn Memory, found: &Found, ident: u64) -> u64 {
    let Found { plan, runtime, .. } = found;
    let frame_of = |thread: u64| {
        let frame = memory.u64(at(thread, plan.thread_frame)).unwrap();
        if plan.control_frame == UNUSED { frame } else { memory.u64(at(frame, plan.control_frame)).unwrap() }
    };
    let mut looked_at = 0;
    let mut interpreter = memory.u64(at(*runtime, plan.runtime_interpreters)).unwrap();
    while interpreter != 0 {
        let mut thread = memory.u64(at(interpreter, plan.interpreter_threads)).unwrap();
        while thread != 0 {
            looked_at += 1;
            assert!(looked_at <= MAX_THREAD_STATES);
            assert_eq!(memory.u64(at(thread, plan.thread_interpreter)).unwrap(), interpreter);
            if memory.u64(at(thread, plan.thread_ident)).unwrap() == ident {
                return frame_of(thread);
            }
            thread = memory.u64(at(thread, plan.thread_next)).unwrap();
        }
        interpreter = memory.u64(at(interpreter, plan.interpreter_next)).unwrap();
    }
    panic!("no thread state with ident {ident:#x}");
}

/// The string object that a field of a code object points to, by the words that the kernel side sends.
fn string(memory: &dyn Memory, found: &Found, code: u64, field: u16) -> String {
    let plan = &found.plan;
    let object = memory.u64(at(code, field)).unwrap();
    let state = memory.u32(at(object, plan.string_state)).unwrap();
    let characters = u32::try_from(memory.u64(at(object, plan.string_length)).unwrap()).unwrap();
    let data = if state & (1 << 6) != 0 { plan.string_ascii } else { plan.string_wide };
    let mut bytes = [0; 256];
    memory.read(at(object, data), &mut bytes).unwrap();
    found.language.string(state, characters, &bytes).unwrap()
}

struct Walked {
    frame: Frame,
    /// First local variable.
    local0: u64,
    facts: FrameFacts,
    op: Option<&'static str>,
}

fn walk(memory: &dyn Memory, found: &Found, ident: u64) -> Vec<Walked> {
    let plan = &found.plan;
    let mut walked = Vec::new();
    let mut frame = current_frame(memory, found, ident);
    while frame != 0 {
        assert!(walked.len() < MAX_FRAMES);
        let code = memory.u64(at(frame, plan.frame_code)).unwrap() & !plan.code_tag;
        let instruction = memory.u64(at(frame, plan.frame_instruction)).unwrap();
        let owner = memory.u8(at(frame, plan.frame_owner)).unwrap();
        let local0 = memory.u64(at(frame, plan.frame_local0)).unwrap();
        frame = memory.u64(at(frame, plan.frame_previous)).unwrap();
        if u16::from(owner) >= plan.owner_shim {
            continue;
        }
        let table = memory.u64(at(code, plan.code_lines)).unwrap();
        let length = memory.u64(at(table, plan.bytes_length)).unwrap();
        let mut lines = vec![0; usize::try_from(length).unwrap()];
        memory.read(at(table, plan.bytes_data), &mut lines).unwrap();
        let first_line = memory.i32(at(code, plan.code_first_line)).unwrap();
        let code_facts = CodeFacts { address: code, first_line, lines: &lines };
        let facts = found.language.frame(plan, &code_facts, instruction);
        let mut unit = [0; 2];
        memory.read(instruction, &mut unit).unwrap();
        walked.push(Walked {
            op: found.language.opcode(u16::from_le_bytes(unit), walked.is_empty()),
            frame: Frame {
                code,
                function: string(memory, found, code, plan.code_name),
                file: string(memory, found, code, plan.code_file),
                line: facts.line.unwrap_or(0),
            },
            local0,
            facts,
        });
    }
    walked
}

/// Starts a program and waits for its first line, if it writes one; then looks for its interpreter.
fn start(command: &mut Command) -> (Child, Box<Found>) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    match discover(child.id(), &Maps::of(child.id()).unwrap(), &Live::new(child.id())) {
        Discovery::Found(found) => (child, found),
        other => panic!("{command:?}: {other:?}"),
    }
}

/// Address of the only thread state.
fn first_thread(memory: &dyn Memory, found: &Found) -> u64 {
    let interpreter = memory.u64(at(found.runtime, found.plan.runtime_interpreters)).unwrap();
    memory.u64(at(interpreter, found.plan.interpreter_threads)).unwrap()
}

fn supported() -> impl Iterator<Item = &'static Path> {
    let is_supported = |version: &str| SUPPORTED.iter().any(|minor| version.starts_with(minor));
    INTERPRETERS.iter().filter(move |(_, version)| is_supported(version)).map(|(path, _)| path.as_path())
}

/// While a module is imported, the importing function's first variable names it, and the line below is an import.
#[test]
fn import_under_way() {
    for path in supported() {
        let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
        let (mut child, found) =
            start(Command::new(path).args(["-Bc", "import blocking"]).env("PYTHONPATH", modules));
        let (memory, plan) = (Live::new(child.id()), &found.plan);
        let ident = memory.u64(at(first_thread(&memory, &found), plan.thread_ident)).unwrap();
        // Behind what it printed there may be a few more instructions to the line that blocks.
        let mut walked = walk(&memory, &found, ident);
        for _ in 0..10_000 {
            if walked[0].frame.line == 5 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
            walked = walk(&memory, &found, ident);
        }
        let wanted = |walked: &Walked| {
            plan.argument_function == cowtrace_ebpf::plan::ShortName::new(walked.frame.function.as_bytes())
        };
        let import = walked.iter().position(wanted).unwrap();
        let module = found.language.text(plan, &memory, found.string_type, walked[import].local0);
        assert_eq!(module.as_deref(), Some("blocking"));
        let below: Vec<_> =
            walked[import + 1..].iter().map(|walked| (walked.frame.line, walked.op)).collect();
        assert_eq!(below, [(1, Some("IMPORT_NAME"))]);
        assert_eq!(walked[0].frame.line, 5);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

/// The runtime names the thread that holds the interpreter's lock.
#[test]
fn lock_holder() {
    for path in supported() {
        let (mut child, found) =
            start(Command::new(path).args(["-c", "print(flush=True)\nwhile True: pass"]));
        let memory = Live::new(child.id());
        if found.plan.runtime_current != UNUSED {
            let thread = first_thread(&memory, &found);
            // It may still be on its way back from printing, and not be let run for a while.
            let holds = |_| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                memory.u64(at(found.runtime, found.plan.runtime_current)).is_ok_and(|holder| holder == thread)
            };
            let held = (0..10_000).any(holds);
            child.kill().unwrap();
            assert!(held, "it runs all the time");
        }
        // Killed twice where it was killed already: there is nobody left to be hit until `wait`.
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Function, file and line of every frame are those that `sys._getframe` tells.
#[test]
fn frames() {
    for minor in SUPPORTED {
        with_each(minor, |running, found| {
            let walked = walk(&running.memory(), found, running.facts.thread);
            assert!(walked.iter().all(|walked| !walked.facts.entry));
            assert_eq!(walked[0].op, Some("CALL"), "the call that waits for stdin");
            for walked in &walked {
                eprintln!("  {:4} {:30} {:?}", walked.frame.line, walked.frame.function, walked.op);
            }
            let ops: BTreeSet<_> = walked[1..].iter().filter_map(|walked| walked.op).collect();
            assert!(
                ops.is_subset(&BTreeSet::from(["CALL", "FOR_ITER", "LOAD_ATTR", "BINARY_SUBSCR"])),
                "{ops:?}"
            );
            let frames: Vec<_> = walked.into_iter().map(|walked| walked.frame).collect();
            assert!(frames.len() > 12);
            assert_eq!(frames, running.facts.frames);
        });
    }
}

/// The module table's entries hold every module, under its name.
#[test]
fn module_table() {
    for minor in SUPPORTED {
        with_each(minor, |running, found| {
            let (memory, plan, facts) = (running.memory(), &found.plan, &running.facts);
            let interpreter = memory.u64(at(found.runtime, plan.runtime_interpreters)).unwrap();
            let dict = memory.u64(at(interpreter, plan.interpreter_modules)).unwrap();
            assert_eq!(dict, facts.modules);
            let keys = memory.u64(at(dict, plan.dict_keys)).unwrap();
            let mut header = [0; 32];
            memory.read(keys, &mut header).unwrap();
            let table = found.language.module_table(&ModuleTable { dict, keys, header }).unwrap();
            let mut modules = BTreeMap::new();
            for index in 0..table.used {
                let (key, value) = (table.key_address(index).unwrap(), table.value_address(index).unwrap());
                assert_eq!(table.find(key), Some(Place::Entry { index, slot: Slot::Key }));
                assert_eq!(table.find(value + 7), Some(Place::Entry { index, slot: Slot::Value }));
                let (key, value) = (memory.u64(key).unwrap(), memory.u64(value).unwrap());
                if value != 0 {
                    let name = found.language.text(plan, &memory, found.string_type, key).unwrap();
                    modules.insert(name, value);
                }
            }
            assert_eq!(modules, facts.keys);
        });
    }
}

/// Types have names, other objects have none; strings of every width are read.
#[test]
fn types_and_strings() {
    for minor in SUPPORTED {
        with_each(minor, |running, found| {
            let (memory, plan, facts) = (running.memory(), &found.plan, &running.facts);
            assert_eq!((found.type_type, found.string_type), (facts.type_type, facts.string_type));
            let type_name = |address| found.language.type_name(plan, &memory, found.type_type, address);
            for (address, name) in &facts.types {
                assert_eq!(type_name(address.parse().unwrap()).as_ref(), Some(name));
            }
            for &address in &facts.not_types {
                assert_eq!(type_name(address), None);
            }
            for (address, text) in &facts.strings {
                let found =
                    found.language.text(plan, &memory, found.string_type, address.parse().unwrap()).unwrap();
                match found.strip_suffix('…') {
                    Some(cut) => assert!(text.starts_with(cut) && text.len() > 256),
                    None => assert_eq!(&found, text),
                }
            }
        });
    }
}

/// Looked at again and again from its first moment, an interpreter is found sooner or later, and never misjudged.
#[test]
fn while_it_starts() {
    for path in supported() {
        let mut child = Command::new(path)
            .args(["-c", "import sys; sys.stdin.read()"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut none, mut not_yet) = (0, 0);
        let begin = std::time::Instant::now();
        let found = loop {
            match discover(child.id(), &Maps::of(child.id()).unwrap(), &Live::new(child.id())) {
                Discovery::None => none += 1,
                Discovery::NotYet => not_yet += 1,
                Discovery::Found(found) => break found,
                other @ Discovery::Unsupported { .. } => panic!("{}: {other:?}", path.display()),
            }
            assert!(none + not_yet < 1_000_000, "{} does not start", path.display());
        };
        eprintln!("{}: {none} times none, {not_yet} times not yet, {:?}", path.display(), begin.elapsed());
        assert!(found.interpreter.layout.is_some());
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

/// Interpreters without a row are named with their version, and nothing else in them is believed.
#[test]
fn other_versions() {
    for (path, version) in &*INTERPRETERS {
        if SUPPORTED.iter().any(|minor| version.starts_with(minor)) {
            continue;
        }
        if TRACED.iter().any(|minor| version.starts_with(minor)) {
            let Discovery::Found(found) = Running::start(path).discover() else {
                panic!("{} is not found", path.display());
            };
            assert!(version.starts_with(&found.interpreter.version), "{version}: {:?}", found.interpreter);
            assert!(found.interpreter.layout.is_some());
            continue;
        }
        let running = Running::start(path);
        let Discovery::Unsupported { interpreter, reason } = running.discover() else {
            panic!("{} is not known to be unsupported", path.display());
        };
        assert!(matches!(reason, Reason::NoLayout { .. }), "{reason}");
        assert!(version.starts_with(&interpreter.version), "{version}: {interpreter:?}");
        assert_eq!(interpreter.layout, None);
    }
    let mut shell = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let maps = Maps::of(shell.id()).unwrap();
    assert!(matches!(discover(shell.id(), &maps, &Live::new(shell.id())), Discovery::None));
    drop(shell.stdin.take());
    shell.wait().unwrap();
}

/// A function of the interpreter is named where the file has a symbol for it, and nowhere by a guess.
#[test]
fn native_symbols() {
    for minor in SUPPORTED {
        with_each(minor, |running, _| {
            let pid = running.child.id();
            let maps = Maps::of(pid).unwrap();
            let mut native = Native::default();
            for mapping in maps.iter().filter(|mapping| mapping.executable) {
                let Ok(object) = Object::of_mapping(pid, mapping) else { continue };
                let [dict, other] = object.symbols(["PyDict_SetItem", "PyObject_GetAttr"]).unwrap();
                for (place, name) in [(dict, "PyDict_SetItem"), (other, "PyObject_GetAttr")] {
                    let Some(place) = place else { continue };
                    let address = object.bias(mapping).unwrap() + place.address;
                    // What is inlined there comes before it.
                    let mut function = |at| native.frames(pid, mapping, at).pop().unwrap();
                    let inside = function(address + place.size / 2);
                    assert_eq!(inside.symbol.as_deref(), Some(name), "{inside:?}");
                    let behind = function(address + place.size);
                    assert_ne!(behind.symbol.as_deref(), Some(name), "{behind:?}");
                }
            }
        });
    }
}
