// The flame graph: frames from the outermost on top, as wide as what was copied in them.

const FRAME = 19;
/** Frames that are narrower are not drawn. */
const NARROW = 0.6;
const FRAME_COLORS = ['python', 'code', 'other'];
const FRAME_WORDS = ['Python', 'native code', 'first write'];

class Flame {
  constructor(data) {
    this.data = data;
    this.tree = data.flame;
    this.root = 0;
    this.at = 0;
    this.wanted = '';
    this.boxes = [];
    this.shown = document.getElementById('flame-shown');
    this.children = grouped(this.tree.parent, this.tree.parent.length + 1);
    this.names = [`all`, ...this.tree.name.map((name) => data.strings[name])];
    this.deepest = this.depths();
    this.board = new Board('flame-board', (context) => this.draw(context));
    this.board.measure = () => (this.deepest + 1) * FRAME + 2;
    this.listen();
    this.count();
    onFilter(() => {
      this.count();
      this.board.redraw();
    });
    const sample = (name) => (context, side) => {
      context.fillStyle = colors[name];
      context.fillRect(0, 1, side, side - 2);
    };
    const sorts = new Set(this.tree.sort);
    const entries = [[sample('python'), 'Python'], [sample('code'), 'native code'], [sample('other'), 'first write']];
    this.legend = () => legend('flame-legend', [...entries.filter((_, sort) => sorts.has(sort)), [sample('hit'), 'found by the search']]);
    this.legend();
    const left = this.tree.left_out;
    document.getElementById('flame-note').textContent = left > 0 ? `${counted(left, 'frame')} in which least was copied ${left === 1 ? 'is' : 'are'} left out; what was copied there counts in the frames that called them.` : '';
  }

  /** Depth of the deepest frame. Parents come before their children. */
  depths() {
    const depths = [0];
    let most = 0;
    this.tree.parent.forEach((parent, number) => {
      depths[number + 1] = depths[parent] + 1;
      most = Math.max(most, depths[number + 1]);
    });
    this.depth = depths;
    return most;
  }

  /** What was copied in each frame and below it, by what is shown. Frame 0 is all. */
  count() {
    const { tree } = this;
    this.bytes = new Float64Array(tree.parent.length + 1);
    this.pages = new Float64Array(tree.parent.length + 1);
    tree.node.forEach((node, at) => {
      if (!shows(tree.cause[at])) return;
      // What nothing called and is left out belongs to all.
      const own = node === tree.parent.length ? 0 : node + 1;
      this.bytes[own] += tree.bytes[at];
      this.pages[own] += tree.pages[at];
    });
    for (let node = tree.parent.length; node > 0; node -= 1) {
      this.bytes[tree.parent[node - 1]] += this.bytes[node];
      this.pages[tree.parent[node - 1]] += this.pages[node];
    }
    if (this.bytes[this.root] === 0) this.root = 0;
    this.search();
  }

  /** Marks the frames whose names hold what is searched, and says how much was copied below one of them. */
  search() {
    this.hits = this.names.map((name, node) => this.wanted !== '' && node > 0 && name.toLowerCase().includes(this.wanted));
    let bytes = 0;
    const covered = new Uint8Array(this.names.length);
    for (let node = 1; node < this.names.length; node += 1) {
      const above = covered[this.tree.parent[node - 1]];
      if (this.hits[node] && !above) bytes += this.bytes[node];
      covered[node] = above || this.hits[node] ? 1 : 0;
    }
    this.found = bytes;
    this.say(this.root);
  }

  say(node) {
    const found = this.wanted === '' ? '' : `; found: ${size(this.found)}, ${percent(this.found, this.bytes[0])}`;
    this.shown.textContent = `${this.describe(node).filter(Boolean).join(', ')}${found}`;
    this.shown.dataset.bytes = this.bytes[node];
    this.shown.dataset.pages = this.pages[node];
  }

  describe(node) {
    const sort = node === 0 ? '' : FRAME_WORDS[this.tree.sort[node - 1]];
    return [this.names[node], sort, `${size(this.bytes[node])} (${percent(this.bytes[node], this.bytes[0])})`, counted(this.pages[node], 'page')];
  }

  /** The frames from the outermost to this one. */
  lineage(node) {
    const line = [];
    for (let at = node; at > 0; at = this.tree.parent[at - 1]) line.unshift(at);
    return [0, ...line];
  }

