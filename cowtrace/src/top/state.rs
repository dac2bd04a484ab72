//! What is shown: the trace by now, and how the user wants to see it. No terminal, no clock.

use std::time::Duration;

use super::rates::{Pace, Rates};
use super::rows::{self, CAUSE_ORDERS, CauseOrder, CauseRow, PROCESS_ORDERS, ProcessOrder, ProcessRow};
use crate::report::live::Now;
use crate::report::{Cut, REPORTS};

/// Characters of a filter.
const LONGEST_FILTER: usize = 200;

/// The table that keys are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    /// That of processes.
    #[default]
    Processes,
    /// That of causes.
    Causes,
}

/// How the rows of a table are ordered, and where one is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Which order.
    pub(super) order: usize,
    /// The other way round.
    pub(super) reverse: bool,
    /// The row that is looked at.
    pub(super) at: usize,
    /// The first row on the screen.
    pub(super) from: usize,
}

impl Place {
    /// Moves the first row so far that the chosen one of `len` is on a screen of `height` rows.
    pub(super) fn follow(&mut self, len: usize, height: usize) {
        self.at = self.at.min(len.saturating_sub(1));
        self.from = self.from.min(self.at).max((self.at + 1).saturating_sub(height));
        self.from = self.from.min(len.saturating_sub(height));
    }
}

/// What is shown.
#[derive(Debug)]
pub(super) struct State {
    /// The trace, as it is shown.
    pub(super) now: Now,
    /// How fast it moves, as it is shown.
    pub(super) rates: Rates,
    /// Since the start, as it is shown.
    pub(super) elapsed: Duration,
    /// The last lines that the command wrote; empty = none, or they are not kept.
    pub(super) output: Vec<String>,
    /// Bytes that the command wrote.
    pub(super) written: u64,
    /// What cowtrace said last.
    pub(super) notice: Option<String>,
    /// What is shown stays as it is.
    pub(super) paused: bool,
    /// The table that keys are for.
    pub(super) pane: Pane,
    /// Where one is in the table of processes.
    pub(super) processes: Place,
    /// Where one is in the table of causes.
    pub(super) causes: Place,
    /// The process whose causes are shown; `None` = all.
    pub(super) only: Option<usize>,
    /// Text that rows of [`State::filtered`] must have; empty = all.
    pub(super) filter: String,
    /// The table that the filter is for.
    pub(super) filtered: Pane,
    /// Keys are for the filter.
    pub(super) typing: bool,
    /// The keys are explained.
    pub(super) help: bool,
    /// The command's output is shown; `None` = where there is room.
    pub(super) show_output: Option<bool>,
    /// The trace is about to end.
    pub(super) ending: bool,
    cut: usize,
    pace: Pace,
}

impl State {
    /// Nothing yet, to be shown by this cut.
    #[must_use]
    pub(super) fn new(cut: Cut) -> Self {
        Self {
            now: Now::default(),
            rates: Rates::default(),
            elapsed: Duration::ZERO,
            output: Vec::new(),
            written: 0,
            notice: None,
            paused: false,
            pane: Pane::default(),
            processes: Place::default(),
            causes: Place::default(),
            only: None,
            filter: String::new(),
            filtered: Pane::default(),
            typing: false,
            help: false,
            show_output: None,
            ending: false,
            cut: REPORTS.iter().position(|known| std::ptr::eq(known, cut)).unwrap_or_default(),
            pace: Pace::default(),
        }
    }

    /// What the rows of causes stand for.
    #[must_use]
    pub(super) fn cut(&self) -> Cut {
        REPORTS.get(self.cut).unwrap_or(&REPORTS[0])
    }

    /// Takes the trace by now, so long after the start. While it pauses, only how fast it moves is noted.
    pub(super) fn update(&mut self, elapsed: Duration, now: Now) {
        let rates = self.pace.take(elapsed, &now);
        if !self.paused {
            (self.now, self.rates, self.elapsed) = (now, rates, elapsed);
        }
    }

