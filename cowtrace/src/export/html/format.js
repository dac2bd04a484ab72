'use strict';
// Numbers and names as the report writes them.

/** Parts of the table: how each is called, and its mark, so that no colour has to be told apart. */
const KINDS = {
  own: { label: 'your code', mark: '●' },
  native: { label: 'native code', mark: '◆' },
  machinery: { label: 'not your code', mark: '■' },
  unknown: { label: 'unknown', mark: '?' },
  rest: { label: 'smaller rows', mark: '…' },
};
const KIND_NAMES = Object.keys(KINDS);

/** `12,345`. */
function count(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** `1 page`, `2 pages`, `3 processes`. */
function counted(number, noun) {
  const plural = noun.endsWith('s') ? `${noun}es` : `${noun}s`;
  return `${count(number)} ${number === 1 ? noun : plural}`;
}

/** `512 B`, `1.1 MiB`. */
function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  let value = bytes;
  let unit = 'B';
  for (const next of ['KiB', 'MiB', 'GiB', 'TiB']) {
    if (unit !== 'B' && value < 1023.95) break;
    value /= 1024;
    unit = next;
  }
  return `${value.toFixed(1)} ${unit}`;
}

/** A share without decimals; neither 0 nor 100 unless it is so. */
function percent(part, whole) {
  if (whole === 0) return '–';
  const share = (part * 100) / whole;
  if (part === 0) return '0 %';
  if (share < 1) return '< 1 %';
  if (share > 99 && part < whole) return '> 99 %';
  return `${Math.round(share)} %`;
}

/** `850 ns`, `2.1 µs`, `45.0 ms`, `1.5 s`, `3 min 20 s`. */
function time(nanoseconds) {
  const value = Math.round(nanoseconds);
  if (value < 1e3) return `${value} ns`;
  if (value < 1e6) return `${(value / 1e3).toFixed(1)} µs`;
  if (value < 1e9) return `${(value / 1e6).toFixed(1)} ms`;
  if (value < 120e9) return `${(value / 1e9).toFixed(1)} s`;
  const seconds = Math.floor(value / 1e9);
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** A moment, exact enough to tell two copies apart. */
function moment(nanoseconds) {
  return nanoseconds < 1e9 ? `${(nanoseconds / 1e6).toFixed(3)} ms` : `${(nanoseconds / 1e9).toFixed(6)} s`;
}

/** An address from the number of its page and the byte in it. */
function address(page, byte = 0) {
  return `0x${BigInt(page).toString(16)}${byte.toString(16).padStart(3, '0')}`;
}

/** What a cause is called outside of the table. */
function causeName(cause) {
  return cause.what && cause.kind === 'own' ? `${cause.place}: ${cause.what}` : cause.place;
}

/** `in 3 workers`, `in 2 processes`. */
function spread(cause) {
  const workers = cause.workers === cause.processes && cause.workers > 0;
  return counted(cause.processes, workers ? 'worker' : 'process');
}
