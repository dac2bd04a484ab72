//! A finished trace in the formats of other tools: a trace in, bytes out.
//!
//! One more format is one more file with a `FORMAT` and one more row of [`FORMATS`].

mod chrome;
#[cfg(feature = "csv")]
mod csv;
#[cfg(feature = "firefox")]
mod firefox;
#[cfg(feature = "flamegraph")]
mod flamegraph;
mod folded;
#[cfg(feature = "html")]
mod html;
mod jsonl;
#[cfg(all(test, any(feature = "parquet", feature = "perfetto", feature = "pprof")))]
mod mixture;
mod notes;
#[cfg(any(feature = "firefox", feature = "flamegraph"))]
mod palette;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "perfetto")]
mod perfetto;
#[cfg(feature = "pprof")]
mod pprof;
#[cfg(test)]
mod samples;
mod speedscope;
mod stacks;
mod timeline;
mod told;

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use crate::record::schema::Trace;

/// Every format.
pub static FORMATS: &[Format] = &[
    jsonl::FORMAT,
    #[cfg(feature = "csv")]
    csv::FORMAT,
    #[cfg(feature = "parquet")]
    parquet::FORMAT,
    folded::FORMAT,
    #[cfg(feature = "flamegraph")]
    flamegraph::FORMAT,
    speedscope::FORMAT,
    chrome::FORMAT,
    #[cfg(feature = "firefox")]
    firefox::FORMAT,
    #[cfg(feature = "perfetto")]
    perfetto::FORMAT,
    #[cfg(feature = "pprof")]
    pprof::FORMAT,
    #[cfg(feature = "html")]
    html::FORMAT,
];

/// One format.
#[derive(Debug)]
pub struct Format {
    /// Value of `--format`.
    pub name: &'static str,
    /// Ends of file names, without the leading dot, that mean this format.
    pub extensions: &'static [&'static str],
    /// What it is and what opens it, for the help.
    pub about: &'static str,
    /// Writes a trace; buffers by itself.
    pub write: fn(&Trace, &mut dyn io::Write) -> io::Result<()>,
}

/// Why there is no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No format has this name.
    #[error("no format is called {name:?}, there are {}", known.join(", "))]
    Name {
        /// What was asked for.
        name: String,
        /// Names that there are.
        known: Vec<&'static str>,
    },
    /// No format goes with this end of a file name.
    #[error("no format goes with the file name {file:?}, known are {}", known.join(", "))]
    Extension {
        /// The last part of the path.
        file: String,
        /// Ends that there are, with the leading dot.
        known: Vec<String>,
    },
    /// More than one format goes with this end of a file name.
    #[error("{} go with the file name {file:?}", formats.join(", "))]
    Ambiguous {
        /// The last part of the path.
        file: String,
        /// Names of the formats.
        formats: Vec<&'static str>,
    },
}

/// The format with this name.
///
/// # Errors
///
/// When there is none.
pub fn by_name(name: &str) -> Result<&'static Format, FormatError> {
    let known = || FORMATS.iter().map(|format| format.name).collect();
    let found = FORMATS.iter().find(|format| format.name == name);
    found.ok_or_else(|| FormatError::Name { name: name.to_owned(), known: known() })
}

/// The format that goes with the end of a file name. The longest end decides: `.pb.gz` before `.gz`.
///
/// # Errors
///
/// When there is none, or when more than one format has that end.
pub fn by_path(path: &Path) -> Result<&'static Format, FormatError> {
    by_path_among(path, FORMATS)
}

fn by_path_among<'a>(path: &Path, formats: &'a [Format]) -> Result<&'a Format, FormatError> {
    let file = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default().into_owned();
    let end = |format: &Format| {
        let ends = format.extensions.iter().filter(|end| {
            let stem = file.strip_suffix(**end).and_then(|stem| stem.strip_suffix('.'));
            stem.is_some_and(|stem| !stem.is_empty())
        });
        ends.map(|end| end.len()).max()
    };
    let longest = formats.iter().filter_map(end).max();
    let found: Vec<&Format> =
        formats.iter().filter(|format| longest.is_some() && end(format) == longest).collect();
    match found[..] {
        [only] => Ok(only),
        [] => {
            // More than one format may have an end; which it is, is asked when that end is there.
            let mut known: Vec<String> = Vec::new();
            for end in formats.iter().flat_map(|format| format.extensions).map(|end| format!(".{end}")) {
                if !known.contains(&end) {
                    known.push(end);
                }
            }
            Err(FormatError::Extension { file, known })
        }
        _ => Err(FormatError::Ambiguous { file, formats: found.iter().map(|format| format.name).collect() }),
    }
}

/// The word that JSON Lines has for a value: `file_copy`, `likely`.
#[cfg(any(feature = "parquet", feature = "perfetto", feature = "pprof"))]
fn word<T: serde::Serialize>(value: &T) -> String {
    let word = serde_json::to_value(value).ok();
    word.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const fn row(name: &'static str, extensions: &'static [&'static str]) -> Format {
        Format { name, extensions, about: "", write: |_, _| Ok(()) }
    }

    #[test]
    fn formats_are_found() {
        assert_eq!(by_name("jsonl").unwrap().name, "jsonl");
        assert_eq!(by_path(Path::new("/tmp/run.1.jsonl")).unwrap().name, "jsonl");
        let formats =
            [row("gz", &["gz"]), row("pprof", &["pb.gz"]), row("a", &["json"]), row("b", &["json"])];
        assert_eq!(by_path_among(Path::new("x.pb.gz"), &formats).unwrap().name, "pprof");
        assert_eq!(by_path_among(Path::new("x.gz"), &formats).unwrap().name, "gz");
        assert_eq!(
            by_path_among(Path::new("x.json"), &formats).unwrap_err().to_string(),
            "a, b go with the file name \"x.json\""
        );
    }

    /// The three JSON formats are told apart by the end before the last, or by `--format`.
    #[cfg(feature = "firefox")]
    #[test]
    fn json() {
        for (path, name) in [
            ("run.speedscope.json", "speedscope"),
            ("run.chrome.json", "chrome"),
            ("run.trace.json", "chrome"),
            ("run.firefox.json", "firefox"),
            ("run.profile.json", "firefox"),
        ] {
            assert_eq!(by_path(Path::new(path)).unwrap().name, name);
        }
        let error = by_path(Path::new("run.json")).unwrap_err().to_string();
        assert!(error.contains("speedscope, chrome, firefox"), "{error}");
    }

    #[test]
    fn errors_name_what_there_is() {
        let error = by_name("xml\x1b").unwrap_err().to_string();
        assert!(error.starts_with("no format is called \"xml\\u{1b}\", there are jsonl"), "{error}");
        for path in ["run", "jsonl", ".jsonl", "/", "run.xml"] {
            let error = by_path(Path::new(path)).unwrap_err().to_string();
            assert!(error.contains(".jsonl"), "{error}");
        }
    }

    /// Every row can be told apart and says something.
    #[test]
    fn the_table_is_whole() {
        let names: HashSet<_> = FORMATS.iter().map(|format| format.name).collect();
        assert_eq!(names.len(), FORMATS.len());
        for format in FORMATS {
            assert!(!format.about.is_empty() && !format.extensions.is_empty(), "{}", format.name);
            assert!(format.extensions.iter().all(|end| !end.starts_with('.') && !end.is_empty()));
            (format.write)(&Trace::default(), &mut io::sink()).unwrap();
        }
    }
}
