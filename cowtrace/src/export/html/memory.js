// The map of memory: bars of what each process inherited, and the known pages as cells, through time.

const BAR_ROW = 22;
const HEAD = 18;
/** Pixels of a cell with its margin: where processes are few, their rows have room for a name. */
const CELLS = [12, 8];
const LABELLED = 12;
/** A play through the whole trace takes so many milliseconds. */
const PLAY = 12000;

class MemoryMap {
  constructor(data) {
    this.data = data;
    this.exact = data.memory.slices === 0;
    this.shown = document.getElementById('memory-shown');
    this.cell = document.getElementById('memory-cell');
    this.slider = document.getElementById('memory-time');
    this.button = document.getElementById('memory-play');
    this.cursor = null;
    this.playing = null;
    this.now = data.duration + 1;
    this.paint = new MemoryPaint(this);
    this.board = new Board('memory-board', (context) => this.paint.draw(context));
    this.board.measure = (width) => this.layout(width);
    if (!this.exact && data.memory.slices > 0) this.slider.max = data.memory.slices;
    this.slider.value = this.slider.max;
    this.setUpPrograms();
    this.choose(0);
    this.listen();
    onFilter(() => this.go(this.now));
  }

  setUpPrograms() {
    const { programs, too_large: tooLarge, other_programs: others, shift } = this.data.memory;
    const select = document.getElementById('memory-program');
    document.getElementById('memory-program-label').hidden = programs.length < 2;
    programs.forEach((program, number) => {
      const option = document.createElement('option');
      option.value = number;
      option.textContent = this.data.strings[program.name];
      select.append(option);
    });
    select.addEventListener('change', () => this.choose(Number(select.value)));
    const notes = [];
    if (tooLarge) notes.push('There is no map: the pages are too many and too scattered to be drawn.');
    else if (programs.length === 0) notes.push('No page was written to while it was shared.');
    if (shift > 0) notes.push(`A cell is ${counted(2 ** shift, 'page')} (${size(2 ** shift * this.data.page_bytes)}), filled as far as its pages were copied.`);
    if (!this.exact && programs.length > 0) notes.push(`Writes are told in steps of ${time(this.data.duration / this.data.memory.slices)}; who shares a page with whom is not told for so many.`);
    notes.push('More than was inherited can be copied: first writes to mapped files belong to no fork.');
    if (others > 0) notes.push(`${counted(others, 'program')} with fewer pages ${others === 1 ? 'is' : 'are'} left out.`);
    const hidden = this.data.processes.find((process) => process.pid === null);
    if (hidden) notes.push(`${hidden.name} that copied least are not in the map.`);
    document.getElementById('memory-note').textContent = notes.join(' ');
    this.board.element.hidden = programs.length === 0;
  }

  choose(number) {
    this.program = this.data.memory.programs[number];
    if (this.program === undefined) return;
    this.history = new History(this.program, this.exact);
    this.cursor = null;
    this.legend();
    this.go(this.now);
  }

  legend() {
    const present = new Set(this.program.records.cause.map((cause) => (cause < 0 ? 'place' : this.data.causes[cause].kind)));
    const kinds = KIND_NAMES.filter((kind) => present.has(kind));
    const entries = kinds.map((kind) => [(context, side) => paintCell(context, kind, 2, 2, side - 4), `copied: ${KINDS[kind].label}`]);
    if (present.has('place')) entries.push([(context, side) => paintCell(context, 'place', 2, 2, side - 4), 'written in place: it was the last owner']);
    const shared = (name) => (context, side) => this.paint.share(context, name, 1, 1, side - 2);
    if (this.exact) {
      entries.push([shared('share-1'), 'not written, nobody else has it any more'], [shared('share-2'), 'shared by 2'],
        [shared('share-3'), 'by 3 or 4'], [shared('share-4'), 'by 5 or more']);
    } else entries.push([shared('share-3'), 'not written: shared']);
    entries.push([(context, side) => this.paint.never(context, 0, 2, side, side - 4), 'never written to by anybody, addresses not known']);
    legend('memory-legend', entries);
  }

  go(moment_) {
    this.now = moment_;
    if (this.program === undefined) return;
    this.history.go(moment_);
    this.sums = this.program.runs.map((_, run) => this.history.sums(run, this.data.causeKind));
    const copied = this.sums.reduce((sum, one) => sum + one.copied, 0);
    const before = moment_ >= this.data.duration ? 'at the end' : `at ${moment(moment_)}`;
    const chosen = filter.cause === null ? '' : `, ${count(this.history.copiedBy(filter.cause))} of them of ${this.data.causes[filter.cause].place}`;
    this.shown.textContent = `${before}: ${counted(copied, 'page')} ${copied === 1 ? 'is' : 'are'} private copies${chosen}`;
    this.shown.dataset.pages = copied;
    this.shown.dataset.time = moment_;
    this.board.redraw();
  }

  get gutter() {
    return Math.min(190, Math.max(84, this.board.width * 0.22));
  }

  /** Where everything is: bars, then for each mapping stripes of all processes. The whole height. */
  layout(width) {
    this.stripes = [];
    if (this.program === undefined) return 0;
    const { runs, regions } = this.program;
    this.side = CELLS[runs.length > 16 ? 1 : 0];
    const gutter = Math.min(190, Math.max(84, width * 0.22));
    this.columns = Math.max(8, Math.floor((width - gutter - 4) / this.side));
    let y = HEAD + runs.length * BAR_ROW + 10;
    for (const region of regions) {
      const cells = region.page.length;
      for (let first = 0; first < cells; first += this.columns) {
        this.stripes.push({ y, region, first: region.first + first, number: Math.min(this.columns, cells - first), head: first === 0 });
        y += (first === 0 ? HEAD : 4) + runs.length * this.side + 4;
      }
    }
    return y + 4;
  }

