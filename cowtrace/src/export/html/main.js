// Puts the page together.

/** Says in the page why it shows nothing more. */
function broken(reason) {
  const place = document.getElementById('broken');
  place.textContent = `The table, the timeline, the flame graph and the map cannot be shown: ${reason}. The sentences and totals are complete.`;
  place.hidden = false;
}

async function start() {
  if (typeof DecompressionStream === 'undefined') {
    broken('this browser is older than 2023 and cannot unpack the data (DecompressionStream)');
    return;
  }
  const data = await unpack();
  readColors();
  document.getElementById('main').hidden = false;
  setUpCauses(data);
  const views = [new Timeline(data), new Flame(data), new MemoryMap(data)];
  const redraw = (now) => {
    readColors();
    for (const view of views) {
      view.legend();
      if (now) view.board.drawNow();
      else view.board.redraw();
    }
  };
  setUpTheme(() => redraw(false));
  setUpPrint((printing) => {
    for (const view of views) view.board.printing = printing;
    redraw(true);
  });
  document.body.dataset.ready = 'yes';
}

start().catch((error) => broken(String(error)));
