//! Names of bytecode instructions, by version: each base instruction with its own number and those of its specialised
//! forms, which the interpreter writes over it while a program runs.
//!
//! A table is made by the interpreter's own `opcode` module (`opmap`, `_specializations`: the forms take the unused
//! numbers in order).

mod v3_10;
mod v3_11;
mod v3_12;
mod v3_13;
mod v3_14;
mod v3_15;
mod v3_8;
mod v3_9;

use super::layout::OpcodeTable;

pub(super) use self::{
    v3_8::PYTHON_3_8, v3_9::PYTHON_3_9, v3_10::PYTHON_3_10, v3_11::PYTHON_3_11, v3_12::PYTHON_3_12,
    v3_13::PYTHON_3_13, v3_14::PYTHON_3_14, v3_15::PYTHON_3_15,
};

/// The instruction that runs machine code, compiled from a loop or a run of instructions behind it.
/// <https://github.com/python/cpython/blob/v3.14.0/InternalDocs/jit.md>
pub(super) const ENTER_COMPILED: &str = "ENTER_EXECUTOR";

/// The name at each number, empty where there is none.
const fn names(rows: &[(&'static str, &[u8])]) -> OpcodeTable {
    let mut names = [""; 256];
    let mut row = 0;
    while row < rows.len() {
        let (name, numbers) = rows[row];
        let mut index = 0;
        while index < numbers.len() {
            let number = numbers[index] as usize;
            assert!(names[number].is_empty(), "two instructions have one number");
            names[number] = name;
            index += 1;
        }
        row += 1;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specialised_forms_have_the_base_name() {
        let name = |number: usize| PYTHON_3_11[number];
        assert_eq!(
            (name(60), name(168), name(169), name(170)),
            ("STORE_SUBSCR", "STORE_SUBSCR", "STORE_SUBSCR", "STORE_SUBSCR")
        );
        assert_eq!((name(108), name(171), name(23), name(64)), ("IMPORT_NAME", "CALL", "CALL", "PRECALL"));
        assert_eq!((name(0), name(255), name(254)), ("", "", ""));
    }
}
