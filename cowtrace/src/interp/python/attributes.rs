//! Where instances keep their attributes, beside slots: in a dict of their own, in an array of values, or in themselves.

use cowtrace_ebpf::plan::Plan;

use crate::interp::{Owned, Shape, TypeOf};
use crate::memory::Memory;

/// `Py_TPFLAGS_MANAGED_DICT`: the instance's dict is kept in front of it.
/// <https://github.com/python/cpython/blob/v3.11.7/Include/object.h#L339>
const MANAGED_DICT: u64 = 1 << 4;
/// `Py_TPFLAGS_HEAPTYPE`: a class, or a type of a module.
/// <https://github.com/python/cpython/blob/v3.11.7/Include/object.h#L351>
const HEAPTYPE: u64 = 1 << 9;
/// Distance from a type's flags to `tp_dictoffset`.
/// <https://github.com/python/cpython/blob/v3.11.7/Include/cpython/object.h#L148>
const DICT_OFFSET: u64 = 120;
/// Instances that are larger are not believed.
const MOST_SIZE: u64 = 1 << 20;
/// Marks the word in front of an instance as the address of values, less one.
/// <https://github.com/python/cpython/blob/v3.12.1/Include/internal/pycore_object.h#L268>
const IS_VALUES: u64 = 1;

/// What lies in front of an instance whose class manages its dict. Distances count backwards from the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes {
    /// Nothing: until 3.10.
    Dict,
    /// The address of the values, and that of the dict.
    /// <https://github.com/python/cpython/blob/v3.11.7/Include/internal/pycore_object.h#L280>
    ValuesAndDict(u64, u64),
    /// The address of either.
    Either(u64),
    /// The address of the dict; the values are in the instance itself.
    /// <https://github.com/python/cpython/blob/v3.13.0/Include/internal/pycore_object.h#L625>
    InlineAndDict(u64),
}

/// What a type says of its instances.
pub(super) fn shape(plan: &Plan, memory: &dyn Memory, of: u64) -> Option<Shape> {
    let word = |offset: u64| memory.u64(of.checked_add(offset)?).ok();
    // tp_basicsize follows tp_name.
    let size = word(u64::from(plan.type_name) + 8)?;
    Some(Shape { size, dict_offset: word(u64::from(plan.type_flags) + DICT_OFFSET)? })
}

impl Attributes {
    /// Where an instance keeps its attributes; `None` = nowhere that is known, or it could not be read.
    pub(super) fn of_instance(self, memory: &dyn Memory, object: u64, of: TypeOf<'_>) -> Option<Owned> {
        let before = |distance: u64| memory.u64(object.checked_sub(distance)?).ok();
        let Shape { size, dict_offset: offset } = of.shape;
        // Others may be shorter than their type says: compact strings are.
        let is_fixed = of.flags & HEAPTYPE != 0 && size <= MOST_SIZE;
        let body = if is_fixed { object..object.checked_add(size)? } else { 0..0 };
        let managed = of.flags & MANAGED_DICT != 0;
        let (values, dict) = match self {
            Self::ValuesAndDict(values, dict) if managed => (before(values)?, before(dict)?),
            Self::Either(distance) if managed => match before(distance)? {
                word if word & IS_VALUES != 0 => (word.wrapping_add(IS_VALUES), 0),
                dict => (0, dict),
            },
            Self::InlineAndDict(distance) if managed => (0, before(distance)?),
            _ => {
                let dict = if (1..MOST_SIZE).contains(&offset) { object.checked_add(offset) } else { None };
                (0, dict.map_or(Some(0), |dict| memory.u64(dict).ok())?)
            }
        };
        (values != 0 || dict != 0 || !body.is_empty()).then_some(Owned::Instance { values, dict, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp::python::layout::PYTHON_3_11;
    use crate::memory::Fixture;

    const TYPE: u64 = 0x1000;
    const OBJECT: u64 = 0x8040;

    /// An instance behind the words at −32 and −24, of a type whose dicts lie at 16.
    fn of(attributes: Attributes, flags: u64) -> Option<(u64, u64)> {
        let words = [0x5000_u64, 0x6001, 0, 0, 1, TYPE, 0x7000];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let memory = Fixture::default()
            .with(OBJECT - 32, bytes)
            .with(TYPE + 32, 40_u64.to_le_bytes())
            .with(TYPE + 288, 16_u64.to_le_bytes());
        let shape = shape(&PYTHON_3_11.plan, &memory, TYPE).unwrap();
        match attributes.of_instance(&memory, OBJECT, TypeOf { name: "Some", flags, shape }) {
            Some(Owned::Instance { values, dict, body }) => {
                assert_eq!(body, if flags & HEAPTYPE == 0 { 0..0 } else { OBJECT..OBJECT + 40 });
                Some((values, dict))
            }
            _ => None,
        }
    }

    #[test]
    fn every_way() {
        assert_eq!(of(Attributes::Dict, 0), Some((0, 0x7000)));
        assert_eq!(of(Attributes::Dict, MANAGED_DICT), Some((0, 0x7000)), "the flag had no meaning then");
        assert_eq!(of(Attributes::ValuesAndDict(32, 24), MANAGED_DICT), Some((0x5000, 0x6001)));
        assert_eq!(of(Attributes::Either(24), MANAGED_DICT), Some((0x6002, 0)));
        assert_eq!(of(Attributes::Either(32), MANAGED_DICT), Some((0, 0x5000)));
        assert_eq!(of(Attributes::InlineAndDict(24), MANAGED_DICT), Some((0, 0x6001)));
        assert_eq!(of(Attributes::InlineAndDict(24), 0), Some((0, 0x7000)), "a static type");
        assert_eq!(of(Attributes::Dict, HEAPTYPE), Some((0, 0x7000)));
    }
}
