//! Stacks of this program's own code, and of broken ones.

use cowtrace_ebpf::event::REGISTERS;
use cowtrace_ebpf::native::{MAX_SLOTS, first_word};
use cowtrace_ebpf::state::ProcessKey;

use super::table::{Section, Table};
use super::*;

const SP: u64 = 0x7ffc_0000_1000;
/// Words of the red zone, which a copy begins with.
const RED: usize = 16;

/// A copy with these words from the stack pointer on.
fn copy(pc: u64, frame_pointer: u64, words: &[u64], end: u32) -> StackCopy {
    let mut registers = [0; REGISTERS];
    registers[4] = frame_pointer;
    registers[16] = pc;
    registers[17] = CODE_64;
    registers[19] = SP;
    let words = [0; RED].iter().chain(words).copied().collect();
    StackCopy { process: ProcessKey::default(), id: 1, key: 2, interpreter_stack: 0, end, registers, words }
}

/// Code without any file: a page that machine code was made in.
fn made_code() -> Maps {
    Maps::parse(b"1000-3000 r-xp 00000000 00:00 0 \n").unwrap()
}

fn unwound(copy: &StackCopy) -> Known {
    unwind(&mut Tables::default(), std::process::id(), &made_code(), copy)
}

/// Frame pointers lead through code without tables, and what was read on the way makes the template.
#[test]
fn frame_pointers() {
    let words = [7, 7, SP + 48, 0x1100, 7, 7, 0, 0x1200, 7];
    let copy = copy(0x1000, SP + 16, &words, copy_end::TOP);
    let Known { stack, template } = unwound(&copy);
    assert_eq!((stack.addresses, stack.end), (vec![0x1000, 0x10ff, 0x11ff], End::Complete));
    let template = template.unwrap();
    assert_eq!((template.registers, template.which[0], template.register_values[0]), (1, 4, SP + 16));
    let slots: Vec<u64> = template.words.iter().take(template.slots.into()).map(|slot| slot.value).collect();
    assert_eq!(slots, [SP + 48, 0x1100, 0, 0x1200]);
    assert_eq!(usize::from(template.start), RED + 2);
    assert!(fits(&template, &copy));
    for (word, same) in [(RED, true), (RED + 2, false), (RED + 3, false), (RED + 4, true), (RED + 7, false)] {
        let mut other = copy.clone();
        other.words[word] ^= 8;
        assert_eq!(fits(&template, &other), same, "word {word}");
    }
    let mut other = copy.clone();
    other.registers[4] ^= 8;
    assert!(!fits(&template, &other));
    other = copy.clone();
    other.words.truncate(RED + 5);
    assert!(!fits(&template, &other), "a shorter stack");
}

/// Chains that lead nowhere, back, or on for ever end, and say how.
#[test]
fn hostile_stacks() {
    let ends = |words: &[u64], frame_pointer, end| {
        let known = unwound(&copy(0x1000, frame_pointer, words, end));
        assert!(known.stack.addresses.len() <= MAX_FRAMES);
        known.stack.end
    };
    assert_eq!(ends(&[0, 0x9999_0000], SP, copy_end::TOP), End::NoCode);
    assert_eq!(ends(&[0, u64::MAX], SP, copy_end::TOP), End::NoCode);
    assert_eq!(ends(&[SP, 0x1100], SP, copy_end::TOP), End::NoTable, "it leads to itself");
    assert_eq!(ends(&[SP + 16, 0x1100, SP, 0x1100], SP, copy_end::TOP), End::NoTable, "it leads back");
    assert_eq!(ends(&[], SP - 8, copy_end::TOP), End::NoTable, "below the stack");
    assert_eq!(ends(&[1, 2], SP + 1, copy_end::TOP), End::NoTable, "no multiple of 8");
    assert_eq!(ends(&[1, 2], u64::MAX - 7, copy_end::TOP), End::Elsewhere);
    assert_eq!(ends(&[1, 2], SP + (1 << 20), copy_end::LIMIT), End::Limit);
    assert_eq!(ends(&[1, 2], SP + 16, copy_end::UNREADABLE), End::Unreadable);
    let long: Vec<u64> = (0..200).flat_map(|at| [SP + 16 * (at + 1), 0x1100]).collect();
    assert_eq!(ends(&long, SP, copy_end::TOP), End::TooDeep);
    let mut other = copy(0x1000, SP, &[0, 0], copy_end::TOP);
    other.registers[CODE_SEGMENT] = 0x23;
    assert_eq!(unwound(&other).stack.end, End::OtherMode);
    // A stack pointer at either end of memory.
    for sp in [0, 8, u64::MAX] {
        let mut other = copy(0x1000, SP, &[1, 2, 3], copy_end::TOP);
        other.registers[19] = sp;
        assert_eq!(first_word(sp) % 8, 0);
        let _ = unwound(&other);
    }
}