  label(run) {
    const process = this.data.processes[this.program.runs[run].process];
    return this.gutter < 130 ? String(process.pid) : `${process.pid} ${process.name}`;
  }

  stripeTop(stripe) {
    return stripe.y + (stripe.head ? HEAD : 4);
  }

  /** What is known of a cell in a process, in lines. */
  describe(run, cell) {
    const { history, program, data } = this;
    const { page, known, region } = program.cells[cell];
    const { shift } = data.memory;
    const at = run * history.cells + cell;
    const place = shift === 0 ? `page ${address(page)}` : `${address(page)} to ${address(page + 2 ** shift - 1, 4095)}`;
    const lines = [`${this.label(run)}, ${place}, ${data.strings[program.regions[region].name]}`];
    if (history.alive[run] === -1) return [...lines, 'not yet forked'];
    const ended = history.alive[run] === 0 ? ', as it ended' : '';
    const cause = history.cause[at];
    if (shift > 0) lines.push(`${count(history.pages[at])} of ${counted(known, 'known page')} written`);
    if (cause === IN_PLACE) lines.push(`written in place at ${moment(history.when[at])}: nobody else had it any more`);
    else if (cause !== NOT_WRITTEN) {
      lines.push(`copied at ${moment(history.when[at])} by ${causeName(data.causes[cause])}`);
      const fault = this.fault(run, page, history.when[at]);
      if (fault !== undefined) lines.push(`first write: ${data.strings[data.faults.write[fault]]}`);
    } else if (!this.exact) lines.push(`not written${ended}: shared`);
    else {
      const sharers = history.alive[run] === 1 ? history.sharers(run, cell).filter((other) => other !== run) : null;
      const number = history.sharing(run, cell) - 1;
      if (number < 1) lines.push(`not written${ended}; nobody else has it any more`);
      else if (sharers === null) lines.push(`not written${ended}; it was shared with ${counted(number, 'other process')}`);
      else {
        const names = sharers.slice(0, 8).map((other) => this.label(other)).join(', ');
        lines.push(`not written; shared with ${names}${sharers.length > 8 ? ` and ${sharers.length - 8} more` : ''}`);
      }
    }
    return lines;
  }

  /** The copy that made a page private, if it is known by itself. */
  fault(run, page, when) {
    const { faults } = this.data;
    const { process } = this.program.runs[run];
    return this.exact ? faults.byProcess[process].find((number) => faults.page[number] === page && faults.time[number] === when) : undefined;
  }

  hit({ x, y }) {
    const column = Math.floor((x - this.gutter) / this.side);
    const runs = this.program.runs.length;
    const stripe = this.stripes.find((one) => y >= this.stripeTop(one) && y < this.stripeTop(one) + runs * this.side);
    if (stripe === undefined || column < 0 || column >= stripe.number) return null;
    return { run: Math.floor((y - this.stripeTop(stripe)) / this.side), cell: stripe.first + column };
  }

  listen() {
    const { canvas } = this.board;
    const chosen = () => (Number(this.slider.value) / Number(this.slider.max)) * (this.data.duration + 1);
    this.slider.addEventListener('input', () => {
      this.stop();
      this.go(chosen());
    });
    this.button.addEventListener('click', () => (this.playing === null ? this.play() : this.stop()));
    canvas.addEventListener('pointermove', (event) => {
      const hit = this.program && this.hit(this.board.at(event));
      if (hit) tip.show(this.describe(hit.run, hit.cell), event.clientX, event.clientY);
      else tip.hide();
    });
    canvas.addEventListener('pointerleave', () => tip.hide());
    canvas.addEventListener('pointerdown', (event) => {
      canvas.focus({ preventScroll: true });
      this.point(this.program && this.hit(this.board.at(event)));
    });
    canvas.addEventListener('keydown', (event) => this.key(event));
  }

  point(cursor) {
    if (!cursor) return;
    this.cursor = cursor;
    this.cell.textContent = this.describe(cursor.run, cursor.cell).join('; ');
    this.board.redraw();
  }

  key(event) {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const move = moves[event.key];
    if (!move || !this.program || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const { run, cell } = this.cursor || { run: 0, cell: -move[1] };
    const within = (value, number) => Math.max(0, Math.min(number - 1, value));
    this.point({ run: within(run + move[0], this.program.runs.length), cell: within(cell + move[1], this.program.cells.length) });
    const stripe = this.stripes.find((one) => this.cursor.cell < one.first + one.number && this.cursor.cell >= one.first);
    const y = this.stripeTop(stripe) + this.cursor.run * this.side;
    const { element, height } = this.board;
    if (y < element.scrollTop || y + this.side > element.scrollTop + height) element.scrollTop = y - height / 2;
  }

  play() {
    let [value, most] = [Number(this.slider.value), Number(this.slider.max)];
    if (value >= most) value = 0;
    const began = performance.now();
    this.button.textContent = 'Stop';
    const next = (now) => {
      const at = Math.min(most, Math.floor(value + ((now - began) / PLAY) * most));
      this.slider.value = at;
      this.go((at / most) * (this.data.duration + 1));
      if (at >= most) this.stop();
      else this.playing = requestAnimationFrame(next);
    };
    this.playing = requestAnimationFrame(next);
  }

  stop() {
    if (this.playing !== null) cancelAnimationFrame(this.playing);
    this.playing = null;
    this.button.textContent = 'Play';
  }
}
