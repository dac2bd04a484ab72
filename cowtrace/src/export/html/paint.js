// Canvases that scroll, are sharp on every screen, and take their colours from the style sheet; the tip beside the pointer.

/** Colours of the present theme, by the name of their variable. */
const colors = {};

function readColors() {
  const style = getComputedStyle(document.documentElement);
  const names = ['page', 'panel', 'ink', 'faint', 'line', 'accent', 'own', 'native', 'machinery', 'unknown', 'rest', 'place',
    'share-1', 'share-2', 'share-3', 'share-4', 'life', 'never', 'python', 'code', 'other', 'on-frame', 'hit', 'gc', 'import'];
  for (const name of names) colors[name] = style.getPropertyValue(`--${name}`).trim();
}

/** Pixels of a picture on paper, at most: what fits on one sheet. */
const PAPER = 1000;

/** A canvas as wide as its board. What is higher than the board scrolls: only the part that is seen is drawn. */
class Board {
  constructor(id, draw) {
    this.element = document.getElementById(id);
    this.inner = this.element.querySelector('.inner');
    this.canvas = this.element.querySelector('canvas');
    this.context = this.canvas.getContext('2d');
    this.paint = draw;
    this.total = 0;
    this.width = 0;
    this.height = 0;
    this.printing = false;
    this.pending = false;
    new ResizeObserver(() => this.redraw()).observe(this.element);
    this.element.addEventListener('scroll', () => this.redraw());
  }

  get scroll() {
    return this.printing ? 0 : this.element.scrollTop;
  }

  /** Draws in the next frame, however often it is asked. */
  redraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.drawNow();
    });
  }

  /** Draws at once; `total(width)` is the height of everything. */
  drawNow() {
    this.width = Math.max(120, this.element.clientWidth);
    this.total = Math.ceil(this.measure(this.width));
    this.inner.style.height = `${this.total}px`;
    const room = parseFloat(getComputedStyle(this.element).maxHeight) || 600;
    this.height = this.printing ? Math.min(this.total, PAPER) : Math.min(this.total, room);
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(this.width * scale), Math.round(this.height * scale)];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.canvas.style.height = `${this.height}px`;
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    this.context.clearRect(0, 0, this.width, this.height);
    this.context.font = font(12);
    this.context.textBaseline = 'middle';
    this.paint(this.context);
  }

  measure() {
    return this.height;
  }

  /** Where the pointer is, from the upper left of everything. */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top + this.scroll, top: event.clientY - box.top };
  }
}

function font(pixels, weight = 400) {
  return `${weight} ${pixels}px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif`;
}

/** Text in at most so many pixels; what does not fit is cut from its middle. */
function fitText(context, text, room) {
  if (room < 8) return '';
  if (context.measureText(text).width <= room) return text;
  let [least, most] = [0, Math.min(text.length, Math.ceil(room / 3))];
  const cut = (kept) => {
    const head = Math.ceil(kept / 2);
    return `${text.slice(0, head)}…${text.slice(text.length - (kept - head))}`;
  };
  while (least < most) {
    const middle = Math.ceil((least + most) / 2);
    if (context.measureText(cut(middle)).width <= room) least = middle;
    else most = middle - 1;
  }
  return least > 1 ? cut(least) : '';
}

/** One cell of memory, or a sample of it: each kind has a shape of its own beside its colour. */
function paintCell(context, kind, x, y, side) {
  context.fillStyle = colors[kind];
  if (kind === 'unknown' || kind === 'rest') {
    context.lineWidth = 1.5;
    context.strokeStyle = colors[kind];
    context.strokeRect(x + 0.75, y + 0.75, side - 1.5, side - 1.5);
    return;
  }
  if (kind === 'place') {
    context.fillRect(x, y + side / 2, side, side / 2);
    return;
  }
  context.fillRect(x, y, side, side);
  const hole = Math.max(1.5, side / 3);
  context.fillStyle = colors.page;
  if (kind === 'native') context.fillRect(x + (side - hole) / 2, y + (side - hole) / 2, hole, hole);
  if (kind === 'machinery') {
    context.beginPath();
    context.moveTo(x + side, y);
    context.lineTo(x + side, y + side / 2);
    context.lineTo(x + side / 2, y);
    context.fill();
  }
}

/** A legend of samples: `[paint(context, side), text]`. */
function legend(id, entries) {
  const place = document.getElementById(id);
  place.replaceChildren();
  const scale = window.devicePixelRatio || 1;
  for (const [paint, text] of entries) {
    const item = document.createElement('span');
    const sample = document.createElement('canvas');
    sample.width = 14 * scale;
    sample.height = 14 * scale;
    sample.style.width = '14px';
    sample.style.height = '14px';
    sample.setAttribute('aria-hidden', 'true');
    const context = sample.getContext('2d');
    context.scale(scale, scale);
    paint(context, 14);
    item.append(sample, text);
    place.append(item);
  }
}

const tip = {
  element: document.getElementById('tip'),

  /** Shows lines of text beside a point of the window. */
  show(lines, x, y) {
    const rows = lines.filter((line) => line !== null && line !== '').map((line) => {
      const row = document.createElement('div');
      row.textContent = line;
      return row;
    });
    this.element.replaceChildren(...rows);
    this.element.hidden = rows.length === 0;
    const box = this.element.getBoundingClientRect();
    const left = x + 16 + box.width > innerWidth ? x - box.width - 12 : x + 16;
    const top = y + 16 + box.height > innerHeight ? y - box.height - 12 : y + 16;
    this.element.style.left = `${Math.max(4, left)}px`;
    this.element.style.top = `${Math.max(4, top)}px`;
  },

  hide() {
    this.element.hidden = true;
  },
};
