//! What a fault was about, each part in a few words, for formats that show text and no objects. Of bounded length.

use super::stacks::bounded;
use crate::record::schema::{Operation, Region, Site, Write};
use crate::report::words;

/// The kind of an operation and its object: `import statistics`.
pub(super) fn operation(operation: &Operation) -> String {
    let kind = words::operation_kind(operation.kind);
    let name = operation.name.as_deref().map(|name| format!(" {}", bounded(name))).unwrap_or_default();
    let reason =
        operation.reason.as_deref().map(|reason| format!(": {}", bounded(reason))).unwrap_or_default();
    format!("{kind}{name}{reason}")
}

/// A write with all that is known of it: `refcount of str 'getpid' (incref)`, `unknown write: no owner`.
pub(super) fn write(write: &Write) -> String {
    let kind =
        if write.kind == "unknown" { "unknown write".to_owned() } else { words::kind_words(write.kind) };
    // `dict entry of dict` says it twice.
    let of = write.of.as_deref().filter(|of| !write.kind.starts_with(of));
    let of = of.map(|of| format!(" of {}", bounded(of))).unwrap_or_default();
    let name = write.name.as_deref().map(|name| format!(" {}", bounded(name))).unwrap_or_default();
    let action = write.action.map(|action| format!(" ({action})")).unwrap_or_default();
    let reason = write.reason.as_deref().map(|reason| format!(": {}", bounded(reason))).unwrap_or_default();
    format!("{kind}{of}{name}{action}{reason}")
}

/// A place in code: `/home/ann/multi.py:9 (f)`; `~` before a line that is near the right one.
pub(super) fn site(site: &Site) -> String {
    let near = if site.approximate { "~" } else { "" };
    let line = site.line.map(|line| format!(":{near}{line}")).unwrap_or_default();
    match (site.file.as_deref(), site.function.as_deref()) {
        (Some(file), Some(function)) => format!("{}{line} ({})", bounded(file), bounded(function)),
        (Some(file), None) => format!("{}{line}", bounded(file)),
        (None, Some(function)) => bounded(function),
        (None, None) => "unknown".to_owned(),
    }
}

/// A mapping: its file, otherwise its kind.
pub(super) fn region(region: &Region) -> String {
    region.path.as_deref().map_or_else(|| region.kind.to_owned(), bounded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture;

    #[test]
    fn in_words() {
        let mut count = fixture::write("refcount", "str", "'getpid'");
        count.action = Some("incref");
        assert_eq!(write(&count), "refcount of str 'getpid' (incref)");
        assert_eq!(
            write(&fixture::write("dict_entry", "dict", "sys.modules['os']")),
            "dict entry sys.modules['os']"
        );
        let untold = Write { reason: Some("no owner".to_owned()), ..fixture::write("unknown", "", "") };
        assert_eq!(write(&untold), "unknown write: no owner");
        assert_eq!(operation(&fixture::operation("import", "statistics")), "import statistics");
        assert_eq!(operation(&fixture::unknown("no stack")), "unknown: no stack");
        let mut line = fixture::line("/a/multi.py", 9, "f").unwrap();
        assert_eq!(site(&line), "/a/multi.py:9 (f)");
        line.approximate = true;
        line.function = None;
        assert_eq!(site(&line), "/a/multi.py:~9");
    }
}
