//! Rust source reduced to what names other modules: comments, literals and test code are blanked out.

/// The source with everything blanked that is no code of the program itself; lines keep their numbers.
pub(super) fn code(source: &str) -> String {
    let mut text = without_literals(source);
    if text.contains("#![cfg(test)]") {
        return String::new();
    }
    for attribute in ["#[cfg(test)]", "#[cfg(all(test,"] {
        while let Some(start) = text.find(attribute) {
            let end = end_of_item(&text, start);
            let blank: String = text[start..end].chars().map(blank).collect();
            text.replace_range(start..end, &blank);
        }
    }
    text
}

fn blank(c: char) -> char {
    if c == '\n' { '\n' } else { ' ' }
}

/// Blanks comments, strings and characters.
fn without_literals(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let length = literal(rest, before).unwrap_or(0);
        if length == 0 {
            out.push(first);
            before = first;
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..length].chars().map(blank));
            before = ' ';
            rest = &rest[length..];
        }
    }
    out
}

/// Length of the comment or literal that `rest` begins with; `before` is the character in front of it.
fn literal(rest: &str, before: char) -> Option<usize> {
    let bytes = rest.as_bytes();
    let to = |found: Option<usize>| found.unwrap_or(rest.len());
    match bytes[0] {
        b'/' if rest.starts_with("//") => Some(to(rest.find('\n'))),
        b'/' if rest.starts_with("/*") => Some(block_comment(rest)),
        b'"' => Some(quoted(bytes, b'"')),
        b'r' if !(before.is_alphanumeric() || before == '_') || before == 'b' => {
            let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
            let body = rest[1 + hashes..].strip_prefix('"')?;
            let end = format!("\"{}", "#".repeat(hashes));
            Some(to(body.find(&end).map(|at| 2 + hashes + at + end.len())))
        }
        // A lifetime has no closing quote right after its first letter.
        b'\'' => {
            let next = rest[1..].chars().next()?;
            let closed = rest[1 + next.len_utf8()..].starts_with('\'');
            (next == '\\' || closed).then(|| quoted(bytes, b'\''))
        }
        _ => None,
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        if tail.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of a literal with escapes, its quotes included.
fn quoted(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Where the item ends that the attribute at `start` belongs to.
fn end_of_item(text: &str, start: usize) -> usize {
    let mut at = start;
    // Its attributes, then the item's own words.
    while text[at..].trim_start().starts_with("#[") {
        at = text[at..].find(']').map_or(text.len(), |end| at + end + 1);
    }
    let is_use =
        text[at..].split(['{', ';']).next().is_some_and(|head| head.split_whitespace().any(|w| w == "use"));
    let mut depth = 0_usize;
    for (offset, byte) in text[at..].bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return at + offset + 1,
            _ => continue,
        }
        if byte == b'}' && depth == 0 && !is_use {
            return at + offset + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::code;

    fn words(source: &str) -> String {
        code(source).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        assert_eq!(words("a // crate::x\n/* crate::y /* deep */ */ b"), "a b");
        assert_eq!(words(r##"f("crate::x \" y", r#"crate::"z""#, b"q", 'c', '\'') g"##), "f( , , b , , ) g");
        assert_eq!(
            words("fn f<'a>(x: &'a str) { crate::x::y(x) }"),
            "fn f<'a>(x: &'a str) { crate::x::y(x) }"
        );
    }

    #[test]
    fn test_code_is_left_out() {
        let source = "use crate::a;\n#[cfg(test)]\nuse crate::{b, c};\nfn f() {}\n\
                      #[cfg(test)]\n#[allow(x)]\nmod tests {\n fn g() { crate::d() }\n}\nfn h() {}";
        assert_eq!(words(source), "use crate::a; fn f() {} fn h() {}");
        assert_eq!(words("#![cfg(test)]\nuse crate::a;"), "");
        assert_eq!(words("#[cfg(test)] mod tests;\nfn h() {}"), "fn h() {}");
    }

    #[test]
    fn lines_keep_their_numbers() {
        let source = "/*\n\n*/ \"\n\" #[cfg(test)]\nmod t {\n}\nx";
        assert_eq!(code(source).lines().count(), source.lines().count());
    }
}
