//! Finds Ruby in a process: the file that defines its virtual machine, its version, and a check that its memory is what the
//! version's layout says.

use std::path::Path;

use super::NAME;
use super::layout::{self, Layout};
use crate::interp::files::{self, Misfit};
use crate::interp::{Discovery, Found, InFile, Language, Reason, Target};
use crate::memory::Memory;
use crate::process::maps::Mapping;
use crate::process::object::{Object, ObjectError, Place};
use crate::record::schema::Interpreter;

/// The symbols that are asked for: all but the first are always exported, from stripped files too.
/// `rb_sym_immortal_count` does nothing but to read the first word of the table of names, which has no name itself:
/// <https://github.com/ruby/ruby/blob/v3_1_2/symbol.c#L1005>
/// `rb_gc_count` begins with reading the virtual machine's address, where that is not exported itself:
/// <https://github.com/ruby/ruby/blob/v3_3_8/gc.c#L11290>
const SYMBOLS: [&str; 4] = ["ruby_current_vm_ptr", "ruby_version", "rb_sym_immortal_count", "rb_gc_count"];

/// Longest version that is believed.
const LONGEST: usize = 16;
/// `mov eax, [rip + …]`, `mov rax, [rip + …]`, `lea rax, [rip + …]`, and what may stand in front of it: `endbr64`.
const LOADS: [&[u8]; 3] = [&[0x8b, 0x05], &[0x48, 0x8b, 0x05], &[0x48, 0x8d, 0x05]];
const LANDING: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];

/// What a file tells: addresses as in the file.
struct File {
    /// Of the pointer to the virtual machine.
    vm: u64,
    version: Option<String>,
    symbols: Option<u64>,
}

fn look(object: &Object) -> Result<Option<File>, ObjectError> {
    let [vm, version, names, collections] = object.symbols(SYMBOLS)?;
    let loaded = |function: Option<Place>| function.and_then(|place| loaded_from(object, place.address));
    let Some(vm) = vm.map(|place| place.address).or_else(|| loaded(collections)) else { return Ok(None) };
    let text = version.and_then(|place| object.c_string(place.address, LONGEST).ok());
    let version = text.and_then(|text| String::from_utf8(text).ok());
    Ok(Some(File { vm, version, symbols: loaded(names) }))
}

/// The address that a function's first instruction reads, or is about to read from.
fn loaded_from(object: &Object, function: u64) -> Option<u64> {
    let mut code = [0; 11];
    object.read(function, &mut code).ok()?;
    let (landing, rest) = code.strip_prefix(LANDING).map_or((0, &code[..]), |rest| (4, rest));
    let (load, rest) = LOADS.iter().find_map(|load| Some((load.len() as u64, rest.strip_prefix(*load)?)))?;
    let distance = i32::from_le_bytes(*rest.first_chunk()?);
    function.checked_add(landing + load + 4)?.checked_add_signed(distance.into())
}

/// Major, minor and teeny of `3.1.2`.
fn parse(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    let parsed = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(parsed)
}

pub(super) fn recognise(target: &Target<'_>) -> Discovery {
    for mapping in files::candidates(target, b"libruby") {
        let found = Object::of_mapping(target.pid, mapping)
            .and_then(|object| Ok(look(&object)?.zip(object.bias(mapping))));
        match found {
            Ok(Some((file, bias))) => return identify(target, mapping, &file, bias),
            Ok(None) => {}
            Err(source) if files::is_library(mapping, b"libruby") => {
                return unsupported(mapping, "unknown".to_owned(), Reason::File(source));
            }
            Err(source) => log::debug!("process {}: {source}", target.pid),
        }
    }
    Discovery::None
}

fn identify(target: &Target<'_>, mapping: &Mapping, file: &File, bias: u64) -> Discovery {
    let version = file.version.clone().unwrap_or_else(|| "unknown".to_owned());
    let Some(layout) = parse(&version).and_then(layout::of_version) else {
        let reason = Reason::NoLayout { version: version.clone(), known: layout::known() };
        return unsupported(mapping, version, reason);
    };
    let vm = match target.memory.u64(bias.wrapping_add(file.vm)) {
        Ok(0) => return Discovery::NotYet,
        Ok(vm) => vm,
        Err(source) => return unsupported(mapping, version, Reason::Memory(source)),
    };
    match check(layout, target.memory, vm) {
        Ok(()) => Discovery::Found(Box::new(Found {
            interpreter: interpreter(mapping, version, Some(layout.name)),
            plan: layout.plan,
            runtime: vm,
            type_type: 0,
            string_type: 0,
            symbols: file.symbols.map_or(0, |address| bias.wrapping_add(address)),
            language: layout,
        })),
        Err(Misfit::NotYet) => Discovery::NotYet,
        Err(Misfit::Wrong(what)) => {
            unsupported(mapping, version, Reason::Inconsistent { layout: layout.name, what })
        }
        Err(Misfit::Memory(source)) => unsupported(mapping, version, Reason::Memory(source)),
    }
}

