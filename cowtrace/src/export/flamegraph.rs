//! A flame graph of copied bytes as one SVG file, coloured by what the workload was doing.
//!
//! Frames are laid out by inferno, which colours by the name of a frame alone. So each name is given to it with a character
//! behind it that stands for the colour, one of those that Unicode keeps for such inner uses, which is taken out again of
//! what it writes. Frames narrower than a ten-thousandth of the whole are left out, as too small to see.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;

use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{self, Options, TextTruncateDirection};

use super::Format;
use super::folded::{Weight, root, weights};
use super::notes::notes;
use super::palette::{self, KINDS, Rgb};
use super::stacks::{Node, Stack, Stacks, collapsed};
use crate::record::schema::Trace;
use crate::report::escape::{escape, shorten};

/// The format.
pub(super) const FORMAT: Format = Format {
    name: "flamegraph",
    extensions: &["svg"],
    about: "flame graph (SVG) of copied bytes, coloured by operation",
    write,
};

/// Colour of a frame of which no operation has the most bytes.
const SEVERAL: Rgb = (240, 238, 230);
/// First of the characters that stand for colours; Unicode has 32 of them that no text uses.
const FIRST: u32 = 0xfdd0;
const INNER: std::ops::RangeInclusive<char> = '\u{fdd0}'..='\u{fdef}';
/// Columns of the command in the title.
const COMMAND: usize = 60;

/// Bytes by the position of the operation's kind.
type Kinds = [u64; KINDS.len()];
/// A frame of the picture: a stack, or `None` = the process itself, by the first process of that name.
type Place = (usize, Option<Stack>);

fn write(trace: &Trace, out: &mut dyn io::Write) -> io::Result<()> {
    let mut stacks = Stacks::new(trace);
    let weights =
        weights(trace, &mut stacks, |fault| palette::position(trace.operations.get(fault.operation)));
    if weights.iter().all(|(weight, _)| weight.bytes == 0) {
        return nothing(trace, out);
    }
    let kinds = kinds(&stacks, &weights);
    let mut palette = PaletteMap::default();
    palette.insert("", color(SEVERAL));
    let frames: Vec<String> = stacks.frames().iter().map(|frame| plain(&collapsed(&frame.label()))).collect();
    let lines: Vec<String> = weights
        .iter()
        .map(|(weight, _)| line(trace, &stacks, *weight, &frames, &kinds, &mut palette))
        .collect();
    let mut options = Options::default();
    options.title = title(trace);
    options.subtitle = Some(legend(&kinds));
    options.count_name = "bytes".to_owned();
    options.name_type = "Frame:".to_owned();
    // Two hyphens would end the comment that this becomes.
    options.notes = plain(&all_notes(trace)).replace('-', "\u{2010}");
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.bgcolors = Some(BackgroundColor::Flat(color((255, 255, 255))));
    options.palette_map = Some(&mut palette);
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)?;
    out.write_all(finished(&String::from_utf8_lossy(&svg), trace).as_bytes())?;
    out.flush()
}

/// A name without characters that stand for colours here, nor any that XML does not allow.
fn plain(text: &str) -> String {
    text.replace(|c| INNER.contains(&c) || matches!(c, '\u{fffe}' | '\u{ffff}'), "\u{fffd}")
}

fn color((r, g, b): Rgb) -> Color {
    Color { r, g, b }
}

/// The character that stands for a kind's colour; one behind the last = several.
fn mark(position: usize) -> char {
    u32::try_from(position).ok().and_then(|position| char::from_u32(FIRST + position)).unwrap_or('\u{fdef}')
}

fn rgb(position: usize) -> Rgb {
    KINDS.get(position).map_or(SEVERAL, |(_, rgb)| *rgb)
}

/// What each frame of the picture copied, by kind.
fn kinds(stacks: &Stacks<'_>, weights: &[(Weight, usize)]) -> HashMap<Place, Kinds> {
    let mut kinds: HashMap<Place, Kinds> = HashMap::new();
    for (weight, kind) in weights {
        let mut at = Some(weight.stack);
        loop {
            kinds.entry((weight.process, at)).or_default()[*kind] += weight.bytes;
            let Some(stack) = at else { break };
            at = stacks.nodes()[stack.index()].caller;
        }
    }
    kinds
}

