// How the map of memory looks.

/** Draws what a MemoryMap knows. */
class MemoryPaint {
  constructor(map) {
    this.map = map;
    this.data = map.data;
  }

  share(context, name, x, y, side) {
    context.fillStyle = colors[name];
    context.fillRect(x, y, side, side);
    context.lineWidth = 1;
    context.strokeStyle = colors.line;
    context.strokeRect(x + 0.5, y + 0.5, side - 1, side - 1);
  }

  /** Hatched: shared, but no address is known. */
  never(context, x, y, width, height) {
    context.save();
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    context.fillStyle = colors.never;
    context.fillRect(x, y, width, height);
    context.strokeStyle = colors.line;
    context.lineWidth = 1;
    context.beginPath();
    for (let at = x - height; at < x + width; at += 6) {
      context.moveTo(at, y + height);
      context.lineTo(at + height, y);
    }
    context.stroke();
    context.strokeRect(x + 0.5, y + 0.5, Math.max(0, width - 1), height - 1);
    context.restore();
  }

  draw(context) {
    const { board } = this.map;
    if (this.map.program === undefined) return;
    context.save();
    context.translate(0, -board.scroll);
    this.drawBars(context);
    for (const stripe of this.map.stripes) {
      const height = HEAD + this.map.program.runs.length * this.map.side + 4;
      if (stripe.y + height >= board.scroll && stripe.y <= board.scroll + board.height) this.drawStripe(context, stripe);
    }
    context.restore();
  }

  drawBars(context) {
    const { program, data, board, gutter } = this.map;
    context.font = font(11);
    context.fillStyle = colors.faint;
    context.fillText(fitText(context, 'inherited by each process: copied, written in place, still shared though another wrote to it (pale), never written to (hatched)', board.width - 12), 6, HEAD / 2);
    const room = board.width - gutter - Math.min(250, board.width * 0.34);
    const inherited = (run) => {
      const bytes = data.processes[run.process].inherited;
      return run.parent === null || bytes === null ? null : Math.round(bytes / data.page_bytes);
    };
    const known = program.cells.reduce((sum, cell) => sum + cell.known, 0);
    const most = Math.max(known, ...program.runs.map((run) => inherited(run) || 0), 1);
    program.runs.forEach((run, number) => {
      const y = HEAD + number * BAR_ROW;
      const alive = this.map.history.alive[number];
      const process = data.processes[run.process];
      context.font = font(12, process.worker ? 600 : 400);
      context.fillStyle = alive === 1 ? colors.ink : colors.faint;
      const indent = 6 + Math.min(process.generation, 6) * 8;
      context.fillText(fitText(context, this.map.label(number), gutter - indent - 4), indent, y + BAR_ROW / 2);
      if (alive === -1) {
        context.fillText('not yet forked', gutter, y + BAR_ROW / 2);
        return;
      }
      const sums = this.map.sums[number];
      let x = gutter;
      const part = (pages, paint) => {
        const width = (pages / most) * room;
        if (pages > 0) paint(x, Math.max(1, width));
        x += width;
      };
      const plain = (color) => (left, width) => {
        context.fillStyle = colors[color];
        context.fillRect(left, y + 3, width, BAR_ROW - 6);
      };
      context.globalAlpha = alive === 1 ? 1 : 0.75;
      KIND_NAMES.forEach((kind, at) => part(sums.kinds[at], plain(kind)));
      part(sums.place, plain('place'));
      const all = inherited(run);
      const rest = all === null ? 0 : Math.max(0, all - sums.copied - sums.place - sums.shared);
      part(all === null ? sums.shared : Math.min(sums.shared, Math.max(0, all - sums.copied - sums.place)), plain('share-3'));
      part(rest, (left, width) => this.never(context, left, y + 3, width, BAR_ROW - 6));
      context.globalAlpha = 1;
      context.font = font(11);
      context.fillStyle = colors.ink;
      const narrow = gutter < 130;
      const of = all === null ? ' copied; inherited nothing while watched' : ` of ${count(all)}${narrow ? '' : ' pages copied'}`;
      const state = alive === 0 && !narrow ? ', ended' : '';
      context.fillText(fitText(context, `${count(sums.copied)}${of}${state}`, board.width - x - 10), x + 6, y + BAR_ROW / 2);
    });
  }

  drawStripe(context, stripe) {
    const { program, gutter } = this.map;
    if (stripe.head) {
      context.font = font(11, 600);
      context.fillStyle = colors.ink;
      const known = stripe.region.known.reduce((sum, pages) => sum + pages, 0);
      const text = `${this.data.strings[stripe.region.name]}: ${counted(known, 'page')} that some process wrote to`;
      context.fillText(fitText(context, text, this.map.board.width - 12), 6, stripe.y + HEAD / 2 + 2);
    }
    const top = this.map.stripeTop(stripe);
    program.runs.forEach((_, run) => {
      const y = top + run * this.map.side;
      if (y + this.map.side < this.map.board.scroll || y > this.map.board.scroll + this.map.board.height) return;
      if (this.map.side >= LABELLED) {
        context.font = font(10);
        context.fillStyle = colors.faint;
        context.fillText(fitText(context, this.map.label(run), gutter - 14), 10, y + this.map.side / 2);
      }
      for (let at = 0; at < stripe.number; at += 1) this.drawCell(context, run, stripe.first + at, gutter + at * this.map.side, y);
    });
    if (this.map.cursor && this.map.cursor.cell >= stripe.first && this.map.cursor.cell < stripe.first + stripe.number) {
      context.strokeStyle = colors.accent;
      context.lineWidth = 2;
      context.strokeRect(gutter + (this.map.cursor.cell - stripe.first) * this.map.side - 1, top + this.map.cursor.run * this.map.side - 1, this.map.side + 1, this.map.side + 1);
    }
  }

  drawCell(context, run, cell, x, y) {
    const { history } = this.map;
    const at = run * history.cells + cell;
    const alive = history.alive[run];
    const side = this.map.side - 1;
    if (alive === -1) {
      context.fillStyle = colors.line;
      context.fillRect(x + side / 2 - 0.5, y + side / 2 - 0.5, 1, 1);
      return;
    }
    const cause = history.cause[at];
    const written = cause !== NOT_WRITTEN;
    const kind = cause === IN_PLACE ? 'place' : written ? this.data.causes[cause].kind : null;
    context.globalAlpha = written && filter.cause !== null && cause !== filter.cause ? 0.15 : 1;
    const { known } = this.map.program.cells[cell];
    if (!this.map.exact) {
      this.share(context, 'share-3', x, y, side);
      if (written) {
        const height = Math.max(2, Math.min(1, history.pages[at] / known) * side);
        context.fillStyle = colors[kind];
        context.fillRect(x, y + side - height, side, height);
      }
    } else if (written) paintCell(context, kind, x, y, side);
    else {
      const sharing = history.sharing(run, cell);
      this.share(context, sharing < 2 ? 'share-1' : sharing < 3 ? 'share-2' : sharing < 5 ? 'share-3' : 'share-4', x, y, side);
    }
    context.globalAlpha = 1;
  }
}
