//! Line tables: from the offset of an instruction to its line.

use cowtrace_ebpf::plan::Plan;

use crate::event::Code;
use crate::memory::Memory;

/// Line of the instruction at a byte offset by a location table; `None` = it has no line, or the
/// table ends before it.
///
/// Each entry begins with a byte whose highest bit is set: 4 bits of kind, 3 bits of length in code units, less one.
/// <https://github.com/python/cpython/blob/v3.11.7/Objects/locations.md>
#[must_use]
pub fn locations(table: &[u8], first_line: i32, offset: u32) -> Option<u32> {
    const UNIT: u64 = 2;
    let mut bytes = table.iter().copied();
    let mut line = i64::from(first_line);
    let mut end = 0;
    // Ends with the table: each turn takes at least one byte of it.
    while let Some(first) = bytes.next() {
        if first & 0x80 == 0 {
            return None;
        }
        let mut has_line = true;
        match (first >> 3) & 15 {
            0..=9 => skip(&mut bytes, 1)?,
            kind @ 10..=12 => {
                line += i64::from(kind - 10);
                skip(&mut bytes, 2)?;
            }
            13 => line += signed(&mut bytes)?,
            14 => {
                line += signed(&mut bytes)?;
                for _ in 0..3 {
                    variable(&mut bytes)?;
                }
            }
            _ => has_line = false,
        }
        end += (u64::from(first & 7) + 1) * UNIT;
        if u64::from(offset) < end {
            return u32::try_from(line).ok().filter(|&line| has_line && line > 0);
        }
    }
    None
}

/// Line of the instruction at a byte offset by `co_lnotab`, until 3.9: pairs of a step in bytes (u8) and one in lines
/// (i8). A line holds until the next pair with steps in both.
/// <https://github.com/python/cpython/blob/v3.9.18/Objects/lnotab_notes.txt>
#[must_use]
pub fn lnotab(table: &[u8], first_line: i32, offset: u32) -> Option<u32> {
    let mut line = i64::from(first_line);
    let mut address = 0_u64;
    for pair in table.chunks_exact(2) {
        address += u64::from(pair[0]);
        if address > u64::from(offset) {
            break;
        }
        line += i64::from(pair[1].cast_signed());
    }
    u32::try_from(line).ok().filter(|&line| line > 0)
}

/// Line of the instruction at a byte offset by `co_linetable` of 3.10: pairs of a length in bytes (u8) and a step in lines
/// (i8) that applies before them, −128 for instructions without a line.
/// <https://github.com/python/cpython/blob/v3.10.13/Objects/lnotab_notes.txt>
#[must_use]
pub fn linetable(table: &[u8], first_line: i32, offset: u32) -> Option<u32> {
    const NO_LINE: i8 = -128;
    let mut line = i64::from(first_line);
    let mut end = 0_u64;
    for pair in table.chunks_exact(2) {
        let step = pair[1].cast_signed();
        if step != NO_LINE {
            line += i64::from(step);
        }
        end += u64::from(pair[0]);
        if u64::from(offset) < end {
            return u32::try_from(line).ok().filter(|&line| step != NO_LINE && line > 0);
        }
    }
    None
}

fn skip(bytes: &mut impl Iterator<Item = u8>, count: usize) -> Option<()> {
    bytes.nth(count - 1).map(|_| ())
}

/// 6 bits a byte, the lowest first; bit 6 says that more follow. At most 32 bits.
fn variable(bytes: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let mut value = 0;
    for shift in (0..32).step_by(6) {
        let byte = bytes.next()?;
        value |= u32::from(byte & 63) << shift;
        if byte & 64 == 0 {
            return Some(value);
        }
    }
    None
}

/// The lowest bit is the sign.
fn signed(bytes: &mut impl Iterator<Item = u8>) -> Option<i64> {
    let value = variable(bytes)?;
    let magnitude = i64::from(value >> 1);
    Some(if value & 1 == 0 { magnitude } else { -magnitude })
}

/// Longest line table that is read.
const MOST_LINES: u64 = 1 << 20;

