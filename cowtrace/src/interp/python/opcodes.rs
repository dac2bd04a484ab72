//! Names of bytecode instructions, by version: each base instruction with its own number and those of its specialised
//! forms, which the interpreter writes over it while a program runs.
//!
//! A table is made by the interpreter's own `opcode` module (`opmap`, `_specializations`: the forms take the unused
//! numbers in order).

use super::layout::OpcodeTable;

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

/// CPython 3.11. `CACHE` (0) is left out: it is no instruction.
///
/// <https://github.com/python/cpython/blob/v3.11.7/Include/opcode.h>,
/// <https://github.com/python/cpython/blob/v3.11.7/Lib/opcode.py>
#[rustfmt::skip]
pub(super) static PYTHON_3_11: OpcodeTable = names(&[
    ("POP_TOP", &[1]),
    ("PUSH_NULL", &[2]),
    ("NOP", &[9]),
    ("UNARY_POSITIVE", &[10]),
    ("UNARY_NEGATIVE", &[11]),
    ("UNARY_NOT", &[12]),
    ("UNARY_INVERT", &[15]),
    ("BINARY_SUBSCR", &[25, 17, 18, 19, 20, 21]),
    ("GET_LEN", &[30]),
    ("MATCH_MAPPING", &[31]),
    ("MATCH_SEQUENCE", &[32]),
    ("MATCH_KEYS", &[33]),
    ("PUSH_EXC_INFO", &[35]),
    ("CHECK_EXC_MATCH", &[36]),
    ("CHECK_EG_MATCH", &[37]),
    ("WITH_EXCEPT_START", &[49]),
    ("GET_AITER", &[50]),
    ("GET_ANEXT", &[51]),
    ("BEFORE_ASYNC_WITH", &[52]),
    ("BEFORE_WITH", &[53]),
    ("END_ASYNC_FOR", &[54]),
    ("STORE_SUBSCR", &[60, 168, 169, 170]),
    ("DELETE_SUBSCR", &[61]),
    ("GET_ITER", &[68]),
    ("GET_YIELD_FROM_ITER", &[69]),
    ("PRINT_EXPR", &[70]),
    ("LOAD_BUILD_CLASS", &[71]),
    ("LOAD_ASSERTION_ERROR", &[74]),
    ("RETURN_GENERATOR", &[75]),
    ("LIST_TO_TUPLE", &[82]),
    ("RETURN_VALUE", &[83]),
    ("IMPORT_STAR", &[84]),
    ("SETUP_ANNOTATIONS", &[85]),
    ("YIELD_VALUE", &[86]),
    ("ASYNC_GEN_WRAP", &[87]),
    ("PREP_RERAISE_STAR", &[88]),
    ("POP_EXCEPT", &[89]),
    ("STORE_NAME", &[90]),
    ("DELETE_NAME", &[91]),
    ("UNPACK_SEQUENCE", &[92, 177, 178, 179, 180]),
    ("FOR_ITER", &[93]),
    ("UNPACK_EX", &[94]),
    ("STORE_ATTR", &[95, 153, 154, 158, 159]),
    ("DELETE_ATTR", &[96]),
    ("STORE_GLOBAL", &[97]),
    ("DELETE_GLOBAL", &[98]),
    ("SWAP", &[99]),
    ("LOAD_CONST", &[100, 44]),
    ("LOAD_NAME", &[101]),
    ("BUILD_TUPLE", &[102]),
    ("BUILD_LIST", &[103]),
    ("BUILD_SET", &[104]),
    ("BUILD_MAP", &[105]),
    ("LOAD_ATTR", &[106, 39, 40, 41, 42, 43]),
    ("COMPARE_OP", &[107, 26, 27, 28, 29]),
    ("IMPORT_NAME", &[108]),
    ("IMPORT_FROM", &[109]),
    ("JUMP_FORWARD", &[110]),
    ("JUMP_IF_FALSE_OR_POP", &[111]),
    ("JUMP_IF_TRUE_OR_POP", &[112]),
    ("POP_JUMP_FORWARD_IF_FALSE", &[114]),
    ("POP_JUMP_FORWARD_IF_TRUE", &[115]),
    ("LOAD_GLOBAL", &[116, 47, 48, 55]),
    ("IS_OP", &[117]),
    ("CONTAINS_OP", &[118]),
    ("RERAISE", &[119]),
    ("COPY", &[120]),
    ("BINARY_OP", &[122, 3, 4, 5, 6, 7, 8, 13, 14, 16]),
    ("SEND", &[123]),
    ("LOAD_FAST", &[124, 45, 46]),
    ("STORE_FAST", &[125, 161, 167]),
    ("DELETE_FAST", &[126]),
    ("POP_JUMP_FORWARD_IF_NOT_NONE", &[128]),
    ("POP_JUMP_FORWARD_IF_NONE", &[129]),
    ("RAISE_VARARGS", &[130]),
    ("GET_AWAITABLE", &[131]),
    ("MAKE_FUNCTION", &[132]),
    ("BUILD_SLICE", &[133]),
    ("JUMP_BACKWARD_NO_INTERRUPT", &[134]),
    ("MAKE_CELL", &[135]),
    ("LOAD_CLOSURE", &[136]),
    ("LOAD_DEREF", &[137]),
    ("STORE_DEREF", &[138]),
    ("DELETE_DEREF", &[139]),
    ("JUMP_BACKWARD", &[140, 38]),
    ("CALL_FUNCTION_EX", &[142]),
    ("EXTENDED_ARG", &[144, 34]),
    ("LIST_APPEND", &[145]),
    ("SET_ADD", &[146]),
    ("MAP_ADD", &[147]),
    ("LOAD_CLASSDEREF", &[148]),
    ("COPY_FREE_VARS", &[149]),
    ("RESUME", &[151, 150]),
    ("MATCH_CLASS", &[152]),
    ("FORMAT_VALUE", &[155]),
    ("BUILD_CONST_KEY_MAP", &[156]),
    ("BUILD_STRING", &[157]),
    ("LOAD_METHOD", &[160, 56, 57, 58, 59, 62, 63]),
    ("LIST_EXTEND", &[162]),
    ("SET_UPDATE", &[163]),
    ("DICT_MERGE", &[164]),
    ("DICT_UPDATE", &[165]),
    ("PRECALL", &[166, 64, 65, 66, 67, 72, 73, 76, 77, 78, 79, 80, 81, 113, 121, 127, 141, 143]),
    ("CALL", &[171, 22, 23, 24]),
    ("KW_NAMES", &[172]),
    ("POP_JUMP_BACKWARD_IF_NOT_NONE", &[173]),
    ("POP_JUMP_BACKWARD_IF_NONE", &[174]),
    ("POP_JUMP_BACKWARD_IF_FALSE", &[175]),
    ("POP_JUMP_BACKWARD_IF_TRUE", &[176]),
]);

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
