use super::*;
use crate::record::fixture::{Builder, line, operation, page as faulted, write as wrote};
use crate::record::schema::{Added, ModuleTable, Operation, PageBytes, PageSize};

const AT: u64 = 0x7f00_0000_0018;

/// A parent that forks twice and writes in between, a child that imports, a child that writes nothing.
fn trace() -> Trace {
    let mut b = Builder::new(&["python", "a.py"]);
    let parent = b.process(None, "python3", 0);
    let imports = b.process(Some(parent), "python3", 1 << 20);
    let import = operation("import", "json");
    b.faults(imports, 1, &faulted(import, wrote("refcount", "str", ""), line("/a.py", 3, "f")));
    b.faults(parent, 1, &faulted(operation("call", ""), wrote("refcount", "int", ""), line("/a.py", 9, "g")));
    let idle = b.process(Some(parent), "python3", 1 << 20);
    let mut trace = b.finish();
    let seen = vec![(parent, trace.processes[1].start), (imports, trace.processes[1].start), (idle, 1 << 40)];
    let entries = vec![("statistics".to_owned(), AT)];
    trace.module_tables.push(ModuleTable { entries, free: AT + 16..AT + 160, seen });
    trace
}

fn told(trace: &Trace, question: &Question) -> String {
    let mut out = Vec::new();
    let scope = Scope::new(trace, None);
    let mut paper = Paper { out: &mut out, width: 200, color: false };
    write(&scope, std::slice::from_ref(question), false, &mut paper).unwrap();
    String::from_utf8(out).unwrap()
}

/// Addresses and keys as people write them; anything else is refused.
#[test]
fn questions() {
    assert_eq!(page("0x7F00"), Ok(Question::Page(0x7f00)));
    assert_eq!(page("140"), Ok(Question::Page(140)));
    assert!(page("7f00").is_err() && page("0x").is_err() && page("-1").is_err());
    for text in ["sys.modules[a.b]", "sys.modules['a.b']", "sys.modules[\"a.b\"]"] {
        assert_eq!(key(text), Ok(Question::Key("a.b".to_owned())));
    }
    assert!(key("a.b").is_err() && key("sys.modules[]").is_err());
}

/// Each process has its own history of the page, and only what came after its last fork counts as private now.
#[test]
fn a_key() {
    let trace = trace();
    let text = told(&trace, &key("sys.modules[statistics]").unwrap());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "the page that holds sys.modules['statistics']:");
    assert!(lines[2].contains("7000 python3 (0x7f0000000018): made private before its last fork, copied at"));
    assert!(
        lines[2].ends_with("by refcount of int at a.py:9 (g); not written since: shared again"),
        "{text}"
    );
    assert!(lines[3].ends_with("by refcount of str, import of json at a.py:3 (f)"), "{text}");
    assert!(lines[3].contains("7001 python3 (0x7f0000000018): copied at 1.0 ms"), "{text}");
    assert!(lines[4].ends_with(
        "7002 python3 (0x7f0000000018): never written by this process after its fork: still shared"
    ));
    let unknown = told(&trace, &key("sys.modules[nothing]").unwrap());
    assert!(unknown.contains("its place is not known"), "{unknown}");
}

