// What is chosen, and who wants to know.

/** The cause that alone is shown, or null; views listen by `onFilter`. */
const filter = { cause: null };
const listeners = [];

function onFilter(listener) {
  listeners.push(listener);
}

/** Shows one cause alone; null shows everything. */
function choose(cause) {
  filter.cause = cause;
  for (const listener of listeners) listener();
}

/** True when what this cause copied is shown. */
function shows(cause) {
  return filter.cause === null || filter.cause === cause;
}
