//! Filling the page's template. Text of the target comes into the page in two ways only: escaped here, or inside the
//! compressed data, which the scripts show as text.

use std::fmt::Write as _;

use crate::report::escape::visible;

/// Text as the content of an element or a quoted attribute: nothing in it is markup, nothing is invisible.
pub(super) fn text(text: &str) -> String {
    let text = visible(text);
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// An element with this text.
pub(super) fn element(name: &str, class: &str, content: &str) -> String {
    let mut element = format!("<{name}");
    if !class.is_empty() {
        let _ = write!(element, " class=\"{}\"", text(class));
    }
    let _ = write!(element, ">{}</{name}>", text(content));
    element
}

/// The template with `{{slots}}` replaced, each by its value as it is; what comes with a value is not looked at again.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled =
        String::with_capacity(template.len() + values.iter().map(|(_, value)| value.len()).sum::<usize>());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let slot = after.split_once("}}");
        let value = slot.and_then(|(slot, _)| values.iter().find(|(name, _)| *name == slot));
        match (slot, value) {
            (Some((_, after)), Some((_, value))) => {
                filled.push_str(value);
                rest = after;
            }
            _ => {
                filled.push_str("{{");
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_markup() {
        assert_eq!(
            text("<b a='\"'>&\u{202e}\u{2028}\0"),
            "&lt;b a=&#39;&quot;&#39;&gt;&amp;\\u{202e}\\u{2028}\\x00"
        );
        assert_eq!(element("p", "x", "</p>"), "<p class=\"x\">&lt;/p&gt;</p>");
    }

    #[test]
    fn values_are_not_looked_at_again() {
        let filled = fill("a {{x}} {{y}} {{z}} {{", &[("x", "{{y}}"), ("y", "2")]);
        assert_eq!(filled, "a {{y}} 2 {{z}} {{");
    }
}
