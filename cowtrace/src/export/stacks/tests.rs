//! Stacks of small traces, and labels of frames.

use super::*;
use crate::record::fixture::{Builder, operation, page, write};

fn python(function: &str, line: u32, op: Option<&'static str>) -> PythonFrame {
    let (function, file) = (function.to_owned(), "/home/ann/seed/multi.py".to_owned());
    PythonFrame { function, file, line: Some(line), approximate: false, op }
}

fn native(symbol: Option<&str>, offset: u64) -> NativeFrame {
    let object = Some("/usr/lib/libc.so.6".to_owned());
    NativeFrame { symbol: symbol.map(str::to_owned), object, offset, ..NativeFrame::default() }
}

/// Outermost first, and what faults share is there once.
#[test]
fn mixed_and_shared() {
    let mut b = Builder::new(&["x"]);
    let only = b.process(None, "x", 0);
    let mut one = page(operation("call", ""), write("refcount", "str", "'a'"), None);
    one.python = vec![python("f", 9, Some("LOAD_FAST")), python("<module>", 12, None)];
    one.native = vec![native(Some("memcpy"), 0x10), native(None, 0x20)];
    b.faults(only, 3, &one);
    // Another instruction, address and object, and the same stack.
    one.python[0].op = None;
    one.native[0].offset = 0x18;
    one.write = write("refcount", "str", "'b'");
    b.faults(only, 1, &one);
    one.write = write("dict_entry", "dict", "sys.modules['os']");
    b.faults(only, 1, &one);
    let trace = b.finish();
    let mut stacks = Stacks::new(&trace);
    let of: Vec<Stack> = trace.faults.iter().map(|fault| stacks.of(fault)).collect();
    assert_eq!(of[..4], [of[0]; 4]);
    assert_ne!(of[0], of[4]);
    let labels = |stack| -> Vec<String> {
        stacks.path(stack).iter().map(|frame| stacks.frames()[*frame as usize].label()).collect()
    };
    let shared =
        ["<module> (seed/multi.py:12)", "f (seed/multi.py:9)", "libc.so.6+0x20", "memcpy (libc.so.6)"];
    assert_eq!(labels(of[0])[..4], shared);
    assert_eq!(labels(of[0])[4..], ["refcount of str"]);
    assert_eq!(labels(of[4]), [&shared[..], &["dict entry sys.modules['os']"]].concat());
    assert_eq!((stacks.nodes().len(), stacks.frames().len()), (6, 6));
    let callers_first = |(at, node): (usize, &Node)| node.caller.is_none_or(|caller| caller.index() < at);
    assert!(stacks.nodes().iter().enumerate().all(callers_first));
}

/// With debug information, native code has its line instead of its object.
#[test]
fn native_lines() {
    let mut frame = native(Some("dbAdd"), 0x10);
    (frame.file, frame.line) = (Some("/build/redis/src/db.c".to_owned()), Some(188));
    let shown = Frame::native(&frame);
    assert_eq!(shown.label(), "dbAdd (src/db.c:188)");
    assert_eq!((shown.file().as_deref(), shown.line()), (Some("/build/redis/src/db.c"), Some(188)));
    // A file without a line says less than the object.
    frame.line = None;
    assert_eq!(Frame::native(&frame).label(), "dbAdd (libc.so.6)");
}

/// Without any frame, the write stands alone, also where it is not in its table.
#[test]
fn nothing_known() {
    let mut b = Builder::new(&["x"]);
    let only = b.process(None, "x", 0);
    b.faults(only, 1, &page(operation("native", ""), write("unknown", "", ""), None));
    let mut trace = b.finish();
    trace.faults.push(trace.faults[0]);
    trace.faults[1].write = Id::new(77);
    let mut stacks = Stacks::new(&trace);
    for fault in &trace.faults {
        let stack = stacks.of(fault);
        let path = stacks.path(stack);
        assert_eq!(path.len(), 1);
        assert_eq!(stacks.frames()[path[0] as usize].label(), "unknown write");
    }
}

/// A frame of a collapsed stack cannot end the frame, the stack or the line, nor add a number or a comment.
#[test]
fn frames_of_collapsed_stacks() {
    for (label, shown) in [
        ("f (multi.py:9)", "f (multi.py:9)"),
        ("a;b", "a\\x3bb"),
        ("a 12", "a\\x2012"),
        ("a 1.5", "a\\x201.5"),
        ("a12", "a12"),
        ("7 up", "7 up"),
        (" a ", "\\x20a\\x20"),
        ("a 1 ", "a\\x201\\x20"),
        ("# a", "\\x23 a"),
        ("12", "12"),
        ("a\nb", "a\\nb"),
        ("\u{3000}a", "\\x3000a"),
        ("", "?"),
    ] {
        assert_eq!(collapsed(label), shown, "{label:?}");
    }
}

/// The length of a name is bounded, and a cut does not fall into a character.
#[test]
fn long_names_are_bounded() {
    let long = "日".repeat(1 << 20);
    for text in [bounded(&long), Frame::Write { kind: "attribute", of: None, name: Some(&long) }.label()] {
        assert!(text.chars().count() < LONGEST + 20 && text.contains('…'), "{}", text.len());
    }
    assert_eq!(bounded("日本"), "日本");
    assert_eq!(bounded(&"é".repeat(LONGEST)).chars().count(), LONGEST);
    assert_eq!((last_two("/a/b/c.py"), last_two("c.py"), last_two("/c.py")), ("b/c.py", "c.py", "/c.py"));
}
