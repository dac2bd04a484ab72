//! Traces for the tests of formats.

use std::num::NonZero;

use crate::record::fixture::{Builder, line, operation, page, symbol, unknown, write as wrote};
use crate::record::schema::{NativeFrame, Outcome, PythonFrame, Trace};

/// Everything that a terminal, a shell, SQL or a reader of C strings would stumble over.
pub(super) const HOSTILE: &str = "a\0b\"';--\n\r\x1b[31m</script>\u{202e}日";

/// What it says of what is missing.
pub(super) const MISSING: &str = "The kernel's own writes were not seen.";

/// Two processes, faults of several kinds, an import, a collection, losses.
pub(super) fn trace() -> Trace {
    let mut b = Builder::new(&["python", HOSTILE]);
    b.missing(MISSING);
    let parent = b.process(None, "python3", 0);
    let child = b.process(Some(parent), HOSTILE, 9 << 20);
    let mut swap = page(
        operation("module_swap", HOSTILE),
        wrote("dict_entry", "dict", &HOSTILE.repeat(1 << 16)),
        line("/home/ann/multi.py", 9, "f"),
    );
    let frame = |function: &str, line| PythonFrame {
        function: function.to_owned(),
        file: "/home/ann/multi.py".to_owned(),
        line: Some(line),
        approximate: false,
        op: None,
    };
    swap.python = vec![frame("f;g", 9), frame("<module>", 12)];
    let object = Some("/usr/lib/libpython3.11.so.1.0".to_owned());
    swap.native = vec![NativeFrame {
        symbol: Some("insertdict".to_owned()),
        object,
        offset: 0x1d_0042,
        ..NativeFrame::default()
    }];
    b.faults(child, 3, &swap);
    let mut import = operation("import", "a");
    import.chain = vec!["a".to_owned(), "a.b".to_owned()];
    b.faults(parent, 2, &page(import, wrote("unknown", "", ""), symbol("memcpy", "/lib/libc.so.6")));
    let heads = page(unknown("no stack"), wrote("gc_header", "tuple", ""), None);
    b.collection(child, Some(2), 4, &heads);
    let mut reused = page(operation("call", ""), wrote("refcount", "str", ""), None);
    (reused.outcome, reused.region.offset) = (Outcome::Reuse, Some(0x7000));
    b.faults(child, 5, &reused);
    b.lost(child, Outcome::Copy, 2, 1);
    b.unlisted(parent, Outcome::FileCopy, 7);
    let mut trace = b.finish();
    trace.faults[1].latency = NonZero::new(310);
    trace.faults[2].address = u64::MAX - 7;
    trace
}
