//! What a stack was unwound from, in the form in which the kernel program compares it.

use cowtrace_ebpf::native::{MAX_REGISTERS, MAX_SLOTS, Template};

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
        template.which[at] = position;
        template.register_values[at] = value;
        template.registers += 1;
    }
    for (at, (position, value)) in slots.enumerate() {
        template.offsets[at] = u16::try_from(position).ok()?;
        template.values[at] = value;
        template.slots += 1;
        template.span = u32::try_from(position).ok()? + 1;
    }
    Some(template)
}

/// Whether a copy is of the template's stack, as the kernel program decides it.
#[must_use]
pub fn fits(template: &Template, copy: &StackCopy) -> bool {
    let registers = (template.registers as usize).min(MAX_REGISTERS);
    let slots = (template.slots as usize).min(MAX_SLOTS);
    (0..registers)
        .all(|at| copy.registers[usize::from(template.which[at]) % REGISTERS] == template.register_values[at])
        && (0..slots)
            .all(|at| copy.words.get(usize::from(template.offsets[at])) == Some(&template.values[at]))
}
