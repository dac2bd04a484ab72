//! Traces for the tests of all formats, and what is true of them.

use std::num::NonZero;

use super::stacks::is_copy;
use crate::record::fixture::{Builder, Page, line, operation, page, unknown, write};
use crate::record::schema::{Fault, NativeFrame, Outcome, PythonFrame, Region, Trace};

/// What a target may call its functions, files, types, modules and itself.
pub(super) const HOSTILE: [&str; 10] = [
    "</script><script>alert(1)</script>",
    "a;b;c 12",
    " leads and trails ",
    "\"quotes\", 'these', commas",
    "line\nfeed\r\n# and more",
    "\x1b[31mred\x07\u{9b}2J",
    "nul\0nul",
    "=cmd|' /C calc'!A0",
    "--><!-- & ]]> --",
    "exe\u{202e}yp.txt\u{200b}",
];

/// A page that an import copied, with a mixed stack.
fn imported(chain: &[&str], name: &str) -> Page {
    let mut import = operation("import", chain[0]);
    import.chain = chain.iter().map(|module| (*module).to_owned()).collect();
    let mut page = page(import, write("refcount", "str", name), line("/home/ann/multi.py", 6, "f"));
    let python = |function: &str, line| PythonFrame {
        function: function.to_owned(),
        file: "/home/ann/multi.py".to_owned(),
        line: Some(line),
        approximate: false,
        op: Some("IMPORT_NAME"),
    };
    page.python = vec![python("f", 6), python("<module>", 12)];
    let (symbol, object) = (Some("insertdict".to_owned()), Some("/usr/lib/libpython3.11.so.1.0".to_owned()));
    page.native = vec![NativeFrame { symbol, object, offset: 0x1d_0042, ..NativeFrame::default() }];
    page
}

/// A command, two workers and a worker's child: imports within imports, a collection, outcomes that copy nothing, losses.
pub(super) fn usual() -> Trace {
    let mut b = Builder::new(&["python3", "multi.py"]);
    b.python("3.11.7", Some("3.11"));
    b.missing("Writes through get_user_pages raise no fault.");
    let parent = b.process(None, "python3", 0);
    let first = b.process(Some(parent), "python3", 9 << 20);
    let second = b.process(Some(parent), "python3", 9 << 20);
    b.unlisted(parent, Outcome::ZeroFill, 7);
    b.faults(first, 3, &imported(&["statistics"], "'a'"));
    b.faults(first, 2, &imported(&["statistics", "decimal"], "'b'"));
    b.collection(first, Some(2), 4, &page(operation("gc", ""), write("gc_header", "tuple", ""), None));
    b.faults(first, 1, &imported(&["statistics", "decimal"], "'c'"));
    let entry = write("dict_entry", "dict", "sys.modules['statistics']");
    b.faults(
        first,
        1,
        &page(operation("module_swap", "statistics"), entry, line("/home/ann/multi.py", 7, "f")),
    );
    let child = b.process(Some(first), "sh", 5 << 20);
    b.exec(child, "true");
    let mut file = page(operation("native", "libc.so.6"), write("library_data", "", "environ"), None);
    file.outcome = Outcome::FileCopy;
    file.region =
        Region { kind: "file", path: Some("/usr/lib/libc.so.6".to_owned()), offset: Some(0x1e_1000) };
    b.faults(child, 2, &file);
    let mut reuse = page(operation("call", ""), write("list_item", "list", ""), None);
    reuse.outcome = Outcome::Reuse;
    b.faults(second, 5, &reuse);
    b.faults(second, 1, &page(unknown("no stack"), write("unknown", "", ""), None));
    b.lost(second, Outcome::Copy, 3, 1);
    b.exit(second, None);
    let mut trace = b.finish();
    trace.processes[second].end = None;
    for (nth, fault) in (1..).zip(&mut trace.faults) {
        fault.latency = if nth % 3 == 0 { None } else { NonZero::new(10 * nth) };
    }
    trace
}

/// Every name is as bad as it can be, and one is a MiB long.
pub(super) fn hostile() -> Trace {
    let mut b = Builder::new(&HOSTILE);
    let long = "日;\n\"<".repeat(1 << 18);
    let names = || HOSTILE.into_iter().chain([long.as_str()]);
    names().for_each(|name| b.missing(name));
    let mut parent = None;
    for name in names() {
        let process = b.process(parent, name, 1 << 20);
        let mut bad = imported(&[name, name], name);
        bad.operation.detail = Some(name.to_owned());
        bad.operation.reason = Some(name.to_owned());
        for frame in &mut bad.python {
            (frame.function, frame.file) = (name.to_owned(), name.to_owned());
        }
        for frame in &mut bad.native {
            (frame.symbol, frame.object) = (Some(name.to_owned()), Some(name.to_owned()));
        }
        bad.write = write("attribute", name, name);
        bad.site = line(name, 1, name);
        bad.region = Region { kind: "file", path: Some(name.to_owned()), offset: None };
        b.faults(process, 2, &bad);
        let mut nameless = bad.clone();
        for frame in &mut nameless.native {
            frame.symbol = None;
        }
        nameless.python.clear();
        nameless.write = write("dict_entry", name, "");
        b.faults(process, 1, &nameless);
        b.collection(process, None, 1, &bad);
        parent = Some(process);
    }
    b.finish()
}

/// Copies among the listed faults, and their bytes.
pub(super) fn copied<'a>(faults: impl IntoIterator<Item = &'a Fault>) -> (u64, u64) {
    let copies = faults.into_iter().filter(|fault| is_copy(fault));
    copies.fold((0, 0), |(pages, bytes), fault| (pages + 1, bytes + fault.bytes))
}

/// What a format writes, as text.
pub(super) fn written(format: &super::Format, trace: &Trace) -> String {
    let mut out = Vec::new();
    (format.write)(trace, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// A disk that is full.
pub(super) struct Full;

impl std::io::Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