    /// The order of processes.
    #[must_use]
    pub(super) fn process_order(&self) -> &'static ProcessOrder {
        PROCESS_ORDERS.get(self.processes.order).unwrap_or(&PROCESS_ORDERS[0])
    }

    /// The order of causes.
    #[must_use]
    pub(super) fn cause_order(&self) -> &'static CauseOrder {
        CAUSE_ORDERS.get(self.causes.order).unwrap_or(&CAUSE_ORDERS[0])
    }

    /// The rows of processes.
    #[must_use]
    pub(super) fn process_rows(&self) -> Vec<ProcessRow> {
        let filter = self.filter_of(Pane::Processes);
        rows::processes(&self.now, &self.rates, self.process_order(), self.processes.reverse, filter)
    }

    /// The rows of causes.
    #[must_use]
    pub(super) fn cause_rows(&self) -> Vec<CauseRow> {
        let filter = self.filter_of(Pane::Causes);
        rows::causes(&self.now, &self.rates, self.cause_order(), self.causes.reverse, self.cut == 0, filter)
    }

    /// Text that rows of a table must have.
    #[must_use]
    pub(super) fn filter_of(&self, pane: Pane) -> &str {
        if self.filtered == pane { &self.filter } else { "" }
    }

    /// The place in the table that keys are for.
    pub(super) const fn place(&mut self) -> &mut Place {
        match self.pane {
            Pane::Processes => &mut self.processes,
            Pane::Causes => &mut self.causes,
        }
    }

    /// The next order.
    pub(super) fn next_order(&mut self) {
        let orders = match self.pane {
            Pane::Processes => PROCESS_ORDERS.len(),
            Pane::Causes => CAUSE_ORDERS.len(),
        };
        let place = self.place();
        *place = Place { order: (place.order + 1) % orders, ..Place::default() };
    }

    /// The next cut.
    pub(super) fn next_cut(&mut self) {
        self.cut = (self.cut + 1) % REPORTS.len();
        self.other_causes();
    }

    /// Shows the causes of the process that is looked at alone, or those of all again.
    pub(super) fn choose(&mut self) {
        let chosen = self.process_rows().get(self.processes.at).map(|row| row.index);
        self.only = if self.only == chosen { None } else { chosen };
        self.other_causes();
    }

    /// Shows everything again.
    pub(super) fn show_all(&mut self) {
        self.filter.clear();
        if self.only.take().is_some() {
            self.other_causes();
        }
    }

    /// Begins a filter for the table that keys are for.
    pub(super) fn begin_filter(&mut self) {
        (self.typing, self.filtered) = (true, self.pane);
        self.filter.clear();
        self.first_rows();
    }

    /// Adds a character to the filter.
    pub(super) fn type_in(&mut self, c: char) {
        if self.filter.chars().count() < LONGEST_FILTER && !c.is_control() {
            self.filter.push(c);
            self.first_rows();
        }
    }

    /// Back to the first rows.
    pub(super) const fn first_rows(&mut self) {
        (self.processes.at, self.processes.from) = (0, 0);
        (self.causes.at, self.causes.from) = (0, 0);
    }

    fn other_causes(&mut self) {
        self.pace.forget_causes();
        self.rates.causes.clear();
        (self.causes.at, self.causes.from) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::live::Process;

    fn now(processes: usize) -> Now {
        let process = |n| Process { name: format!("{n} x"), parent: None, ..Process::default() };
        Now { processes: (0..processes).map(process).collect(), ..Now::default() }
    }

    /// What is shown while it pauses is what there was.
    #[test]
    fn a_pause_keeps_what_is_shown() {
        let mut state = State::new(&REPORTS[0]);
        state.update(Duration::from_secs(1), now(1));
        state.paused = true;
        state.update(Duration::from_secs(9), now(5));
        assert_eq!((state.now.processes.len(), state.elapsed.as_secs()), (1, 1));
        state.paused = false;
        state.update(Duration::from_secs(10), now(6));
        assert_eq!((state.now.processes.len(), state.elapsed.as_secs()), (6, 10));
    }

    /// The row that is looked at is always on the screen, and no row is left empty that could be full.
    #[test]
    fn the_screen_follows() {
        let mut place = Place { at: 50, ..Place::default() };
        place.follow(100, 10);
        assert_eq!((place.at, place.from), (50, 41));
        place.at = 45;
        place.follow(100, 10);
        assert_eq!(place.from, 41);
        place.at = 3;
        place.follow(100, 10);
        assert_eq!(place.from, 3);
        place.follow(2, 10);
        assert_eq!((place.at, place.from), (1, 0));
        place.follow(0, 10);
        assert_eq!((place.at, place.from), (0, 0));
        place.at = 7;
        place.follow(100, 0);
        assert_eq!(place.at, 7);
    }

    #[test]
    fn one_process_and_all_again() {
        let mut state = State::new(&REPORTS[0]);
        state.update(Duration::ZERO, now(3));
        state.processes.at = 2;
        state.choose();
        assert_eq!(state.only, Some(2));
        state.choose();
        assert_eq!(state.only, None);
        state.choose();
        state.type_in('x');
        state.type_in('\u{1b}');
        assert_eq!(state.filter, "x");
        state.show_all();
        assert_eq!((state.only, state.filter.as_str()), (None, ""));
    }

    #[test]
    fn cuts_and_orders_go_round() {
        let mut state = State::new(&REPORTS[1]);
        for _ in REPORTS {
            state.next_cut();
        }
        assert_eq!(state.cut().name, REPORTS[1].name);
        for pane in [Pane::Processes, Pane::Causes] {
            state.pane = pane;
            let first = *state.place();
            (0..6).for_each(|_| state.next_order());
            assert_eq!(*state.place(), first, "{pane:?}");
        }
    }
}
