// What the timeline says of a point, a copy or a process.

/** Pixels around the pointer in which copies are told of. */
const NEAR = 3;

class TimelineWords {
  constructor(timeline) {
    this.timeline = timeline;
    this.data = timeline.data;
  }

  /** What the tip says of one copy. */
  describe(number) {
    const { faults, strings, causes, processes } = this.data;
    const site = faults.site[number] === 0 ? 'no line, no symbol' : strings[faults.site[number] - 1];
    const process = processes[faults.process[number]];
    const latency = faults.latency[number] === 0 ? null : `took ${time(faults.latency[number])}`;
    return [
      `${moment(faults.time[number])}, ${process.pid === null ? process.name : `process ${process.pid}`}, thread ${faults.tid[number]}`,
      `at ${site}`,
      `first write: ${strings[faults.write[number]]}`,
      `while: ${strings[faults.operation[number]]}`,
      `page ${address(faults.page[number], faults.byte[number])}, ${strings[faults.region[number]]}, ${size(faults.bytes[number])}`,
      latency,
      `row: ${causeName(causes[faults.cause[number]])}`,
    ];
  }

  /** Counts by cause of a process between two moments. */
  tally(row, from, to) {
    const { faults, timeline } = this.data;
    const pages = new Map();
    const add = (cause, number) => pages.set(cause, (pages.get(cause) || 0) + number);
    if (faults.complete) {
      for (const number of faults.byProcess[row]) {
        if (faults.time[number] >= from && faults.time[number] <= to && shows(faults.cause[number])) add(faults.cause[number], 1);
      }
    } else {
      for (const number of timeline.byProcess[row]) {
        const slice = timeline.slice[number];
        const inside = this.data.sliceTime(slice + 1) > from && this.data.sliceTime(slice) <= to;
        if (inside && shows(timeline.cause[number])) add(timeline.cause[number], timeline.pages[number]);
      }
    }
    return [...pages].sort((one, other) => other[1] - one[1]);
  }

  /** The copy of a row that is nearest to a moment, within a distance. */
  nearest(row, at, distance) {
    const { faults } = this.data;
    let best = null;
    let least = distance;
    for (const number of faults.byProcess[row]) {
      const away = Math.abs(faults.time[number] - at);
      if (away <= least && shows(faults.cause[number])) [best, least] = [number, away];
    }
    return best;
  }

  spanLines(row, x, y) {
    const { spans, strings } = this.data;
    const inRow = (y - AXIS_HEIGHT) % ROW.height;
    if (inRow > ROW.bars) return [];
    const here = spans.byProcess[row].map((number) => spans.shown[number])
      .filter((span) => this.timeline.x(span.start) - NEAR <= x && this.timeline.x(span.end) + NEAR >= x);
    return here.slice(0, 6).map((span) => `${strings[span.name]}: ${counted(span.pages, 'page')}, ${size(span.bytes)}, seen from ${moment(span.start)} to ${moment(span.end)}`);
  }

  describeProcess(process) {
    if (process.pid === null) return [process.name];
    const ended = process.end === null ? 'was running when the trace ended'
      : `ended at ${moment(process.end)}${process.exit === null ? '' : ` with ${process.exit}`}`;
    return [
      `${process.pid} ${process.name}, generation ${process.generation}`,
      `${process.parent === null ? 'began' : 'forked'} at ${moment(process.start)}, ${ended}`,
      process.inherited === null ? null : `inherited ${size(process.inherited)}`,
      `copied ${size(process.bytes)} in ${counted(process.pages, 'page')}`,
      ...process.execs.map((exec) => `began another program at ${moment(exec)}`),
    ];
  }

  hover(event) {
    const { x, y, top } = this.timeline.board.at(event);
    const row = Math.floor((y - AXIS_HEIGHT) / ROW.height);
    const process = this.data.processes[row];
    if (top < AXIS_HEIGHT || process === undefined) return tip.hide();
    if (x < this.timeline.gutter) return tip.show(this.describeProcess(process), event.clientX, event.clientY);
    const [from, to] = [this.timeline.time(x - NEAR), this.timeline.time(x + NEAR)];
    const lines = this.spanLines(row, x, y);
    const tally = this.tally(row, from, to);
    const number = this.nearest(row, this.timeline.time(x), this.timeline.time(x + NEAR) - this.timeline.time(x));
    const pages = tally.reduce((sum, entry) => sum + entry[1], 0);
    if (number !== null) lines.push(...this.describe(number));
    if (pages > 1 || (pages > 0 && number === null)) {
      lines.push(`${counted(pages, 'page')} here${this.data.faults.complete ? '' : `, within ${time(Math.max(to - from, this.data.sliceTime(1)))}`}:`);
      for (const [cause, number] of tally.slice(0, 5)) lines.push(`  ${count(number)} × ${causeName(this.data.causes[cause])}`);
      if (tally.length > 5) lines.push(`  … and ${tally.length - 5} more rows`);
    }
    return lines.length > 0 ? tip.show(lines, event.clientX, event.clientY) : tip.hide();
  }
}