/// The line table of a code object, of which only the start was kept, from memory; `None` = it is not there any more.
pub(super) fn whole(plan: &Plan, memory: &dyn Memory, code: &Code) -> Option<Vec<u8>> {
    let table = memory.u64(code.address.checked_add(plan.code_lines.into())?).ok()?;
    let len = memory.u64(table.checked_add(plan.bytes_length.into())?).ok()?;
    if len != u64::from(code.lines_full) || len > MOST_LINES {
        return None;
    }
    let mut lines = vec![0; usize::try_from(len).ok()?];
    memory.read(table.checked_add(plan.bytes_data.into())?, &mut lines).ok()?;
    lines.starts_with(&code.lines).then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First line, table in hexadecimal, and by `co_lines()` of CPython 3.11.7: where each run of instructions ends and
    /// which line it has (0 for none).
    type Case = (i32, &'static str, &'static [(u32, u32)]);

    /// A module whose first instruction has line 0; a function with `try`, `with`, long and multi-line expressions, and
    /// a jump of 92 lines; a comprehension; a lambda.
    static CASES: &[Case] = &[
        (
            1,
            "\
            f003010101f00600090af0036b01010dd81011f0036b01010df0006b01010df0006b01010df0006b01010df0006b0101\
            0df0006b01010df0006b01010d",
            &[(2, 0), (4, 3), (6, 2), (8, 3), (22, 2)],
        ),
        (
            2,
            "\
            8000f00402090ff00002090fd81213f00302090ff10002090ff40002090f8041f00609050fdd0d11902189578c57f000\
            02091d9801d81314973692369821d81a1bf10301141df40001141df00302091df00002091df00002091df00002091df1\
            0002091df40002091df00002091df00e00090a8f088a089011890b8c0b880b905197589258d80c0df10301160ff40001\
            160ff00001160ff00001160ff00f02091df00002091df00002091df00002091df8f8f8f00002091df00002091df00002\
            091df00002091df00002091df8f506000d14dd0c16f003010c18f00002057e01f00002057e01f00002057e01e50e1ad0\
            1b6cd56f72d07374d16f75d46f75d11b75d10e76d40e76d07c7dd0087df8f8f8f8f00502057e01f8f8f8f00702091df0\
            0e00090a8f088a089011890b8c0b880b905197589258d80c0df10301160ff40001160ff00001160ff00001160ff88801\
            8f088a089011890b8c0b880b905197589258d80c0df10301160ff40001160ff00001160ff00001160ff8f8f8e50d1290\
            3289598c59f000010519f000010519880198719c739f759a75d80817880ff103012019f4000120199801982199049804\
            f07802000c0d8048",
            &[
                (2, 2),
                (6, 4),
                (8, 5),
                (26, 4),
                (28, 7),
                (60, 8),
                (86, 9),
                (88, 10),
                (102, 9),
                (126, 8),
                (192, 15),
                (194, 16),
                (212, 15),
                (220, 8),
                (226, 0),
                (236, 8),
                (238, 0),
                (250, 11),
                (262, 12),
                (270, 11),
                (334, 13),
                (342, 0),
                (344, 11),
                (350, 0),
                (352, 8),
                (418, 15),
                (420, 16),
                (438, 15),
                (440, 0),
                (506, 15),
                (508, 16),
                (526, 15),
                (532, 0),
                (600, 17),
                (604, 18),
                (628, 17),
                (632, 109),
            ],
        ),
        (
            4,
            "\
            8000f00002090ff00002090ff00002090fd80d0ed80c0df00502090f8811f00002090ff00002090ff00002090f",
            &[(8, 4), (10, 5), (12, 6), (22, 4)],
        ),
        (18, "80009021906191258000", &[(12, 18)]),
    ];

    /// A loop that goes back in lines, a step of more than 255 bytes, one of more than 127 lines.
    #[test]
    fn tables_of_pairs() {
        let table = [0, 1, 8, 1, 6, 0xff, 255, 0, 3, 127, 0, 73];
        for (offset, line) in
            [(0, 11), (7, 11), (8, 12), (13, 12), (14, 11), (271, 11), (272, 211), (9999, 211)]
        {
            assert_eq!(lnotab(&table, 10, offset), Some(line), "{offset}");
        }
        assert_eq!(lnotab(&[0, 0x80], 10, 0), None);
        let table = [0, 1, 8, 0, 6, 0x80, 4, 2, 2, 0xff];
        for (offset, line) in
            [(0, Some(11)), (7, Some(11)), (8, None), (14, Some(13)), (18, Some(12)), (20, None)]
        {
            assert_eq!(linetable(&table, 10, offset), line, "{offset}");
        }
        assert_eq!((linetable(&[], 10, 0), linetable(&[1], 10, 0)), (None, None));
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn as_the_interpreter_says() {
        for (first_line, table, runs) in CASES {
            let table = bytes(table);
            let mut offset = 0;
            for &(end, line) in *runs {
                while offset < end {
                    let expected = Some(line).filter(|&line| line > 0);
                    assert_eq!(locations(&table, *first_line, offset), expected, "at {offset}");
                    offset += 2;
                }
            }
            assert_eq!(locations(&table, *first_line, offset), None, "behind the code");
        }
    }

    /// Cut anywhere, the table gives the right line or none.
    #[test]
    fn cut_tables() {
        for (first_line, table, runs) in CASES {
            let table = bytes(table);
            let end = runs.last().unwrap().0;
            for length in 0..table.len() {
                for offset in (0..end).step_by(2) {
                    let cut = locations(&table[..length], *first_line, offset);
                    assert!(cut.is_none() || cut == locations(&table, *first_line, offset));
                }
            }
        }
    }

    #[test]
    fn arbitrary_tables() {
        let mut state = 0x9e37_79b9_u32;
        for _ in 0..20_000 {
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state
            };
            let table: Vec<u8> =
                (0..next() >> 26).map(|_| (next() >> 24) as u8 | 0x80 & next() as u8).collect();
            let _ = locations(&table, next().cast_signed(), next() >> 20);
        }
        assert_eq!(locations(&[0xe8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1, 0), None);
        assert_eq!(locations(&[0x80, 0], i32::MAX, u32::MAX), None);
        assert_eq!(locations(&[0xd8, 0, 0], i32::MAX, 0), Some(1 << 31));
    }
}
