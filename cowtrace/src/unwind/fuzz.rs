//! Any bytes as the unwind table of a file and as the stack of a thread in it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arbitrary::Unstructured;
use cowtrace_ebpf::event::{REGISTERS, STACK_POINTER};
use cowtrace_ebpf::native::{MAX_REGISTERS, MAX_SLOTS, copy_end};
use cowtrace_ebpf::state::ProcessKey;

use super::registers::{Registers, Words};
use super::table::{Section, Table};
use super::{MAX_FRAMES, fits, template};
use crate::event::StackCopy;

/// Words of the stack at most.
const WORDS: usize = 256;
/// Bytes of the linker's index at most.
const INDEX: usize = 256;
/// Where the stack begins; a table may well say so, too.
const SP: u64 = 0x7ffc_0000_1000;

/// A stack is unwound in bounded time, and what it turned out to depend on is all of it: a stack that agrees in that, and in
/// nothing else, leads to the same frames.
pub(crate) fn unwind(bytes: &[u8]) {
    let mut given = Unstructured::new(bytes);
    let Ok((pc, address, index)) = given.arbitrary::<(u16, u16, u8)>() else { return };
    let Ok((deep, settings)) = given.arbitrary::<(u8, u8)>() else { return };
    let Ok(header) = given.bytes(usize::from(index).min(given.len()).min(INDEX)) else { return };
    let Ok(stack) = given.bytes(usize::from(deep).min(given.len() / 8) * 8) else { return };
    let stack: Vec<u64> = stack.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let frames = Section { address: address.into(), bytes: given.take_rest().to_vec() };
    let header = (settings & 1 != 0).then(|| Section { address: 0x100, bytes: header.to_vec() });
    let mut table = Table::new(frames, header, Some((0, 1 << 15)));
    let copy = copy(pc.into(), &stack);
    let walked = walk(&mut table, &copy);
    let Walked { addresses, template: Some(template), .. } = &walked else { return };
    assert!(addresses.len() <= MAX_FRAMES);
    assert!(usize::from(template.slots) <= MAX_SLOTS && usize::from(template.registers) <= MAX_REGISTERS);
    assert!(fits(template, &copy), "its own template");
    // Everything that is not in the template is other than it was.
    let mut other = copy.clone();
    let start = usize::from(template.start);
    let kept: Vec<usize> = template.words[..usize::from(template.slots)]
        .iter()
        .filter_map(|slot| Some(start + usize::try_from(slot.offset).ok()?))
        .collect();
    for (at, word) in other.words.iter_mut().enumerate().filter(|(at, _)| !kept.contains(at)) {
        *word ^= 0x10 + at as u64;
    }
    if fits(template, &other) {
        assert_eq!(walk(&mut table, &other).addresses, *addresses, "by words outside of {template:?}");
    }
}

fn copy(pc: u64, stack: &[u64]) -> StackCopy {
    let mut registers = [0; REGISTERS];
    for (at, register) in registers.iter_mut().enumerate() {
        *register = SP + 64 * at as u64;
    }
    registers[16] = pc;
    registers[STACK_POINTER] = SP;
    let mut words = stack.to_vec();
    words.truncate(WORDS);
    StackCopy {
        process: ProcessKey::default(),
        id: 16,
        key: 1,
        interpreter_stack: 0,
        end: copy_end::TOP,
        registers,
        words,
    }
}

struct Walked {
    addresses: Vec<u64>,
    template: Option<cowtrace_ebpf::native::Template>,
}

/// As [`super::unwind`] does it, with one file that is everywhere.
fn walk(table: &mut Table, copy: &StackCopy) -> Walked {
    let (mut registers, mut words) = (Registers::new(&copy.registers), Words::new(copy));
    let mut addresses = vec![registers.pc];
    let mut exact = true;
    let walk = AssertUnwindSafe(|| {
        while addresses.len() < MAX_FRAMES {
            let at = registers.pc.wrapping_sub(u64::from(!exact));
            let Ok(Some(stepped)) = table.step(at, &mut registers, &mut words) else { break };
            if stepped.outermost {
                break;
            }
            exact = stepped.signal;
            addresses.push(registers.pc.wrapping_sub(u64::from(!exact)));
        }
    });
    // A panic of the library ends a stack, as everywhere else.
    let _ = catch_unwind(walk);
    Walked { addresses, template: template::of(&words, &registers) }
}
