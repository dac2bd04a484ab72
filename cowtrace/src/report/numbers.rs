//! Numbers as people read them.

/// Bytes with a unit: `512 B`, `1.1 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let (value, unit) = scaled(bytes);
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// The smallest and the largest of several sizes: `1.1 MiB`, `1.0 to 1.6 MiB`, `200.0 KiB to 1.1 MiB`; empty for none.
#[must_use]
pub fn size_range(sizes: impl IntoIterator<Item = u64>) -> String {
    let mut least = u64::MAX;
    let mut most = None;
    for bytes in sizes {
        least = least.min(bytes);
        most = most.max(Some(bytes));
    }
    let Some(most) = most else { return String::new() };
    let (low, high) = (size(least), size(most));
    if low == high {
        return high;
    }
    match (low.split_once(' '), high.split_once(' ')) {
        (Some((number, unit)), Some((_, other))) if unit == other => format!("{number} to {high}"),
        _ => format!("{low} to {high}"),
    }
}

fn scaled(bytes: u64) -> (f64, &'static str) {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        // 1023.96 KiB would be shown as 1024.0 KiB.
        if value < if unit == "B" { 1024.0 } else { 1023.95 } {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    (value, unit)
}

/// A count with thousands apart: `12,345`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A count with its noun: `1 page`, `2 pages`, `3 processes`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {}", count(number), plural(number, noun))
}

/// The noun for this many.
#[must_use]
pub fn plural(number: u64, noun: &str) -> String {
    if number == 1 {
        noun.to_owned()
    } else if noun.ends_with('s') {
        format!("{noun}es")
    } else if let Some(stem) = noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u'])) {
        format!("{stem}ies")
    } else {
        format!("{noun}s")
    }
}

/// A share without decimals. Neither 0 nor 100 unless it is so; `–` of nothing.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let share = part as f64 * 100.0 / whole as f64;
    if part == 0 {
        "0 %".to_owned()
    } else if share < 1.0 {
        "< 1 %".to_owned()
    } else if share > 99.0 && part < whole {
        "> 99 %".to_owned()
    } else {
        format!("{share:.0} %")
    }
}

/// A time: `850 ns`, `2.1 µs`, `45.0 ms`, `1.5 s`, `3 min 20 s`.
#[must_use]
pub fn time(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.1} µs", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        1_000_000_000..120_000_000_000 => format!("{:.1} s", value / 1e9),
        _ => {
            let seconds = nanoseconds / 1_000_000_000;
            if seconds < 7200 {
                format!("{} min {} s", seconds / 60, seconds % 60)
            } else {
                format!("{} h {} min", seconds / 3600, seconds % 3600 / 60)
            }
        }
    }
}

/// `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn joined(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (4096, "4.0 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (1_153_434, "1.1 MiB"),
            (3 << 30, "3.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
        assert_eq!(size_range([4096, 8192]), "4.0 to 8.0 KiB");
        assert_eq!(size_range([4096, 2 << 20]), "4.0 KiB to 2.0 MiB");
        assert_eq!(size_range([1 << 20, (1 << 20) + 4096]), "1.0 MiB");
        assert_eq!(size_range([]), "");
    }

    #[test]
    fn counts_and_nouns() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "page"), "1 page");
        assert_eq!(counted(0, "process"), "0 processes");
        assert_eq!(counted(2, "copy"), "2 copies");
        assert_eq!(counted(2, "key"), "2 keys");
        assert_eq!(joined(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }

    #[test]
    fn shares_are_honest_at_the_ends() {
        let shown = |part| percent(part, 1000);
        assert_eq!([0, 1, 10, 501, 995, 1000].map(shown), ["0 %", "< 1 %", "1 %", "50 %", "> 99 %", "100 %"]);
        assert_eq!(percent(0, 0), "–");
    }

    #[test]
    fn times() {
        let shown = [0, 2_100, 45_000_000, 1_500_000_000, 200_000_000_000, 7_260_000_000_000].map(time);
        assert_eq!(shown, ["0 ns", "2.1 µs", "45.0 ms", "1.5 s", "3 min 20 s", "2 h 1 min"]);
    }
}
