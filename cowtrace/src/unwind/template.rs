//! What a stack was unwound from, in the form in which the kernel program compares it.

use cowtrace_ebpf::native::{MAX_REGISTERS, MAX_SLOTS, Slot, Template};

use cowtrace_ebpf::event::REGISTERS;

use super::registers::{Registers, Words};
use crate::event::StackCopy;

/// The template of a stack, without a number; `None` = it depends on more than a template holds.
pub(super) fn of(words: &Words<'_>, registers: &Registers) -> Option<Template> {
    let mut template = Template::default();
    let (slots, used) = (words.used(), registers.used());
    if slots.len() > MAX_SLOTS || used.len() > MAX_REGISTERS {
        return None;
    }
    for (at, (position, value)) in used.enumerate() {
        template.which[at] = u64::from(position);
        template.register_values[at] = value;
        template.registers += 1;
    }
    for (at, (position, value)) in slots.enumerate() {
        let position = u16::try_from(position).ok()?;
        if at == 0 {
            template.start = position;
        }
        let offset = position - template.start;
        template.words[at] = Slot { offset: offset.into(), value };
        template.slots += 1;
        template.span = offset + 1;
    }
    Some(template)
}

/// Whether a copy is of the template's stack, as the kernel program decides it.
#[must_use]
pub fn fits(template: &Template, copy: &StackCopy) -> bool {
    let registers = usize::from(template.registers).min(MAX_REGISTERS);
    let slots = usize::from(template.slots).min(MAX_SLOTS);
    let mut registers = template.which.iter().zip(template.register_values).take(registers);
    let mut slots = template.words.iter().take(slots);
    registers.all(|(&which, value)| copy.registers[which as usize % REGISTERS] == value)
        && slots.all(|slot| {
            let at = usize::from(template.start).wrapping_add(slot.offset as usize);
            copy.words.get(at) == Some(&slot.value)
        })
}