/// A stack that depends on more words than a template holds has none.
#[test]
fn templates_are_bounded() {
    let deep = u64::try_from(MAX_SLOTS).unwrap();
    let chain = |frames: u64| -> Vec<u64> {
        (0..frames).flat_map(|at| [if at + 1 == frames { 0 } else { SP + 16 * (at + 1) }, 0x1100]).collect()
    };
    for (frames, has) in [(10, true), (deep / 2, true), (deep / 2 + 1, false)] {
        let known = unwound(&copy(0x1000, SP, &chain(frames), copy_end::TOP));
        assert_eq!(known.template.is_some(), has, "{frames} frames");
    }
}

/// The table of this program itself.
fn own_sections() -> (Section, Option<Section>) {
    use object::{Object as _, ObjectSection as _};
    let bytes = std::fs::read("/proc/self/exe").unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let section = |name| {
        let section = file.section_by_name(name)?;
        Some(Section { address: section.address(), bytes: section.data().unwrap().to_vec() })
    };
    (section(".eh_frame").unwrap(), section(".eh_frame_hdr"))
}

fn here() -> u64 {
    let address = own_sections as *const () as u64;
    let maps = Maps::of(std::process::id()).unwrap();
    let mapping = maps.find(address).unwrap();
    let object = crate::process::object::Object::of_mapping(std::process::id(), mapping).unwrap();
    address - object.bias(mapping).unwrap()
}

/// The linker's index and one made of the whole section lead to the same step.
#[test]
fn with_and_without_the_linkers_index() {
    let (frames, header) = own_sections();
    assert!(header.is_some());
    let address = here();
    let words: Vec<u64> = (0..400).map(|at| 0x1100 + at).collect();
    let copy = copy(address, SP + 64, &words, copy_end::TOP);
    let step = |table: &mut Table| {
        let (mut registers, mut words) = (Registers::new(&copy.registers), Words::new(&copy));
        let stepped = table.step(address, &mut registers, &mut words);
        (stepped, registers.pc, registers.general)
    };
    let by_index = step(&mut Table::new(frames.clone(), header, None));
    assert!(matches!(by_index, (Ok(Some(_)), 0x1100.., _)), "{by_index:?}");
    assert_eq!(step(&mut Table::new(frames, None, None)), by_index);
}

/// Tables with wrong bytes: a step, an end or none, no panic gets out and no time is lost.
#[test]
fn corrupt_tables() {
    let (frames, header) = own_sections();
    let header = header.unwrap();
    let address = here();
    let words: Vec<u64> = (0..400).map(|at| 0x1100 + at).collect();
    let copy = copy(address, SP + 64, &words, copy_end::TOP);
    let step = |frames: Section, header: Option<Section>| {
        let walked = catch_unwind(AssertUnwindSafe(|| {
            let mut table = Table::new(frames, header, None);
            let (mut registers, mut words) = (Registers::new(&copy.registers), Words::new(&copy));
            let _ = table.step(address, &mut registers, &mut words);
        }));
        // A panic is caught where stacks are unwound, too.
        let _ = walked;
    };
    // Near the entry that is used: its own bytes and its parent's.
    let small =
        Section { address: frames.address, bytes: frames.bytes[..frames.bytes.len().min(1 << 16)].to_vec() };
    for at in (0..4096).step_by(7) {
        let mut bad = small.clone();
        bad.bytes[at] ^= 0xff;
        step(bad, None);
    }
    for at in 0..header.bytes.len().min(64) {
        let mut bad = header.clone();
        bad.bytes[at] ^= 0xff;
        step(frames.clone(), Some(bad));
    }
    for length in [0, 1, 3, 4, 11, 100] {
        let cut =
            |section: &Section| Section { address: section.address, bytes: section.bytes[..length].to_vec() };
        step(cut(&frames), None);
        step(frames.clone(), Some(cut(&header)));
        step(cut(&frames), Some(header.clone()));
    }
}
