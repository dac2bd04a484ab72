// The timeline: a row per process, copied bytes as bars, imports and collections as spans, forks as lines.

const ROW = { height: 34, spans: 3, span: 5, bars: 10, bar: 21 };
const AXIS_HEIGHT = 22;

class Timeline {
  constructor(data) {
    this.data = data;
    this.axis = new Axis(data.duration);
    this.row = 0;
    this.cursor = null;
    this.drag = null;
    this.shown = document.getElementById('timeline-shown');
    this.board = new Board('timeline-board', (context) => this.draw(context));
    this.board.measure = () => AXIS_HEIGHT + data.processes.length * ROW.height;
    this.canvas = this.board.canvas;
    this.words = new TimelineWords(this);
    new TimelineInput(this);
    onFilter(() => this.changed());
    this.legend();
    this.say();
    document.getElementById('timeline-note').textContent = this.note();
  }

  get gutter() {
    return Math.min(210, Math.max(92, this.board.width * 0.24));
  }

  x(time) {
    return this.gutter + ((time - this.axis.start) / this.axis.span) * (this.board.width - this.gutter);
  }

  time(x) {
    return this.axis.start + ((x - this.gutter) / (this.board.width - this.gutter)) * this.axis.span;
  }

  legend() {
    const kinds = KIND_NAMES.filter((kind) => this.data.causes.some((cause) => cause.kind === kind));
    const entries = kinds.map((kind) => [(context, side) => {
      context.fillStyle = colors[kind];
      context.fillRect(2, 1, side - 4, side - 2);
    }, `${KINDS[kind].mark} ${KINDS[kind].label}`]);
    const span = (color) => (context, side) => {
      context.fillStyle = colors[color];
      context.fillRect(0, side / 2 - 2, side, 5);
    };
    const has = (kind) => this.data.spans.shown.some((entry) => entry.kind === kind);
    if (has('import')) entries.push([span('import'), 'import']);
    if (has('gc')) entries.push([span('gc'), 'garbage collection']);
    entries.push([(context, side) => {
      context.fillStyle = colors.ink;
      context.fillRect(side / 2, 0, 1, side);
      context.fillRect(side / 2 - 2, side - 4, 5, 4);
    }, 'fork']);
    legend('timeline-legend', entries);
  }

  note() {
    const { faults, spans, lost, processes } = this.data;
    const notes = [];
    const one = faults.time.length;
    if (faults.complete) notes.push(`All ${counted(faults.of, 'fault')} are shown one by one.`);
    else notes.push(`${count(one)} of ${counted(faults.of, 'fault')} are shown one by one: the first of each cause in each process, then evenly over all; bars, numbers, flame graph and map count all of them.`);
    if (spans.of > spans.shown.length) notes.push(`${count(spans.shown.length)} of ${counted(spans.of, 'span')} are drawn, those that copied most.`);
    if (lost.pages > 0) notes.push(`${counted(lost.pages, 'page')} lost their details and have no time: they are in the totals alone.`);
    const folded = processes.find((process) => process.pid === null);
    if (folded) notes.push(`${folded.name} that copied least share the last row.`);
    return notes.join(' ');
  }

  changed() {
    this.cursor = null;
    this.say();
    this.board.redraw();
  }

  /** What the seen part of the time holds; whole slices where faults are not known one by one. */
  sum() {
    const { faults, timeline } = this.data;
    const { start, end } = this.axis;
    const sum = { pages: 0, bytes: 0 };
    if (faults.complete) {
      faults.time.forEach((at, number) => {
        if (at < start || at > end || !shows(faults.cause[number])) return;
        sum.pages += 1;
        sum.bytes += faults.bytes[number];
      });
      return sum;
    }
    timeline.slice.forEach((slice, number) => {
      const outside = this.data.sliceTime(slice + 1) <= start || this.data.sliceTime(slice) > end;
      if (outside || !shows(timeline.cause[number])) return;
      sum.pages += timeline.pages[number];
      sum.bytes += timeline.bytes[number];
    });
    return sum;
  }

