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
    swap.native = vec![NativeFrame { symbol: Some("insertdict".to_owned()), object, offset: 0x1d_0042 }];
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

/// So many faults of many kinds, by eight workers.
pub(super) fn many(faults: u64) -> Trace {
    let mut b = Builder::new(&["python", "pool.py"]);
    let parent = b.process(None, "python3", 0);
    let workers: Vec<usize> = (0..8).map(|_| b.process(Some(parent), "python3", 100 << 20)).collect();
    for nth in 0..512_u32 {
        let name = format!("module_{}", nth % 100);
        let kind = if nth % 3 == 0 { "import" } else { "call" };
        let of = ["str", "tuple", "function", "dict"][nth as usize % 4];
        let mut some =
            page(operation(kind, &name), wrote("refcount", of, &name), line("/srv/app/pool.py", nth, "work"));
        some.python = (0..10 + nth % 20)
            .map(|depth| PythonFrame {
                function: format!("function_{depth}_{}", nth % 7),
                file: format!("/srv/app/package/file_{}.py", depth % 13),
                line: Some(depth * 10 + nth % 5),
                approximate: false,
                op: None,
            })
            .collect();
        let object = Some("/usr/lib/libpython3.11.so.1.0".to_owned());
        some.native = (0..8)
            .map(|depth| NativeFrame {
                symbol: Some(format!("_PyEval_{depth}")),
                object: object.clone(),
                offset: u64::from(depth * 1000 + nth),
            })
            .collect();
        b.faults(workers[nth as usize % 8], faults / 512, &some);
    }
    b.finish()
}
