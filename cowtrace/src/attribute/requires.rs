//! Which of Ruby's frames load a file: the text that `require` was given, where the kernel program could read it, else
//! the file whose top-level code runs.

use super::stack::KnownFrame;
use super::{gems, library};
use crate::attribute::library::Library;

/// Names the file in the frames that load it.
pub(super) fn mark(frames: &mut [KnownFrame]) {
    for frame in frames.iter_mut() {
        frame.imports = frame.imports.take().map(|name| gems::feature(&name).to_owned());
    }
    for body in 0..frames.len() {
        if !library::is_body(&frames[body].shown.function) {
            continue;
        }
        let name = gems::feature(&frames[body].shown.file).to_owned();
        let machinery = frames[body + 1..].iter_mut().take_while(|frame| frame.library == Library::Frozen);
        let mut loads = machinery.filter(|frame| {
            frame.imports.is_some() || library::is_importing(&frame.shown.file, &frame.shown.function)
        });
        // One that has a name of its own was asked for by that.
        if let Some(first) = loads.next()
            && first.imports.is_none()
            && loads.all(|frame| frame.imports.is_none())
        {
            first.imports = Some(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema::PythonFrame;

    fn frame(file: &str, function: &str, imports: Option<&str>) -> KnownFrame {
        KnownFrame {
            shown: PythonFrame {
                file: file.to_owned(),
                function: function.to_owned(),
                ..PythonFrame::default()
            },
            library: library::of_file(file),
            imports: imports.map(str::to_owned),
            place: (0, 0),
        }
    }

    fn imports(frames: &mut [KnownFrame]) -> Vec<Option<&str>> {
        mark(frames);
        frames.iter().map(|frame| frame.imports.as_deref()).collect()
    }

    #[test]
    fn by_the_text_or_the_file() {
        let set = "/usr/lib/ruby/3.1.0/set.rb";
        let internal = "<internal:/usr/lib/ruby/vendor_ruby/rubygems/core_ext/kernel_require.rb>";
        let body = frame(set, "<top (required)>", None);
        let native = frame("<native>", "require", None);
        let main = frame("/srv/a.rb", "<main>", None);
        let text = frame(internal, "require", Some("set"));
        let mut frames = [body.clone(), native.clone(), text, main.clone()];
        assert_eq!(imports(&mut frames), [None, None, Some("set"), None]);
        let mut frames = [body.clone(), frame("<native>", "require_relative", None), main.clone()];
        assert_eq!(imports(&mut frames), [None, Some("set"), None]);
        let mut frames = [body, frame("<native>", "load", None), main];
        assert_eq!(imports(&mut frames), [None, None, None]);
    }
}