/// A key that was added by an import lies on the page of the free entries, or on one of those that were written; a write
/// that is its own tells where exactly.
#[test]
fn a_key_that_came_later() {
    let mut trace = trace();
    let question = key("sys.modules[json]").unwrap();
    let importer = trace.faults[0].process;
    let imported =
        trace.operations.intern(Operation { chain: vec!["json".to_owned()], ..operation("import", "json") });
    trace.faults[0].operation = imported;
    trace.faults[0].address = AT + 40;
    let text = told(&trace, &question);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[2]
            .contains("7001 python3 (0x7f0000000028, added after its fork): copied at 1.0 ms by refcount"),
        "{text}"
    );
    // Entries on a second page, which nobody has written.
    trace.module_tables[0].free.end = AT + 4096 + 160;
    assert_eq!(told(&trace, &question), text);
    trace.faults[1].address = AT + 4096;
    trace.faults[1].process = importer;
    let text = told(&trace, &question);
    assert_eq!(text.matches(" or another page, added after its fork)").count(), 2, "{text}");
    let own = trace.writes.intern(wrote("dict_entry", "dict", "sys.modules['json']"));
    trace.faults[1].write = own;
    let all = answers(&trace, &question);
    let places: Vec<_> = all.iter().map(|answer| (answer.process, answer.address, answer.added)).collect();
    assert_eq!(places, [(importer, AT + 4096, Some(Added::Here))]);
    // A table that was full is another one now.
    let (free, write) = (trace.module_tables[0].free.clone(), trace.faults[1].write);
    trace.module_tables[0].free.end = free.start;
    trace.faults[1].write = trace.faults[0].write;
    let text = told(&trace, &question);
    assert!(
        text.ends_with(
            "): its table was full at the fork; the key went to a new one, after 1.0 ms by import of json at a.py:3 (f)\n"
        ),
        "{text}"
    );
    (trace.module_tables[0].free, trace.faults[1].write) = (free, write);
    // Who has not imported it does not have it.
    trace.faults[1].write = trace.faults[0].write;
    trace.faults[0].operation = trace.faults[1].operation;
    assert!(answers(&trace, &question).is_empty());
}

/// An address is answered for the whole page; a process whose details were lost says so instead of "shared".
#[test]
fn an_address() {
    let mut trace = trace();
    let states = |trace: &Trace, address| -> Vec<PageState> {
        answers(trace, &Question::Page(address)).iter().map(|answer| answer.state).collect()
    };
    let expected = [PageState::PrivateBeforeFork, PageState::Private, PageState::Shared];
    assert_eq!(states(&trace, AT + 100), expected);
    assert_eq!(states(&trace, AT + 4096), [PageState::Shared; 3]);
    trace.processes[2].totals.outcomes[0].1.lost = 1;
    assert_eq!(states(&trace, AT)[2], PageState::Unknown);
}

/// Which addresses lie on one page is the recording's to say, whatever machine looks at it.
#[test]
fn an_address_on_a_larger_page() {
    for (bytes, same, other) in [(4096, 0, 4096), (16384, 12288, 16384), (65536, 61440, 65536)] {
        let mut trace = trace();
        trace.header.page_size = PageSize::of_bytes(bytes).map(PageBytes);
        let import = Operation { chain: vec!["json".to_owned()], ..operation("import", "json") };
        trace.faults[0].operation = trace.operations.intern(import);
        let state = |address| answers(&trace, &Question::Page(address))[1].state;
        assert_eq!((state(AT + same), state(AT + other)), (PageState::Private, PageState::Shared), "{bytes}");
        assert!(is_met(&trace, &Question::Page(AT + same)), "{bytes}");
        assert!(!is_met(&trace, &Question::Page(AT + other)), "{bytes}");
        // A new key may lie anywhere in the free part of the table: on each of its pages that was written.
        trace.module_tables[0].free = AT..AT + 65536;
        trace.faults[0].address = AT + 20000;
        let places: Vec<u64> =
            answers(&trace, &Question::Key("json".to_owned())).iter().map(|answer| answer.address).collect();
        let expected = PageSize::of_bytes(bytes).unwrap().start(AT + 20000).max(AT);
        assert_eq!(places, [expected], "{bytes}");
    }
}

/// The lines of JSON have what a reader is promised.
#[test]
fn json() {
    let trace = trace();
    let pages = pages(&trace, &[Question::Key("statistics".to_owned())]);
    let lines: Vec<_> = pages.iter().map(|page| crate::record::page::line(&trace, page)).collect();
    let text: Vec<String> = lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
    assert!(text[1].starts_with(r#"{"type":"page","pid":7001,"address":"0x7f0000000018","key":"sys.modules['statistics']","state":"private","time":"#));
    assert!(
        text[1].contains(r#""outcome":"copy","operation":{"kind":"import","name":"json""#),
        "{}",
        text[1]
    );
    assert!(text[0].contains(r#""state":"private_before_fork","time":null"#), "{}", text[0]);
    assert!(text[2].contains(r#""state":"shared","time":null,"outcome":null"#), "{}", text[2]);
}
