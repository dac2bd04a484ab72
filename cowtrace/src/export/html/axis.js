// The part of the time that is seen: zooming, moving, ticks.

class Axis {
  constructor(duration) {
    this.duration = duration;
    this.least = Math.min(duration, 1000);
    this.reset();
  }

  reset() {
    this.start = 0;
    this.end = this.duration;
  }

  get span() {
    return this.end - this.start;
  }

  get isWhole() {
    return this.start <= 0 && this.end >= this.duration;
  }

  /** Shows this part, as far as there is one; never less than a microsecond. */
  set(start, end) {
    const span = Math.min(this.duration, Math.max(this.least, end - start));
    this.start = Math.min(Math.max(0, start), this.duration - span);
    this.end = this.start + span;
  }

  /** Zooms by a factor (2 shows half of it) around a moment. */
  zoom(factor, around = (this.start + this.end) / 2) {
    const part = (around - this.start) / this.span;
    const span = Math.min(this.duration, Math.max(this.least, this.span / factor));
    this.set(around - part * span, around + (1 - part) * span);
  }

  /** Moves by a part of what is seen. */
  move(part) {
    this.set(this.start + part * this.span, this.end + part * this.span);
  }

  /** Round moments at about this distance in pixels. */
  ticks(width, distance) {
    const rough = (this.span * distance) / width;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
    const ticks = [];
    for (let at = Math.ceil(this.start / step) * step; at <= this.end; at += step) ticks.push(at);
    return ticks;
  }
}

/** A tick's time, with as many digits as its neighbours differ in. */
function tickName(at, span) {
  const [unit, divisor] = span >= 2e9 ? ['s', 1e9] : span >= 2e6 ? ['ms', 1e6] : ['µs', 1e3];
  const digits = Math.max(0, Math.min(6, Math.ceil(-Math.log10(span / divisor)) + 1));
  return `${(at / divisor).toFixed(digits)} ${unit}`;
}
