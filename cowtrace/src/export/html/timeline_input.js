// The timeline under pointer, wheel and keys.

class TimelineInput {
  constructor(timeline) {
    this.timeline = timeline;
    this.data = timeline.data;
    this.axis = timeline.axis;
    this.board = timeline.board;
    this.canvas = timeline.canvas;
    this.listen();
  }

  /** The next or previous copy of the chosen row. */
  step(by) {
    const { faults } = this.data;
    const row = faults.byProcess[this.timeline.row].filter((number) => shows(faults.cause[number]));
    if (row.length === 0) return;
    const at = row.indexOf(this.timeline.cursor);
    const next = at < 0 ? (by > 0 ? 0 : row.length - 1) : Math.min(row.length - 1, Math.max(0, at + by));
    this.timeline.cursor = row[next];
    const when = faults.time[this.timeline.cursor];
    if (when < this.axis.start || when > this.axis.end) this.axis.set(when - this.axis.span / 2, when + this.axis.span / 2);
    this.board.drawNow();
    const lines = this.timeline.words.describe(this.timeline.cursor);
    const box = this.canvas.getBoundingClientRect();
    tip.show(lines, box.left + this.timeline.x(when), box.top + AXIS_HEIGHT + (this.timeline.row + 1) * ROW.height - this.board.scroll);
    document.getElementById('timeline-copy').textContent = lines.filter(Boolean).join('; ');
  }

  chooseRow(by) {
    this.timeline.row = Math.min(this.data.processes.length - 1, Math.max(0, this.timeline.row + by));
    this.timeline.cursor = null;
    const top = this.timeline.row * ROW.height;
    const { element, height } = this.board;
    if (top < element.scrollTop) element.scrollTop = top;
    if (top + ROW.height + AXIS_HEIGHT > element.scrollTop + height) element.scrollTop = top + ROW.height + AXIS_HEIGHT - height;
    this.board.redraw();
  }

  listen() {
    const act = (id, action) => document.getElementById(id).addEventListener('click', () => {
      action();
      this.timeline.changed();
    });
    act('timeline-in', () => this.axis.zoom(2));
    act('timeline-out', () => this.axis.zoom(0.5));
    act('timeline-left', () => this.axis.move(-0.25));
    act('timeline-right', () => this.axis.move(0.25));
    act('timeline-reset', () => this.axis.reset());
    const { canvas } = this;
    canvas.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
    canvas.addEventListener('pointerdown', (event) => this.press(event));
    canvas.addEventListener('pointermove', (event) => this.move(event));
    canvas.addEventListener('pointerup', (event) => this.release(event));
    canvas.addEventListener('pointercancel', () => {
      this.timeline.drag = null;
      this.board.redraw();
    });
    canvas.addEventListener('pointerleave', () => tip.hide());
    canvas.addEventListener('blur', () => {
      tip.hide();
      this.board.redraw();
    });
    canvas.addEventListener('focus', () => this.board.redraw());
    canvas.addEventListener('keydown', (event) => this.key(event));
  }

  /** The wheel belongs to the page until the picture is focused, or a modifier says that it is meant. */
  wheel(event) {
    const meant = event.ctrlKey || document.activeElement === this.canvas;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      this.axis.move((event.deltaX || event.deltaY) / 800);
      this.timeline.changed();
    } else if (meant) {
      event.preventDefault();
      this.axis.zoom(1.0015 ** -event.deltaY, this.timeline.time(this.board.at(event).x));
      this.timeline.changed();
    }
  }

  press(event) {
    const { x, y } = this.board.at(event);
    this.canvas.focus({ preventScroll: true });
    this.timeline.row = Math.max(0, Math.min(this.data.processes.length - 1, Math.floor((y - AXIS_HEIGHT) / ROW.height)));
    if (event.button > 1 || x < this.timeline.gutter) return;
    this.canvas.setPointerCapture(event.pointerId);
    const pans = event.shiftKey || event.button === 1;
    this.timeline.drag = { from: x, pans, start: this.axis.start, end: this.axis.end };
  }

  move(event) {
    if (this.timeline.drag === null) return this.timeline.words.hover(event);
    const { x } = this.board.at(event);
    if (this.timeline.drag.pans) {
      const by = ((this.timeline.drag.from - x) / (this.board.width - this.timeline.gutter)) * this.axis.span;
      this.axis.set(this.timeline.drag.start + by, this.timeline.drag.end + by);
      return this.timeline.changed();
    }
    this.timeline.drag.to = Math.max(this.timeline.gutter, x);
    tip.hide();
    return this.board.redraw();
  }

  release(event) {
    const { drag } = this.timeline;
    this.timeline.drag = null;
    if (drag === null || drag.pans) return;
    if (drag.to !== undefined && Math.abs(drag.to - drag.from) > 5) {
      const [from, to] = [this.timeline.time(Math.min(drag.from, drag.to)), this.timeline.time(Math.max(drag.from, drag.to))];
      this.axis.set(from, to);
      this.timeline.changed();
    } else {
      this.board.redraw();
      this.timeline.words.hover(event);
    }
  }

  key(event) {
    const keys = {
      ArrowLeft: () => this.axis.move(-0.1),
      ArrowRight: () => this.axis.move(0.1),
      '+': () => this.axis.zoom(1.5),
      '=': () => this.axis.zoom(1.5),
      '-': () => this.axis.zoom(1 / 1.5),
      Home: () => this.axis.reset(),
      0: () => this.axis.reset(),
    };
    const others = {
      ArrowUp: () => this.chooseRow(-1),
      ArrowDown: () => this.chooseRow(1),
      n: () => this.step(1),
      p: () => this.step(-1),
      Escape: () => tip.hide(),
    };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = keys[event.key];
    if (action) {
      action();
      this.timeline.changed();
    } else if (others[event.key]) others[event.key]();
    if (action || others[event.key]) event.preventDefault();
  }
}
