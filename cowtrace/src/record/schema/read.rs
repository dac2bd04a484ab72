//! Reading the parts of a trace back: words that live as long as the program, numbers that are written as text.
//!
//! The words of a trace (kinds, opcodes, actions) are a few dozen, and constants where cowtrace itself makes them. A recording
//! brings them as text; a newer cowtrace may have written words that this one does not know.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::Confidence;

/// Words that are kept at most; more are no words of cowtrace's.
const MOST_WORDS: usize = 4096;
/// Bytes of the longest word.
const LONGEST_WORD: usize = 64;
/// What stands for words that are none.
const NO_WORD: &str = "unknown";

static WORDS: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);

/// The word with this text, kept for as long as the program runs: not more of them than [`MOST_WORDS`].
fn word(text: &str) -> &'static str {
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(word) = words.get(text) {
        return word;
    }
    if words.len() >= MOST_WORDS || text.len() > LONGEST_WORD {
        return NO_WORD;
    }
    let word: &'static str = Box::leak(text.to_owned().into_boxed_str());
    words.insert(word);
    word
}

/// Derived, they would only be read from text that lives as long as their words.
macro_rules! read_as {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for super::$name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $name::deserialize(deserializer).map(Self::from)
            }
        }
    )*};
}

read_as!(Region Operation Write PythonFrame);

#[derive(Deserialize)]
struct Region {
    kind: String,
    path: Option<String>,
    offset: Option<u64>,
}

impl From<Region> for super::Region {
    fn from(Region { kind, path, offset }: Region) -> Self {
        Self { kind: word(&kind), path, offset }
    }
}

#[derive(Deserialize)]
struct Operation {
    kind: String,
    name: Option<String>,
    detail: Option<String>,
    #[serde(default)]
    chain: Vec<String>,
    confidence: Confidence,
    reason: Option<String>,
}

impl From<Operation> for super::Operation {
    fn from(Operation { kind, name, detail, chain, confidence, reason }: Operation) -> Self {
        Self { kind: word(&kind), name, detail, chain, confidence, reason }
    }
}

#[derive(Deserialize)]
struct Write {
    kind: String,
    #[serde(rename = "type")]
    of: Option<String>,
    name: Option<String>,
    action: Option<String>,
    confidence: Confidence,
    reason: Option<String>,
}

impl From<Write> for super::Write {
    fn from(Write { kind, of, name, action, confidence, reason }: Write) -> Self {
        Self { kind: word(&kind), of, name, action: action.as_deref().map(word), confidence, reason }
    }
}

#[derive(Deserialize)]
struct PythonFrame {
    #[serde(default)]
    language: super::FrameLanguage,
    function: String,
    file: String,
    line: Option<u32>,
    #[serde(default)]
    approximate: bool,
    op: Option<String>,
}

impl From<PythonFrame> for super::PythonFrame {
    fn from(PythonFrame { language, function, file, line, approximate, op }: PythonFrame) -> Self {
        Self { language, function, file, line, approximate, op: op.as_deref().map(word) }
    }
}

/// A number that is written as `0x…`.
pub(super) fn hexadecimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    digits.ok_or_else(|| D::Error::custom("not a number that begins with 0x"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same text is the same word; what is no word is kept by nobody.
    #[test]
    fn words() {
        let first = word(&String::from("gc_header"));
        assert!(std::ptr::eq(first, word("gc_header")));
        assert_eq!(word(&"x".repeat(1 << 20)), NO_WORD);
    }

    #[test]
    fn numbers() {
        let read =
            |text: &str| serde_json::from_str::<super::super::NativeFrame>(text).map(|frame| frame.offset);
        assert_eq!(read(r#"{"symbol":null,"object":"x","offset":"0x1f"}"#).unwrap(), 31);
        for wrong in ["\"31\"", "\"0x\"", "31", "\"0xg\""] {
            assert!(read(&format!(r#"{{"symbol":null,"object":"x","offset":{wrong}}}"#)).is_err(), "{wrong}");
        }
    }
}
