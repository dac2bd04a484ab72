//! Any bytes as an instruction.

use arbitrary::Unstructured;

use super::{Form, LONGEST, decode};

/// Bytes that an instruction stores at most: `fxsave` and its like, more by far than any that a program has.
const MOST_STORED: usize = 16 << 10;

/// What a store is follows from the bytes of one instruction alone, and registers add nothing but a value.
pub(crate) fn instruction(bytes: &[u8]) {
    let mut given = Unstructured::new(bytes);
    let Ok(registers) = given.arbitrary() else { return };
    let bytes = given.take_rest();
    let store = decode(bytes, Some(&registers));
    assert_eq!(decode(&bytes[..bytes.len().min(LONGEST)], Some(&registers)), store);
    let plain = decode(bytes, None);
    assert_eq!(plain.is_some(), store.is_some());
    let Some((store, plain)) = store.zip(plain) else { return };
    assert!(store.size <= MOST_STORED, "{store:?}");
    assert_eq!((store.size, store.offset, store.on_stack), (plain.size, plain.offset, plain.on_stack));
    assert!(!matches!(plain.form, Form::Register(Some(_))), "a value of no register");
    if !matches!(store.form, Form::Register(_)) {
        assert_eq!(store.form, plain.form);
    }
}