/// The kind that more than half of the bytes are of; one behind the last = there is none.
fn most(kinds: &Kinds) -> usize {
    let all: u64 = kinds.iter().sum();
    kinds.iter().position(|bytes| *bytes > all / 2).unwrap_or(KINDS.len())
}

/// A collapsed stack, each frame with its mark.
fn line(
    trace: &Trace,
    stacks: &Stacks<'_>,
    weight: Weight,
    frames: &[String],
    kinds: &HashMap<Place, Kinds>,
    palette: &mut PaletteMap,
) -> String {
    let mut marked = |name: &str, place: Place| {
        let position = kinds.get(&place).map_or(KINDS.len(), most);
        let name = format!("{name}{}", mark(position));
        palette.insert(&name, color(rgb(position)));
        name
    };
    let mut names = Vec::new();
    let mut at = Some(weight.stack);
    while let Some(stack) = at {
        let Node { caller, frame } = stacks.nodes()[stack.index()];
        names.push(marked(&frames[frame as usize], (weight.process, Some(stack))));
        at = caller;
    }
    names.push(marked(&plain(&root(trace, weight.process)), (weight.process, None)));
    names.reverse();
    format!("{} {}", names.join(";"), weight.bytes)
}

fn title(trace: &Trace) -> String {
    let command = plain(&escape(&trace.header.command.join(" ")));
    format!("Copied bytes: {}", shorten(&command, COMMAND))
}

/// The kinds that are there, each with its mark, most bytes first.
fn legend(kinds: &HashMap<Place, Kinds>) -> String {
    let mut sums = Kinds::default();
    for (_, of_process) in kinds.iter().filter(|((_, stack), _)| stack.is_none()) {
        sums.iter_mut().zip(of_process).for_each(|(sum, bytes)| *sum += bytes);
    }
    let mut there: Vec<usize> = (0..KINDS.len()).filter(|position| sums[*position] > 0).collect();
    there.sort_by_key(|position| std::cmp::Reverse(sums[*position]));
    let several = kinds.values().any(|kinds| most(kinds) == KINDS.len());
    let mut words: Vec<String> = there
        .into_iter()
        .map(|position| format!("{}{}", mark(position), palette::words_of(position)))
        .collect();
    words.extend(several.then(|| format!("{}several", mark(KINDS.len()))));
    words.join("   ")
}

fn all_notes(trace: &Trace) -> String {
    let notes: Vec<String> = notes(trace).iter().map(|note| escape(note)).collect();
    notes.join(" ")
}

/// What stands below the title.
fn note(trace: &Trace) -> String {
    let lost = notes(trace).into_iter().next().unwrap_or_default();
    format!(
        "Width: bytes that copies of pages copied. Colour: what the workload was doing. {}",
        escape(&lost)
    )
}

/// The picture as it is shown: marks become the legend's squares, or go; what must be known stands below the title.
fn finished(svg: &str, trace: &Trace) -> String {
    let mut text = String::with_capacity(svg.len());
    let subtitle = svg.find("<text id=\"subtitle\"").unwrap_or(svg.len());
    let end = svg[subtitle..].find("</text>").map_or(svg.len(), |end| subtitle + end);
    without_marks(&mut text, &svg[..subtitle]);
    let note = xml(&plain(&note(trace)));
    let _ = write!(
        text,
        "<text id=\"note\" x=\"50%\" y=\"36\" text-anchor=\"middle\" style=\"font-size:10px\">{note}</text>"
    );
    for c in svg[subtitle..end].chars() {
        match INNER.contains(&c) {
            true => {
                let (r, g, b) = rgb((u32::from(c) - FIRST) as usize);
                // Writing to a string does not fail.
                let _ = write!(
                    text,
                    "<tspan fill=\"rgb({r},{g},{b})\" stroke=\"black\" stroke-width=\"0.4\">\u{25a0}</tspan> "
                );
            }
            false => text.push(c),
        }
    }
    without_marks(&mut text, &svg[end..]);
    text
}

