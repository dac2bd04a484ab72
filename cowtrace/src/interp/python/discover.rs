//! Finds CPython in a process: the file that defines its runtime state, its version, and a check that its memory is
//! what the version's layout says.

use std::os::unix::fs::FileExt as _;

use cowtrace_ebpf::plan::{Plan, UNUSED};

use super::NAME;
use super::dict::HEADER;
use super::layout::{self, Layout};
use super::version;
use crate::interp::files::{self, Misfit};
use crate::interp::{Discovery, Found, Reason, Target};
use crate::memory::Memory;
use crate::process::maps::{Kind, Mapping};
use crate::process::object::{Object, ObjectError, Place, open_mapped};
use crate::record::schema::Interpreter;

/// Modules looked at to find a name, which is a string.
const MAX_MODULES: u64 = 64;

/// The symbols that are asked for. `_PyRuntime` is exported in 3.7 and later, `Py_Version` in 3.11 and later, from
/// stripped executables too; section `.PyRuntime` stays where the symbol is not exported.
/// <https://github.com/python/cpython/blob/v3.11.7/Python/pylifecycle.c>
pub(super) const SYMBOLS: [&str; 4] = ["_PyRuntime", "Py_Version", "PyType_Type", "PyUnicode_Type"];
/// How the names of libraries begin that may hold it.
const LIBRARY: &[u8] = b"libpython";
pub(super) const SECTION: &str = ".PyRuntime";

pub(super) fn recognise(target: &Target<'_>) -> Discovery {
    for mapping in files::candidates(target, LIBRARY) {
        match look(target, mapping) {
            Ok(Some(file)) => return identify(target, mapping, &file),
            // The thin executable of a shared build only uses the symbol.
            Ok(None) => {}
            Err(source) if files::is_library(mapping, LIBRARY) => {
                let interpreter = interpreter(mapping, version_of_name(mapping), None);
                return Discovery::Unsupported { interpreter, reason: Reason::File(source) };
            }
            Err(source) => log::debug!("process {}: {source}", target.pid),
        }
    }
    match embedded(target) {
        Some((mapping, file)) => identify(target, mapping, &file),
        None => Discovery::None,
    }
}

/// Bytes of files that are looked through for a runtime without a name at most.
pub(super) const MOST_SCANNED: u64 = 64 << 20;
/// Bytes read at a time, a multiple of a word.
const PIECE: usize = 1 << 20;

/// A runtime that neither a symbol nor a section names, as in a program that was linked with the interpreter and stripped:
/// since 3.13 it begins with a cookie. Looked for in what the files of the program have as writable data, lowest address
/// first: in the files, not in memory, where to look is to map pages that the program has not touched.
fn embedded<'a>(target: &Target<'a>) -> Option<(&'a Mapping, File)> {
    let mut left = MOST_SCANNED;
    let is_data = |mapping: &&Mapping| mapping.kind == Kind::File && mapping.writable && !mapping.shared;
    for data in target.maps.iter().filter(is_data) {
        let len = (data.end - data.start).min(left);
        left -= len;
        let Some(at) = open_mapped(target.pid, data).ok().and_then(|file| cookie(&file, data.offset, len))
        else {
            continue;
        };
        let runtime = data.start + (at - data.offset);
        let of_file = |mapping: &&Mapping| {
            (mapping.device, mapping.inode) == (data.device, data.inode) && mapping.executable
        };
        if layout::told(target.memory, runtime).is_some_and(|told| told.version.is_3())
            && let Some(code) = target.maps.iter().find(of_file)
        {
            return Some((
                code,
                File { runtime: Some(runtime), version: None, type_type: None, string_type: None },
            ));
        }
    }
    None
}

