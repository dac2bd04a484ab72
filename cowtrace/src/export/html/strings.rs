//! Text of the page's data, stored once and named by its index.

use std::collections::HashMap;

use serde::{Serialize, Serializer};

/// Texts that many rows share. What goes in is safe to print: see `report::escape`.
#[derive(Default)]
pub(super) struct Strings {
    texts: Vec<String>,
    indices: HashMap<String, usize>,
}

impl Strings {
    /// The index of a text.
    pub(super) fn intern(&mut self, text: String) -> usize {
        if let Some(&index) = self.indices.get(&text) {
            return index;
        }
        let index = self.texts.len();
        self.texts.push(text.clone());
        self.indices.insert(text, index);
        index
    }
}

impl Serialize for Strings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.texts.serialize(serializer)
    }
}

/// The words of rows of a table, made once for each row: its position to the index of its text.
pub(super) struct Words {
    known: HashMap<usize, usize>,
}

impl Words {
    pub(super) fn new() -> Self {
        Self { known: HashMap::new() }
    }

    /// The index of the text of this row; `words` makes it when it is met for the first time.
    pub(super) fn of(&mut self, row: usize, strings: &mut Strings, words: impl FnOnce() -> String) -> usize {
        *self.known.entry(row).or_insert_with(|| strings.intern(words()))
    }
}
