// The page's data: unpacked, columns of differences summed up, indices made once.

/** Reads the compressed JSON out of the page. */
async function unpack() {
  const text = atob(document.getElementById('data').textContent);
  const bytes = Uint8Array.from(text, (digit) => digit.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return index(JSON.parse(await new Response(stream).text()));
}

/** Running sums of differences, in place. */
function summed(differences) {
  let sum = 0;
  for (let at = 0; at < differences.length; at += 1) {
    sum += differences[at];
    differences[at] = sum;
  }
  return differences;
}

/** Positions by the value of a column: `groups[value]` lists them in order. */
function grouped(column, number) {
  const groups = Array.from({ length: number }, () => []);
  column.forEach((value, at) => groups[value].push(at));
  return groups;
}

/** Sums up the differences and adds what the views look up all the time. */
function index(data) {
  const { timeline, faults, memory, processes } = data;
  summed(timeline.slice);
  summed(faults.time);
  timeline.byProcess = grouped(timeline.process, processes.length);
  faults.byProcess = grouped(faults.process, processes.length);
  faults.complete = faults.time.length === faults.of;
  data.spans.byProcess = grouped(data.spans.shown.map((span) => span.process), processes.length);
  data.causeKind = data.causes.map((cause) => KIND_NAMES.indexOf(cause.kind));
  for (const program of memory.programs) {
    summed(program.records.time);
    program.cells = [];
    for (const [number, region] of program.regions.entries()) {
      summed(region.page);
      region.first = program.cells.length;
      region.page.forEach((page, at) => program.cells.push({ region: number, page, known: region.known[at] }));
    }
  }
  data.sliceTime = (slice) => (slice * (data.duration + 1)) / timeline.slices;
  return data;
}