/// Where in a part of a file the cookie of a runtime stands, which is aligned.
pub(super) fn cookie(file: &std::fs::File, start: u64, len: u64) -> Option<u64> {
    let mut piece = vec![0; usize::try_from(len).ok()?.min(PIECE)];
    let mut done = 0;
    while done < len {
        let wanted = usize::try_from(len - done).ok()?.min(PIECE);
        let read = file.read_at(piece.get_mut(..wanted)?, start + done).ok()?;
        if let Some(word) = piece[..read].chunks_exact(8).position(|word| word == layout::COOKIE) {
            return Some(start + done + word as u64 * 8);
        }
        // The end of the file.
        if read < wanted {
            return None;
        }
        done += read as u64;
    }
    None
}

/// Addresses in the process.
struct File {
    /// `None` = too old to have one.
    runtime: Option<u64>,
    version: Option<u64>,
    type_type: Option<u64>,
    string_type: Option<u64>,
}

fn look(target: &Target<'_>, mapping: &Mapping) -> Result<Option<File>, ObjectError> {
    let object = Object::of_mapping(target.pid, mapping)?;
    let Some(bias) = object.bias(mapping) else { return Ok(None) };
    let [runtime, version, type_type, string_type] = object.symbols(SYMBOLS)?;
    let runtime = match runtime {
        Some(runtime) => Some(runtime),
        None => object.section(SECTION)?,
    };
    let live = |place: Place| bias.wrapping_add(place.address);
    let is_interpreter = runtime.is_some() || type_type.is_some();
    Ok(is_interpreter.then(|| File {
        runtime: runtime.map(live),
        version: version.map(live),
        type_type: type_type.map(live),
        string_type: string_type.map(live),
    }))
}

fn identify(target: &Target<'_>, mapping: &Mapping, file: &File) -> Discovery {
    let told = file.runtime.and_then(|runtime| layout::told(target.memory, runtime));
    let version = match file.version.map(|address| target.memory.u32(address)).transpose() {
        Ok(version) => told.map(|told| told.version).or(version.map(layout::Version)),
        Err(source) => return unsupported(mapping, version_of_name(mapping), Reason::Memory(source)),
    };
    let version = version.or_else(|| version::of_file(target.pid, target.maps, mapping));
    let version_text = version.map_or_else(|| version_of_name(mapping), |version| version.to_string());
    // The micro release is not known then; one row covers them all.
    let version = version.or_else(|| version::of_name(&version_text));
    let free_threaded = told.is_some_and(|told| told.free_threaded);
    let layout = version.and_then(|version| layout::of_version(version, free_threaded));
    let Some((layout, runtime)) = layout.zip(file.runtime) else {
        let reason = Reason::NoLayout { version: version_text.clone(), known: layout::known() };
        return unsupported(mapping, version_text, reason);
    };
    let mut plan = layout.plan;
    if let Some(own) = layout.own
        && told.is_some()
        && let Err(unusable) = own.apply(&mut plan, target.memory, runtime)
    {
        let what = match unusable {
            layout::Unusable::Unreadable => "the offsets that it tells of itself cannot be read",
            layout::Unusable::Absurd => "the offsets that it tells of itself make no sense",
        };
        return unsupported(mapping, version_text, Reason::Inconsistent { layout: layout.name, what });
    }
    collector_counts(layout, &mut plan, target.memory, runtime);
    match check(layout, &plan, target.memory, runtime, file) {
        Ok(types) => Discovery::Found(Box::new(Found {
            interpreter: interpreter(mapping, version_text, Some(layout.name)),
            plan,
            runtime,
            type_type: types.type_type,
            string_type: types.string_type,
            symbols: 0,
            language: layout,
        })),
        Err(Misfit::NotYet) => Discovery::NotYet,
        Err(Misfit::Wrong(what)) => {
            unsupported(mapping, version_text, Reason::Inconsistent { layout: layout.name, what })
        }
        Err(Misfit::Memory(source)) => unsupported(mapping, version_text, Reason::Memory(source)),
    }
}

/// Thresholds of the collector's youngest generation that versions begin with.
const THRESHOLDS: [u32; 3] = [700, 2000, 10_000];