  /** Children that are drawn, the widest first. */
  shownChildren(node) {
    return this.children[node].map((child) => child + 1).filter((child) => this.bytes[child] > 0)
      .sort((one, other) => this.bytes[other] - this.bytes[one] || one - other);
  }

  draw(context) {
    const { board } = this;
    this.boxes = [];
    context.save();
    context.translate(0, -board.scroll);
    const line = this.lineage(this.root);
    for (const node of line) this.box(context, node, 0, board.width, node !== this.root);
    // Not recursive: stacks are as deep as the target likes.
    const open = [[this.root, 0]];
    while (open.length > 0) {
      const [node, left] = open.pop();
      let x = left;
      for (const child of this.shownChildren(node)) {
        const width = (this.bytes[child] / this.bytes[this.root]) * board.width;
        if (width >= NARROW) {
          this.box(context, child, x, width, false);
          open.push([child, x]);
        }
        x += width;
      }
    }
    context.restore();
  }

  box(context, node, x, width, faded) {
    const y = this.depth[node] * FRAME;
    this.boxes.push({ node, x, y, width });
    if (y + FRAME < this.board.scroll || y > this.board.scroll + this.board.height) return;
    context.globalAlpha = faded ? 0.55 : 1;
    const color = node === 0 ? 'other' : FRAME_COLORS[this.tree.sort[node - 1]];
    context.fillStyle = colors[this.hits[node] ? 'hit' : color];
    context.fillRect(x, y, Math.max(0.5, width - 1), FRAME - 1);
    if (node === this.at && document.activeElement === this.board.canvas) {
      context.strokeStyle = colors.accent;
      context.lineWidth = 3;
      context.strokeRect(x + 1.5, y + 1.5, Math.max(1, width - 4), FRAME - 4);
    }
    if (width > 30) {
      context.fillStyle = colors['on-frame'];
      const text = node === 0 ? `all: ${size(this.bytes[0])}` : this.names[node];
      context.fillText(fitText(context, text, width - 8), x + 4, y + FRAME / 2);
    }
    context.globalAlpha = 1;
  }

  hit(event) {
    const { x, y } = this.board.at(event);
    return this.boxes.find((box) => y >= box.y && y < box.y + FRAME && x >= box.x && x < box.x + box.width);
  }

  zoom(node) {
    this.root = node;
    this.at = node;
    this.say(node);
    this.board.redraw();
  }

  listen() {
    const { canvas } = this.board;
    canvas.addEventListener('pointermove', (event) => {
      const box = this.hit(event);
      if (box) tip.show(this.describe(box.node), event.clientX, event.clientY);
      else tip.hide();
    });
    canvas.addEventListener('pointerleave', () => tip.hide());
    canvas.addEventListener('click', (event) => {
      const box = this.hit(event);
      if (box) this.zoom(box.node);
    });
    canvas.addEventListener('focus', () => this.board.redraw());
    canvas.addEventListener('blur', () => this.board.redraw());
    canvas.addEventListener('keydown', (event) => this.key(event));
    document.getElementById('flame-reset').addEventListener('click', () => this.zoom(0));
    document.getElementById('flame-search').addEventListener('input', (event) => {
      this.wanted = event.target.value.trim().toLowerCase();
      this.search();
      this.board.redraw();
    });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const parent = this.at === 0 ? 0 : this.tree.parent[this.at - 1];
    const siblings = this.at === 0 ? [0] : this.shownChildren(parent);
    const beside = (by) => siblings[Math.max(0, Math.min(siblings.length - 1, siblings.indexOf(this.at) + by))];
    const moves = {
      ArrowUp: () => parent,
      ArrowDown: () => this.shownChildren(this.at)[0] ?? this.at,
      ArrowLeft: () => beside(-1),
      ArrowRight: () => beside(1),
    };
    if (moves[event.key]) {
      this.at = moves[event.key]();
      this.say(this.at);
      this.follow();
      this.board.redraw();
    } else if (event.key === 'Enter') this.zoom(this.at);
    else if (event.key === 'Escape' || event.key === 'Home') this.zoom(0);
    else return;
    event.preventDefault();
  }

  /** Scrolls so that the chosen frame is seen. */
  follow() {
    const { element, height } = this.board;
    const y = this.depth[this.at] * FRAME;
    if (y < element.scrollTop) element.scrollTop = y;
    if (y + FRAME > element.scrollTop + height) element.scrollTop = y + FRAME - height;
  }
}