  say() {
    const { pages, bytes } = this.sum();
    const cause = this.data.causes[filter.cause];
    const of = cause ? ` of ${cause.place}` : '';
    const part = this.axis.isWhole ? 'shown' : `from ${tickName(this.axis.start, this.axis.span)} to ${tickName(this.axis.end, this.axis.span)}`;
    const slices = this.data.faults.complete || this.axis.isWhole ? '' : `, in whole slices of ${time(this.data.sliceTime(1))}`;
    this.shown.textContent = `${counted(pages, 'page')}, ${size(bytes)}${of} ${part}${slices}`;
    this.shown.dataset.pages = pages;
    this.shown.dataset.bytes = bytes;
  }

  /** Copied bytes of a row by pixel and part of the table. */
  columns(row, width) {
    const { faults, timeline, causeKind } = this.data;
    const kinds = KIND_NAMES.length;
    const sums = new Float64Array(width * kinds);
    if (faults.complete) {
      for (const number of faults.byProcess[row]) {
        const cause = faults.cause[number];
        const at = Math.floor(this.x(faults.time[number]) - this.gutter);
        if (at >= 0 && at < width && shows(cause)) sums[at * kinds + causeKind[cause]] += faults.bytes[number];
      }
      return sums;
    }
    for (const number of timeline.byProcess[row]) {
      const cause = timeline.cause[number];
      if (!shows(cause)) continue;
      const slice = timeline.slice[number];
      const from = Math.floor(this.x(this.data.sliceTime(slice)) - this.gutter);
      const to = Math.max(from + 1, Math.floor(this.x(this.data.sliceTime(slice + 1)) - this.gutter));
      const each = timeline.bytes[number] / (to - from);
      for (let at = Math.max(0, from); at < Math.min(width, to); at += 1) sums[at * kinds + causeKind[cause]] += each;
    }
    return sums;
  }

  draw(context) {
    const { board, data, gutter } = this;
    const width = Math.max(1, Math.floor(board.width - gutter));
    const first = Math.max(0, Math.floor((board.scroll - AXIS_HEIGHT) / ROW.height));
    const last = Math.min(data.processes.length, Math.ceil((board.scroll + board.height) / ROW.height));
    const rows = [];
    let most = 1;
    for (let row = first; row < last; row += 1) {
      const sums = this.columns(row, width);
      for (let at = 0; at < width; at += 1) {
        let sum = 0;
        for (let kind = 0; kind < KIND_NAMES.length; kind += 1) sum += sums[at * KIND_NAMES.length + kind];
        most = Math.max(most, sum);
      }
      rows.push(sums);
    }
    context.save();
    context.translate(0, -board.scroll);
    for (let row = first; row < last; row += 1) this.drawRow(context, row, rows[row - first], width, most);
    this.drawForks(context);
    context.restore();
    this.drawAxis(context);
    if (this.drag && this.drag.to !== undefined) {
      context.globalAlpha = 0.25;
      context.fillStyle = colors.accent;
      context.fillRect(Math.min(this.drag.from, this.drag.to), 0, Math.abs(this.drag.to - this.drag.from), board.height);
      context.globalAlpha = 1;
    }
  }

  drawRow(context, row, sums, width, most) {
    const { board, data, gutter } = this;
    const process = data.processes[row];
    const top = AXIS_HEIGHT + row * ROW.height;
    if (row === this.row && document.activeElement === this.canvas) {
      context.fillStyle = colors.panel;
      context.fillRect(0, top, board.width, ROW.height);
    }
    context.fillStyle = colors.line;
    context.fillRect(0, top + ROW.height - 1, board.width, 1);
    const indent = 6 + Math.min(process.generation, 8) * 12;
    context.font = font(12, process.worker ? 600 : 400);
    context.fillStyle = colors.ink;
    const narrow = gutter < 130;
    const name = process.pid === null ? process.name : narrow ? String(process.pid) : `${process.pid} ${process.name}`;
    context.fillText(fitText(context, name, gutter - indent - 4), indent, top + 11);
    context.font = font(11);
    context.fillStyle = colors.faint;
    context.fillText(fitText(context, this.amount(process), gutter - indent - 4), indent, top + 25);

    context.save();
    context.beginPath();
    context.rect(gutter, top, board.width - gutter, ROW.height);
    context.clip();
    const [from, to] = [this.x(process.start), this.x(process.end === null ? data.duration : process.end)];
    context.fillStyle = colors.life;
    context.fillRect(from, top + ROW.bars, Math.max(1, to - from), ROW.bar);
    const kinds = KIND_NAMES.length;
    for (let at = 0; at < width; at += 1) {
      let bottom = top + ROW.bars + ROW.bar;
      let sum = 0;
      for (let kind = 0; kind < kinds; kind += 1) sum += sums[at * kinds + kind];
      if (sum === 0) continue;
      // The root lets a single page be seen beside a thousand.
      const height = Math.max(3, Math.sqrt(sum / most) * ROW.bar);
      for (let kind = 0; kind < kinds; kind += 1) {
        const part = (sums[at * kinds + kind] / sum) * height;
        if (part === 0) continue;
        context.fillStyle = colors[KIND_NAMES[kind]];
        context.fillRect(gutter + at, bottom - part, 1, part);
        bottom -= part;
      }
    }
    this.drawSpans(context, row, top);
    if (this.cursor !== null && data.faults.process[this.cursor] === row) {
      context.fillStyle = colors.accent;
      context.fillRect(this.x(data.faults.time[this.cursor]) - 1, top, 3, ROW.height);
    }
    context.restore();
  }