/// The count of a generation lies behind its threshold; within 3.13 both moved by 4 bytes. The threshold tells where it is:
/// where a program has set another before it was looked at, generations are not known.
fn collector_counts(layout: &Layout, plan: &mut Plan, memory: &dyn Memory, runtime: u64) {
    let main = memory.u64(runtime.wrapping_add(layout.runtime_main.into())).unwrap_or(0);
    let is_threshold = |offset: u16| {
        main != 0 && memory.u32(main.wrapping_add(offset.into())).is_ok_and(|word| THRESHOLDS.contains(&word))
    };
    let counts = plan.interpreter_gc_counts;
    if counts == UNUSED || is_threshold(counts - 4) {
        return;
    }
    plan.interpreter_gc_counts = if is_threshold(counts - 8) { counts - 4 } else { UNUSED };
}

fn unsupported(mapping: &Mapping, version: String, reason: Reason) -> Discovery {
    if let Reason::Memory(source) = &reason
        && source.raw_os_error() == Some(libc::ESRCH)
    {
        return Discovery::None;
    }
    Discovery::Unsupported { interpreter: interpreter(mapping, version, None), reason }
}

fn interpreter(mapping: &Mapping, version: String, layout: Option<&str>) -> Interpreter {
    let path = mapping.path_to_show().unwrap_or_default();
    Interpreter { name: NAME.to_owned(), version, path, layout: layout.map(str::to_owned) }
}

/// Version in a file name such as `libpython3.9.so.1.0` or `python3.9`, for interpreters that do not tell it.
fn version_of_name(mapping: &Mapping) -> String {
    version_in_name(mapping.file_name().unwrap_or_default())
}

pub(super) fn version_in_name(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let after = name.split_once("python").map_or("", |(_, after)| after);
    let end = after.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(after.len());
    let version = after[..end].trim_matches('.');
    if version.is_empty() { "unknown".to_owned() } else { version.to_owned() }
}

struct Types {
    type_type: u64,
    string_type: u64,
}

/// Follows the layout through a live interpreter: main interpreter, its first thread, its modules, their types.
fn check(
    layout: &Layout,
    plan: &Plan,
    memory: &dyn Memory,
    runtime: u64,
    file: &File,
) -> Result<Types, Misfit> {
    let word = |address: u64, offset: u16| {
        let address =
            address.checked_add(offset.into()).ok_or(Misfit::Wrong("a pointer leaves the address space"))?;
        Ok::<_, Misfit>(memory.u64(address)?)
    };
    // Null while the interpreter starts, and again once it has ended.
    let pointer = |address: u64, offset: u16| match word(address, offset)? {
        0 => Err(Misfit::NotYet),
        pointer => Ok(pointer),
    };
    let main = pointer(runtime, layout.runtime_main)?;
    pointer(runtime, plan.runtime_interpreters)?;
    let thread = pointer(main, plan.interpreter_threads)?;
    let modules = pointer(main, plan.interpreter_modules)?;
    let keys = pointer(modules, plan.dict_keys)?;
    if word(main, layout.interpreter_id)? != 0 {
        return Err(Misfit::Wrong("the main interpreter's id is not 0"));
    }
    if word(thread, plan.thread_interpreter)? != main {
        return Err(Misfit::Wrong("the first thread does not belong to the main interpreter"));
    }
    let dict = pointer(modules, plan.object_type)?;
    let type_type = pointer(dict, plan.object_type)?;
    let named = |address: u64, name: &[u8]| {
        let found = memory.c_string(pointer(address, plan.type_name)?, name.len() + 1);
        Ok::<_, Misfit>(found.is_ok_and(|found| found == name))
    };
    if !named(dict, b"dict")? {
        return Err(Misfit::Wrong("the table of modules is no dict"));
    }
    if !named(type_type, b"type")? || file.type_type.is_some_and(|symbol| symbol != type_type) {
        return Err(Misfit::Wrong("the type of dict is not type"));
    }
    let string_type = match file.string_type {
        Some(symbol) => symbol,
        None => type_of_key(layout, plan, memory, keys)?,
    };
    if !named(string_type, b"str")? {
        return Err(Misfit::Wrong("the type of strings is not str"));
    }
    Ok(Types { type_type, string_type })
}