/// Goes once through a live interpreter: the main thread and its context, the heap and its first page.
fn check(layout: &Layout, memory: &dyn Memory, vm: u64) -> Result<(), Misfit> {
    let plan = &layout.plan;
    let word = |address: u64, offset: u64| {
        let address =
            address.checked_add(offset).ok_or(Misfit::Wrong("a pointer leaves the address space"))?;
        Ok::<_, Misfit>(memory.u64(address)?)
    };
    // Null while the interpreter starts.
    let pointer = |address: u64, offset: u64| match word(address, offset)? {
        0 => Err(Misfit::NotYet),
        pointer => Ok(pointer),
    };
    let ractor = pointer(vm, layout.vm_main_ractor)?;
    let thread = pointer(vm, layout.vm_main_ractor + 8)?;
    let context = pointer(thread, plan.thread_frame.into())?;
    let stack = pointer(context, plan.ruby.context_stack.into())?;
    let frame = pointer(context, plan.control_frame.into())?;
    let heap = pointer(vm, plan.ruby.runtime_heap.into())?;
    let pages = pointer(heap, layout.heap_pages)?;
    if word(thread, layout.thread_ractor)? != ractor || word(thread, layout.thread_ractor + 8)? != vm {
        return Err(Misfit::Wrong("the main thread does not belong to the virtual machine"));
    }
    if word(context, layout.context_thread)? != thread {
        return Err(Misfit::Wrong("the main thread's context does not belong to it"));
    }
    let size = word(context, u64::from(plan.ruby.context_stack) + 8)?;
    if frame.wrapping_sub(stack) > size.wrapping_mul(8) {
        return Err(Misfit::Wrong("the main thread's frame does not lie on its stack"));
    }
    let record = pointer(pages, 0)?;
    let start = pointer(record, plan.ruby.page_start.into())?;
    let page = start >> plan.ruby.page_shift << plan.ruby.page_shift;
    if word(page, 0)? != record {
        return Err(Misfit::Wrong("a page of the heap does not belong to its record"));
    }
    Ok(())
}

/// Ruby in a file that need not run.
pub(super) fn in_file(object: &Object, path: &Path) -> Option<InFile> {
    let file = look(object).ok().flatten()?;
    let version = file.version.unwrap_or_else(|| "unknown".to_owned());
    let layout = parse(&version).and_then(layout::of_version);
    let interpreter = Interpreter {
        name: NAME.to_owned(),
        version: version.clone(),
        path: path.to_string_lossy().into_owned(),
        layout: layout.map(|layout| layout.name.to_owned()),
    };
    let language = layout.map(|layout| layout as &dyn Language);
    Some(InFile {
        interpreter,
        language: language.ok_or_else(|| Reason::NoLayout { version, known: layout::known() }),
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Fixture;

    const VM: u64 = 0x10_0000;
    const RACTOR: u64 = 0x20_0000;
    const THREAD: u64 = 0x30_0000;
    const CONTEXT: u64 = 0x40_0000;
    const STACK: u64 = 0x50_0000;
    const HEAP: u64 = 0x60_0000;
    const PAGES: u64 = 0x70_0000;
    const RECORD: u64 = 0x80_0000;
    const PAGE: u64 = 0x90_0000;

    fn words(layout: &Layout) -> [(u64, u64); 14] {
        let plan = &layout.plan;
        let thread = THREAD + u64::from(plan.thread_frame);
        [
            (VM + 32, RACTOR),
            (VM + 40, THREAD),
            (VM + u64::from(plan.ruby.runtime_heap), HEAP),
            (THREAD + 24, RACTOR),
            (THREAD + 32, VM),
            (thread, CONTEXT),
            (CONTEXT, STACK),
            (CONTEXT + 8, 1024),
            (CONTEXT + 16, STACK + 800),
            (CONTEXT + 48, THREAD),
            (HEAP + layout.heap_pages, PAGES),
            (PAGES, RECORD),
            (RECORD + 32, PAGE + 16),
            (PAGE, RECORD),
        ]
    }

    fn check_with(layout: &Layout, changes: &[(u64, u64)]) -> Result<(), Misfit> {
        let words = words(layout);
        let memory = words
            .iter()
            .chain(changes)
            .fold(Fixture::default(), |memory, (address, word)| memory.with(*address, word.to_le_bytes()));
        check(layout, &memory, VM)
    }

    #[test]
    fn an_interpreter_and_what_is_none() {
        for layout in layout::LAYOUTS {
            let plan = &layout.plan;
            let (heap, context) =
                (VM + u64::from(plan.ruby.runtime_heap), THREAD + u64::from(plan.thread_frame));
            assert!(check_with(layout, &[]).is_ok());
            for null in
                [VM + 32, VM + 40, heap, context, CONTEXT, CONTEXT + 16, HEAP + layout.heap_pages, PAGES]
            {
                assert!(matches!(check_with(layout, &[(null, 0)]), Err(Misfit::NotYet)), "{null:#x}");
            }
            for wrong in [(THREAD + 24, 8), (THREAD + 32, 8), (CONTEXT + 48, 8), (CONTEXT + 16, 8), (PAGE, 8)]
            {
                assert!(matches!(check_with(layout, &[wrong]), Err(Misfit::Wrong(_))), "{wrong:x?}");
            }
            let far = [(VM + 32, u64::MAX), (THREAD + 24, 1)];
            assert!(matches!(check_with(layout, &far), Err(Misfit::Wrong(_))));
        }
    }

    /// Versions before and behind the table are not taken for one that is known.
    #[test]
    fn versions() {
        assert_eq!(parse("3.1.2").and_then(layout::of_version).map(|layout| layout.name), Some("ruby-3.1"));
        assert_eq!(parse("3.3.8").and_then(layout::of_version).map(|layout| layout.name), Some("ruby-3.3"));
        for unknown in ["3.0.6", "3.4.1", "2.7.0", "3.2.0", "4.0.0", "3.1", "3.1.2.9", "", "three"] {
            assert!(parse(unknown).and_then(layout::of_version).is_none(), "{unknown}");
        }
    }
}
