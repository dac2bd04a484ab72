//! Names of type objects, with checks that there is a type object.

use cowtrace_ebpf::event::TYPE_NAME;
use cowtrace_ebpf::plan::Plan;

use crate::memory::Memory;

/// Types of types of types that are followed: real programs have one or two.
const MAX_METATYPES: u32 = 4;
/// Set in the flags of `type` and of what inherits from it.
/// <https://github.com/python/cpython/blob/v3.11.7/Include/object.h#L420>
const TYPE_SUBCLASS: u64 = 1 << 31;

/// The name of the type object at an address; `None` = there is no type object.
pub(super) fn name(plan: &Plan, memory: &dyn Memory, type_type: u64, address: u64) -> Option<String> {
    let word = |address: u64, offset: u16| memory.u64(address.checked_add(offset.into())?).ok();
    if address == 0 || !address.is_multiple_of(8) {
        return None;
    }
    // A type's type inherits from `type`; an instance's does not, although its type's type may be `type` too.
    let mut metatype = word(address, plan.object_type)?;
    for _ in 0..MAX_METATYPES {
        if metatype == type_type {
            return text(&memory.c_string(word(address, plan.type_name)?, TYPE_NAME).ok()?);
        }
        if word(metatype, plan.type_flags)? & TYPE_SUBCLASS == 0 {
            return None;
        }
        metatype = word(metatype, plan.object_type)?;
    }
    None
}

fn text(bytes: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(bytes).ok()?;
    (!name.is_empty() && !name.contains(char::is_control)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp::python::layout::PYTHON_3_11;
    use crate::memory::Fixture;

    const TYPE: u64 = 0x1000;
    const META: u64 = 0x2000;
    const CLASS: u64 = 0x3000;
    const INSTANCE: u64 = 0x4000;
    const CYCLE: u64 = 0x5000;
    const NAME: u64 = 0x6000;

    fn object(of: u64, flags: u64) -> Vec<u8> {
        let mut bytes = vec![0; 400];
        bytes[8..16].copy_from_slice(&of.to_le_bytes());
        bytes[24..32].copy_from_slice(&NAME.to_le_bytes());
        bytes[168..176].copy_from_slice(&flags.to_le_bytes());
        bytes
    }

    fn name_at(address: u64) -> Option<String> {
        let memory = Fixture::default()
            .with(TYPE, object(TYPE, TYPE_SUBCLASS))
            .with(META, object(TYPE, TYPE_SUBCLASS))
            .with(CLASS, object(META, 0))
            .with(INSTANCE, object(CLASS, 0))
            .with(CYCLE, object(CYCLE, TYPE_SUBCLASS))
            .with(NAME, *b"Name\0");
        name(&PYTHON_3_11.plan, &memory, TYPE, address)
    }

    #[test]
    fn types_and_not() {
        for address in [TYPE, META, CLASS] {
            assert_eq!(name_at(address).as_deref(), Some("Name"), "{address:#x}");
        }
        for address in [INSTANCE, CYCLE, NAME, 0, 0x1004, 0x7000, u64::MAX - 7] {
            assert_eq!(name_at(address), None, "{address:#x}");
        }
    }
}