/// The type of the first key in a table whose keys are strings.
fn type_of_key(layout: &Layout, plan: &Plan, memory: &dyn Memory, keys: u64) -> Result<u64, Misfit> {
    let mut header = [0; HEADER];
    memory.read(keys, &mut header)?;
    let table =
        layout.dict.parse(keys, &header).ok_or(Misfit::Wrong("the table of modules has no sound header"))?;
    for address in (0..table.used.min(MAX_MODULES)).filter_map(|index| table.key_address(index)) {
        let key = memory.u64(address)?;
        if key != 0 {
            return Ok(memory.u64(key.wrapping_add(plan.object_type.into()))?);
        }
    }
    Err(Misfit::NotYet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp::python::layout::PYTHON_3_11;
    use crate::memory::Fixture;
    use crate::process::maps::Maps;

    const RUNTIME: u64 = 0x1000;
    const MAIN: u64 = 0x2000;
    const THREAD: u64 = 0x3000;
    const MODULES: u64 = 0x4000;
    const KEYS: u64 = 0x5000;
    const DICT: u64 = 0x6000;
    const TYPE: u64 = 0x7000;
    const STR: u64 = 0x8000;
    const KEY: u64 = 0x9000;

    const FILE: File = File { runtime: Some(RUNTIME), version: None, type_type: None, string_type: None };

    /// An interpreter with one thread and one module, in which some words have been changed.
    fn check_with(changes: &[(u64, u64)]) -> Result<Types, Misfit> {
        let mut words = vec![(RUNTIME + 40, MAIN), (RUNTIME + 48, MAIN), (MAIN + 16, THREAD), (MAIN + 48, 0)];
        words.extend([(MAIN + 888, MODULES), (THREAD + 16, MAIN), (MODULES + 8, DICT), (MODULES + 32, KEYS)]);
        words.extend([(DICT + 8, TYPE), (TYPE + 8, TYPE), (DICT + 24, DICT + 100), (TYPE + 24, TYPE + 100)]);
        words.extend([(KEYS, 1), (KEYS + 8, 0x0001_0303), (KEYS + 16, 4), (KEYS + 24, 1), (KEYS + 40, KEY)]);
        words.extend([(KEY + 8, STR), (STR + 24, STR + 100)]);
        let names = [(DICT, &b"dict\0"[..]), (TYPE, b"type\0"), (STR, b"str\0")];
        let memory = names
            .iter()
            .fold(Fixture::default(), |memory, (address, name)| memory.with(address + 100, name.to_vec()));
        let memory = words
            .iter()
            .chain(changes)
            .fold(memory, |memory, (address, word)| memory.with(*address, word.to_le_bytes()));
        check(&PYTHON_3_11, &PYTHON_3_11.plan, &memory, RUNTIME, &FILE)
    }

    #[test]
    fn types_are_found_without_symbols() {
        let Ok(types) = check_with(&[]) else { panic!("it fits") };
        assert_eq!((types.type_type, types.string_type), (TYPE, STR));
    }

    #[test]
    fn an_interpreter_that_has_not_started() {
        for null in [RUNTIME + 40, RUNTIME + 48, MAIN + 16, MAIN + 888, MODULES + 32, KEYS + 40] {
            assert!(matches!(check_with(&[(null, 0)]), Err(Misfit::NotYet)), "{null:#x}");
        }
    }

    #[test]
    fn memory_of_another_layout() {
        for wrong in
            [(MAIN + 48, 7), (THREAD + 16, RUNTIME), (MODULES + 8, STR), (DICT + 8, DICT), (KEY + 8, DICT)]
        {
            assert!(matches!(check_with(&[wrong]), Err(Misfit::Wrong(_) | Misfit::Memory(_))), "{wrong:x?}");
        }
        assert!(matches!(check_with(&[(KEYS + 8, u64::MAX)]), Err(Misfit::Wrong(_))));
        assert!(matches!(check_with(&[(RUNTIME + 48, u64::MAX)]), Err(Misfit::Wrong(_) | Misfit::Memory(_))));
    }

    /// Versions before and behind the table: not known, with the version and those that are; none is taken for another.
    #[test]
    fn versions_that_are_not_known() {
        let answer = |name: &str, version: Option<u32>| {
            let maps = Maps::parse(format!("1000-2000 r-xp 0 0:1 1 /no/such/{name}").as_bytes()).unwrap();
            let told = version.map(|version| {
                let words = [u64::from_le_bytes(*layout::COOKIE), version.into(), 0];
                words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()
            });
            // What follows would fit any layout: zeros.
            let runtime = [told.unwrap_or_default(), vec![0; 4096]].concat();
            let memory = Fixture::default().with(RUNTIME, runtime);
            let target = Target { pid: std::process::id(), maps: &maps, memory: &memory };
            identify(&target, maps.iter().next().unwrap(), &FILE)
        };
        for (name, version, text) in [
            ("libpython3.7m.so.1.0", None, "3.7"),
            ("libpython3.6m.so.1.0", None, "3.6"),
            ("python", None, "unknown"),
            ("python3.16", Some(0x0310_00f0), "3.16.0"),
            ("python3.16", Some(0x0310_00a3), "3.16.0a3"),
            ("python3.13", Some(0x030d_00c1), "3.13.0rc1"),
            ("python4", Some(0x0400_00f0), "4.0.0"),
        ] {
            let Discovery::Unsupported { interpreter, reason } = answer(name, version) else {
                panic!("{name} {version:x?} is taken for one that is known");
            };
            assert_eq!((interpreter.version.as_str(), interpreter.layout), (text, None), "{name}");
            assert_eq!(
                reason.to_string(),
                format!("version {text} is not known; known are {}", layout::known())
            );
        }
        // The name alone says it until 3.10, and then nothing is there yet.
        assert!(matches!(answer("libpython3.9.so.1.0", None), Discovery::NotYet));
    }

    /// The cookie is found where it is aligned, also behind the first piece, and not behind the end of what is looked at.
    #[test]
    fn runtimes_without_a_name() {
        let path = std::env::temp_dir().join(format!("cowtrace-cookie-{}", std::process::id()));
        let found = |at: usize, start: u64, len: u64| {
            let mut bytes = vec![0; PIECE + 4096];
            bytes[at..at + 8].copy_from_slice(layout::COOKIE);
            std::fs::write(&path, &bytes).unwrap();
            cookie(&std::fs::File::open(&path).unwrap(), start, len)
        };
        assert_eq!(found(64, 0, 4096), Some(64));
        assert_eq!(found(4096 + 8, 4096, 4096), Some(4096 + 8));
        assert_eq!(found(PIECE + 8, 0, 1 << 30), Some(PIECE as u64 + 8));
        assert_eq!(found(PIECE + 8, 0, PIECE as u64), None);
        assert_eq!(found(68, 0, 4096), None);
        assert_eq!(found(64, 4096, 1 << 40), None);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn versions_in_file_names() {
        for (name, version) in [
            ("libpython3.9.so.1.0", "3.9"),
            ("libpython2.7.so.1.0", "2.7"),
            ("libpython3.6m.so.1.0", "3.6"),
            ("python3.8", "3.8"),
            ("python", "unknown"),
            ("uwsgi", "unknown"),
        ] {
            let maps = Maps::parse(format!("1000-2000 r-xp 0 0:1 1 /x/{name}").as_bytes()).unwrap();
            assert_eq!(version_of_name(maps.iter().next().unwrap()), version);
        }
    }
}
