// What each page of a program is at a moment, in each process: followed through forks, writes and ends.

/** States of a cell beside the numbers of causes. */
const NOT_WRITTEN = -2;
const IN_PLACE = -1;

/** The memory of one program through time. */
class History {
  constructor(program, exact) {
    this.program = program;
    this.exact = exact;
    this.runs = program.runs.length;
    this.cells = program.cells.length;
    this.events = this.sorted();
    this.restart();
  }

  /** Starts, then forks, writes and ends, where they are at the same moment. */
  sorted() {
    const events = [];
    this.program.runs.forEach((run, number) => {
      events.push({ time: run.start, order: 0, number });
      for (const time of run.forks) events.push({ time, order: 1, number });
      if (run.end !== null) events.push({ time: run.end, order: 3, number });
    });
    this.program.records.time.forEach((time, number) => events.push({ time, order: 2, number }));
    return events.sort((one, other) => one.time - other.time || one.order - other.order || one.number - other.number);
  }

  restart() {
    const all = this.runs * this.cells;
    this.next = 0;
    this.time = -1;
    this.alive = new Int8Array(this.runs).fill(-1);
    this.cause = new Int32Array(all).fill(NOT_WRITTEN);
    this.pages = new Int32Array(all);
    this.when = new Float64Array(all);
    /** Which copy of the page a process has; processes with the same one share it. */
    this.frame = new Int32Array(all);
    this.frames = 0;
    /** How many still shared the page as the process ended. */
    this.last = new Int32Array(all);
  }

  /** Goes to a moment; back means from the start again. */
  go(time) {
    if (time < this.time) this.restart();
    this.time = time;
    for (; this.next < this.events.length && this.events[this.next].time <= time; this.next += 1) {
      const { order, number } = this.events[this.next];
      [this.start, this.share, this.write, this.end][order].call(this, number);
    }
  }

  start(run) {
    const { parent } = this.program.runs[run];
    const own = run * this.cells;
    this.alive[run] = 1;
    for (let cell = 0; cell < this.cells; cell += 1) {
      if (parent === null) {
        this.frames += 1;
        this.frame[own + cell] = this.frames;
        continue;
      }
      this.frame[own + cell] = this.frame[parent * this.cells + cell];
    }
  }

  /** A process forked: what it had to itself is shared again. */
  share(run) {
    this.cause.fill(NOT_WRITTEN, run * this.cells, (run + 1) * this.cells);
    this.pages.fill(0, run * this.cells, (run + 1) * this.cells);
  }

  write(number) {
    const { records } = this.program;
    const at = records.run[number] * this.cells + records.cell[number];
    this.cause[at] = records.cause[number];
    this.pages[at] += records.pages[number];
    this.when[at] = records.time[number];
    this.frames += 1;
    this.frame[at] = this.frames;
  }

  end(run) {
    if (this.exact) {
      for (let cell = 0; cell < this.cells; cell += 1) this.last[run * this.cells + cell] = this.sharers(run, cell).length;
    }
    this.alive[run] = 0;
  }

  /** The living processes that have the same copy of the page, the process itself among them. */
  sharers(run, cell) {
    const frame = this.frame[run * this.cells + cell];
    const found = [];
    for (let other = 0; other < this.runs; other += 1) {
      if (this.alive[other] === 1 && this.frame[other * this.cells + cell] === frame) found.push(other);
    }
    return found;
  }

  /** How many share the page now, or did as the process ended. */
  sharing(run, cell) {
    return this.alive[run] === 1 ? this.sharers(run, cell).length : this.last[run * this.cells + cell];
  }

  /** Pages that are copies of this cause. */
  copiedBy(cause) {
    return this.cause.reduce((sum, one, at) => (one === cause ? sum + this.pages[at] : sum), 0);
  }

  /** Pages that a process has to itself, by part of the table, and those known that it has not. */
  sums(run, causeKind) {
    const sums = { kinds: new Array(KIND_NAMES.length).fill(0), place: 0, copied: 0, shared: 0 };
    for (let cell = 0; cell < this.cells; cell += 1) {
      const at = run * this.cells + cell;
      const pages = this.pages[at];
      if (this.cause[at] === IN_PLACE) sums.place += pages;
      else if (this.cause[at] >= 0) {
        sums.copied += pages;
        sums.kinds[causeKind[this.cause[at]]] += pages;
      }
      sums.shared += Math.max(0, this.program.cells[cell].known - pages);
    }
    return sums;
  }
}
