//! An interpreter stack with its names, and what it shows at one look: computed once for each stack, used for every
//! fault that has it.

use crate::record::schema::{Id, PythonFrame, Site};

use super::library::{self, Library};

/// A stack whose names are known.
#[derive(Clone, Debug)]
pub struct KnownStack {
    /// In the trace's table.
    pub id: Id<Vec<PythonFrame>>,
    /// Frames, innermost first.
    pub frames: Vec<KnownFrame>,
    /// Position of the innermost frame of the user's own code; `None` = there is none.
    pub own: Option<usize>,
    /// The name that the innermost instruction stores to: of an attribute, or of a module's variable.
    pub stored: Option<String>,
    /// Why the walk ended, if it was not at the outermost frame.
    pub cut: Option<&'static str>,
}

/// A frame of a [`KnownStack`].
#[derive(Clone, Debug)]
pub struct KnownFrame {
    /// For the record.
    pub shown: PythonFrame,
    /// Whose code it is.
    pub library: Library,
    /// The module that the frame is importing, if it is the import machinery's.
    pub imports: Option<String>,
    /// Identity of code and instruction, to find the same place in another stack.
    pub place: (u64, u64),
}

impl KnownStack {
    /// Looks through the frames once.
    #[must_use]
    pub fn new(id: Id<Vec<PythonFrame>>, frames: Vec<KnownFrame>, cut: Option<&'static str>) -> Self {
        // Text that a program was given as is the outermost frame; other text belongs to who runs it.
        let is_program = match frames.as_slice() {
            [.., inside, last] => {
                last.shown.file == library::TEXT && !library::is_starter(&inside.shown.file)
            }
            [last] => last.shown.file == library::TEXT,
            [] => false,
        };
        let is_own = |frame: &KnownFrame| {
            let made = frame.shown.file == library::TEXT && !is_program
                || library::is_generated(&frame.shown.file, &frame.shown.function);
            frame.library == Library::Own && !made
        };
        let own = frames.iter().position(is_own);
        Self { id, frames, own, stored: None, cut }
    }

    /// The frames that run on behalf of the user's innermost line: all, if no line is the user's.
    #[must_use]
    pub fn inner(&self) -> &[KnownFrame] {
        &self.frames[..self.own.unwrap_or(self.frames.len())]
    }

    /// The line to name: the user's innermost; else the innermost that is not the interpreter's frozen code.
    #[must_use]
    pub fn site(&self) -> Option<Site> {
        let frame = self.frames.get(self.site_frame()?)?;
        Some(Site {
            file: Some(frame.shown.file.clone()),
            line: frame.shown.line,
            approximate: frame.shown.approximate,
            function: Some(frame.shown.function.clone()),
            library: self.own.is_none().then(|| library::owner(&frame.shown.file)),
        })
    }

    /// Position of the frame of [`Self::site`].
    fn site_frame(&self) -> Option<usize> {
        self.own.or_else(|| self.frames.iter().position(|frame| frame.library != Library::Frozen))
    }

    /// The site and the frames of a write by machine code that the innermost frame's instructions were compiled to.
    #[must_use]
    pub fn compiled(&self) -> (Option<Site>, Vec<PythonFrame>) {
        let site = self.site().map(|site| {
            let approximate = site.approximate || self.site_frame() == Some(0);
            Site { approximate, ..site }
        });
        let mut frames: Vec<PythonFrame> = self.frames.iter().map(|frame| frame.shown.clone()).collect();
        if let Some(innermost) = frames.first_mut() {
            innermost.approximate = true;
        }
        (site, frames)
    }

    /// Imports under way, outermost first: those that the innermost line began which is not itself a line of a module
    /// that is being imported. So a module's own lines belong to its import, and that to the import of what imports it.
    #[must_use]
    pub fn imports(&self) -> Vec<String> {
        let mut chain: Vec<String> =
            self.import_frames().iter().rev().filter_map(|frame| frame.imports.clone()).collect();
        chain.dedup();
        chain
    }

    /// The frames among which the imports under way are.
    #[must_use]
    pub fn import_frames(&self) -> &[KnownFrame] {
        let is_own = |at: &usize| Some(*at) == self.own || self.frames[*at].library == Library::Own;
        let mut end = self.own.unwrap_or(self.frames.len());
        while end < self.frames.len() && self.is_imported_body(end) {
            let beyond = self.import_of_body(end);
            end = (beyond..self.frames.len()).find(is_own).unwrap_or(self.frames.len());
        }
        &self.frames[..end]
    }

    /// The module that `importlib.reload` is loading again for the user's innermost line: its file's name, once its body
    /// runs. The outer `None` = nothing is reloaded.
    #[must_use]
    pub fn reload(&self) -> Option<Option<&str>> {
        let frames = self.import_frames();
        let reload =
            frames.iter().position(|frame| library::is_reload(&frame.shown.file, &frame.shown.function))?;
        let body = frames[..reload].iter().rev().find(|frame| frame.library != Library::Frozen);
        let body = body.filter(|frame| frame.shown.function == library::MODULE_BODY);
        Some(body.map(|frame| library::module(&frame.shown.file)))
    }

    /// Whether a frame is a module's body that is being imported.
    fn is_imported_body(&self, at: usize) -> bool {
        let imports = |frame: &KnownFrame| {
            frame.imports.is_some() || library::is_importing(&frame.shown.file, &frame.shown.function)
        };
        library::is_body(&self.frames[at].shown.function)
            && self.frames[at + 1..self.import_of_body(at)].iter().any(imports)
    }

    /// End of the import machinery's frames just outside a module's body.
    fn import_of_body(&self, at: usize) -> usize {
        let outside = &self.frames[at + 1..];
        let machinery = outside.iter().position(|frame| frame.library != Library::Frozen);
        at + 1 + machinery.unwrap_or(outside.len())
    }

    /// Whether so many inner frames are the block that a fork was given to run in the child, and what that has called: they
    /// are the program's own, although the fork has not returned.
    #[must_use]
    pub fn is_block_of(&self, beyond: usize) -> bool {
        let block = beyond.checked_sub(1).and_then(|at| self.frames.get(at));
        block.is_some_and(|frame| library::is_block(&frame.shown.function))
            && self.frames.get(beyond).is_some_and(|frame| library::is_native(&frame.shown.file))
    }

    /// If the outermost frames of this stack are at the very places where another stack stood: how many frames it has
    /// beyond them. Of deep stacks only the inner frames are known; then as many as both have must agree.
    #[must_use]
    pub fn beyond(&self, other: &KnownStack) -> Option<usize> {
        let first = other.frames.first()?;
        let agrees = |beyond: usize| {
            let mut pairs = self.frames[beyond..].iter().zip(&other.frames);
            pairs.all(|(here, there)| here.place == there.place)
        };
        if self.cut.is_none() || other.cut.is_none() {
            return self.frames.len().checked_sub(other.frames.len()).filter(|beyond| agrees(*beyond));
        }
        let beyond = self.frames.iter().position(|frame| frame.place == first.place)?;
        (beyond <= MOST_BEYOND && agrees(beyond)).then_some(beyond)
    }
}

/// Frames beyond a place in a stack whose outer end is not known.
const MOST_BEYOND: usize = 64;