  amount(process) {
    const inherited = process.inherited === null || this.gutter < 130 ? '' : ` of ${size(process.inherited)}`;
    return `${size(process.bytes)}${inherited}`;
  }

  drawSpans(context, row, top) {
    const { spans, strings } = this.data;
    const seen = spans.byProcess[row].map((number) => spans.shown[number])
      .map((span) => ({ span, from: this.x(span.start), width: Math.max(2, this.x(span.end) - this.x(span.start)) }))
      .filter(({ span, from, width }) => span.depth === 0 && from < this.board.width && from + width > this.gutter);
    context.globalAlpha = filter.cause === null ? 1 : 0.4;
    for (const { span, from, width } of seen) {
      context.fillStyle = colors[span.kind];
      context.fillRect(from, top + ROW.spans, width, ROW.span);
    }
    context.globalAlpha = 1;
    context.font = font(10);
    for (const { span, from, width } of seen) {
      if (span.kind !== 'import' || width < 60) continue;
      const left = Math.max(this.gutter, from) + 3;
      const text = fitText(context, strings[span.name], from + width - left - 5);
      context.fillStyle = colors.page;
      context.fillRect(left, top, context.measureText(text).width + 4, 11);
      context.fillStyle = colors.ink;
      context.fillText(text, left + 2, top + 6);
    }
  }

  drawForks(context) {
    const { processes } = this.data;
    context.fillStyle = colors.faint;
    processes.forEach((process, row) => {
      const middle = (at) => AXIS_HEIGHT + at * ROW.height + ROW.bars + ROW.bar / 2;
      for (const exec of process.execs) this.mark(context, this.x(exec), middle(row), 'place');
      if (process.parent === null) return;
      const x = Math.round(this.x(process.start));
      if (x < this.gutter || x > this.board.width) return;
      context.fillStyle = colors.faint;
      context.fillRect(x, middle(process.parent), 1, middle(row) - middle(process.parent));
      context.fillRect(x - 2, middle(row) - 2, 5, 5);
    });
  }

  /** A diamond: here the process began another program. */
  mark(context, x, y, color) {
    if (x < this.gutter || x > this.board.width) return;
    context.fillStyle = colors[color];
    context.beginPath();
    context.moveTo(x, y - 5);
    context.lineTo(x + 5, y);
    context.lineTo(x, y + 5);
    context.lineTo(x - 5, y);
    context.fill();
  }

  drawAxis(context) {
    const { board, axis, gutter } = this;
    context.fillStyle = colors.panel;
    context.fillRect(0, 0, board.width, AXIS_HEIGHT);
    context.fillStyle = colors.faint;
    context.font = font(11);
    context.fillText(fitText(context, 'process, copied', gutter - 8), 6, AXIS_HEIGHT / 2);
    for (const at of axis.ticks(board.width - gutter, 110)) {
      const x = this.x(at);
      context.fillStyle = colors.line;
      context.fillRect(x, AXIS_HEIGHT - 5, 1, board.height);
      context.fillStyle = colors.faint;
      const text = tickName(at, axis.span);
      if (x + context.measureText(text).width < board.width) context.fillText(text, x + 3, AXIS_HEIGHT / 2);
    }
  }
}