fn without_marks(text: &mut String, part: &str) {
    text.extend(part.chars().filter(|c| !INNER.contains(c)));
}

/// Text between tags.
fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The picture of a trace without copies.
fn nothing(trace: &Trace, out: &mut dyn io::Write) -> io::Result<()> {
    let (title, notes) = (xml(&title(trace)), xml(&plain(&all_notes(trace))));
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1200\" height=\"90\" font-family=\"monospace\">\
         <title>{title}</title><text x=\"10\" y=\"24\">{title}</text><text x=\"10\" y=\"48\">No page was copied.</text>\
         <text x=\"10\" y=\"72\">{notes}</text></svg>"
    )?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, written};
    use super::*;
    use crate::record::fixture::Builder;

    /// Titles of frames with their bytes, and their colours.
    fn rectangles(svg: &str) -> Vec<(String, u64, String)> {
        let frames = &svg[svg.find("<svg id=\"frames\"").unwrap()..];
        frames
            .split("<g>")
            .skip(1)
            .map(|group| {
                let between = |begin: &str, end: &str| {
                    let at = group.find(begin).unwrap() + begin.len();
                    group[at..at + group[at..].find(end).unwrap()].to_owned()
                };
                let title = between("<title>", "</title>");
                let (name, rest) = title.rsplit_once(" (").unwrap();
                let bytes = rest.split(' ').next().unwrap().replace(',', "").parse().unwrap();
                (name.to_owned(), bytes, between("fill=\"", "\""))
            })
            .collect()
    }

    fn css((r, g, b): Rgb) -> String {
        format!("rgb({r},{g},{b})")
    }

    /// The whole is what was copied, frames have the bytes and the colour of their operation.
    #[test]
    fn widths_and_colours() {
        let trace = samples::usual();
        let svg = written(&FORMAT, &trace);
        let rectangles = rectangles(&svg);
        let named = |name: &str| rectangles.iter().find(|(found, ..)| found == name).unwrap();
        let all = samples::copied(&trace.faults).1;
        assert_eq!(named("all").1, all);
        let import = css(KINDS[0].1);
        assert_eq!(named("f (ann/multi.py:6)"), &("f (ann/multi.py:6)".to_owned(), 6 * 4096, import.clone()));
        assert_eq!(named("GC header of tuple").2, css(KINDS[2].1));
        assert_eq!(named("python3").2, css(SEVERAL), "neither import nor collection has the most");
        let legend = &svg[svg.find("id=\"subtitle\"").unwrap()..];
        let legend = &legend[..legend.find("</text>").unwrap()];
        assert!(legend.contains(&import) && legend.contains("garbage collector"), "{legend}");
        assert!(svg.contains("Lost: 3 records"), "losses are told");
        assert!(!svg.contains(|c| INNER.contains(&c)));
    }

    /// No name gets out of its text, and what a reader of XML does not allow is not there.
    #[test]
    fn hostile_names() {
        let trace = samples::hostile();
        let svg = written(&FORMAT, &trace);
        let own_scripts = written(&FORMAT, &samples::usual()).matches("<script").count();
        assert_eq!(svg.matches("<script").count(), own_scripts);
        assert!(svg.len() < 1 << 20, "{}", svg.len());
        assert!(!svg.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
        let comments = svg.split("<!--").skip(1).map(|comment| comment.split("-->").next().unwrap());
        assert!(comments.into_iter().all(|comment| !comment.contains("--")));
        assert_eq!(
            rectangles(&svg).iter().find(|(name, ..)| name == "all").unwrap().1,
            samples::copied(&trace.faults).1
        );
        assert_eq!(plain("a\u{fdd0}b\u{ffff}"), "a\u{fffd}b\u{fffd}");
    }

    /// Without copies there is a picture that says so; a full disk is an error.
    #[test]
    fn empty_and_full() {
        let svg = written(&FORMAT, &Builder::new(&["<x>"]).finish());
        assert!(
            svg.contains("No page was copied.")
                && svg.contains("&lt;x&gt;")
                && svg.contains("Lost: nothing.")
        );
        assert_eq!(
            write(&samples::usual(), &mut samples::Full).unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
    }
}
