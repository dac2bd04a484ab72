// The table of causes: own code first, a click filters everything, a search narrows the rows.

/** Rows of each part that are shown at first. */
const FIRST_ROWS = 10;

function setUpCauses(data) {
  const table = document.getElementById('causes-table');
  const search = document.getElementById('causes-search');
  const found = document.getElementById('causes-found');
  const more = document.getElementById('causes-more');
  let all = false;
  const whole = data.total.bytes;
  const heaviest = Math.max(1, ...data.causes.map((cause) => cause.bytes));
  const ownFirst = data.causes.findIndex((cause) => cause.kind === 'own');

  const cell = (row, className, text, unit) => {
    const made = document.createElement('td');
    made.className = className;
    made.textContent = text;
    if (unit) made.dataset.unit = unit;
    row.append(made);
    return made;
  };

  const rows = data.causes.map((cause, number) => {
    const row = document.createElement('tr');
    row.className = `cause ${cause.kind}${number === ownFirst ? ' heaviest' : ''}`;
    row.dataset.cause = number;
    row.dataset.pages = cause.pages;
    row.dataset.bytes = cause.bytes;
    const button = document.createElement('button');
    button.type = 'button';
    button.setAttribute('aria-pressed', 'false');
    const mark = document.createElement('i');
    mark.className = 'mark';
    mark.setAttribute('aria-hidden', 'true');
    mark.textContent = KINDS[cause.kind].mark;
    button.append(mark, cause.place);
    if (cause.path) row.title = cause.path;
    cell(row, '', '').append(button);
    cell(row, '', cause.what);
    const share = document.createElement('div');
    share.className = 'share';
    const bar = document.createElement('i');
    bar.style.width = `${(cause.bytes * 100) / heaviest}%`;
    share.append(percent(cause.bytes, whole), bar);
    cell(row, '', '').append(share);
    cell(row, 'n', size(cause.bytes));
    cell(row, 'n', count(cause.pages), cause.pages === 1 ? ' page' : ' pages');
    cell(row, 'n', spread(cause));
    row.addEventListener('click', () => choose(filter.cause === number ? null : number));
    return { cause, row, button, text: `${cause.place}\n${cause.what}\n${cause.path || ''}`.toLowerCase() };
  });

  const parts = KIND_NAMES.map((kind) => {
    const body = document.createElement('tbody');
    const own = rows.filter((entry) => entry.cause.kind === kind);
    if (own.length > 0) {
      const bytes = own.reduce((sum, entry) => sum + entry.cause.bytes, 0);
      const head = body.insertRow();
      const title = document.createElement('th');
      title.colSpan = 6;
      title.scope = 'rowgroup';
      const sum = document.createElement('span');
      sum.textContent = `  ${size(bytes)}, ${percent(bytes, whole)}`;
      title.append(KINDS[kind].label, sum);
      head.append(title);
      body.append(...own.map((entry) => entry.row));
      table.append(body);
    }
    return { body, own };
  });
  if (data.lost.pages > 0) {
    const row = table.createTBody().insertRow();
    row.className = 'unknown';
    cell(row, '', 'details lost');
    cell(row, '', 'counted, not explained');
    cell(row, '', percent(data.lost.bytes, whole));
    cell(row, 'n', size(data.lost.bytes));
    cell(row, 'n', count(data.lost.pages), ' pages');
  }

  const narrow = () => {
    const wanted = search.value.trim().toLowerCase();
    let [shown, matching] = [0, 0];
    for (const { body, own } of parts) {
      let inPart = 0;
      for (const entry of own) {
        const matches = wanted === '' || entry.text.includes(wanted);
        matching += matches ? 1 : 0;
        const visible = matches && (all || wanted !== '' || inPart < FIRST_ROWS || entry.row.classList.contains('on'));
        entry.row.hidden = !visible;
        inPart += visible ? 1 : 0;
      }
      body.hidden = inPart === 0;
      shown += inPart;
    }
    found.textContent = wanted === '' ? '' : `${count(matching)} of ${counted(rows.length, 'row')}`;
    more.hidden = wanted !== '' || (shown === matching && !all);
    more.textContent = all ? 'Show fewer rows' : `Show all ${count(matching)} rows`;
  };
  search.addEventListener('input', narrow);
  more.addEventListener('click', () => {
    all = !all;
    narrow();
  });

  onFilter(() => {
    rows.forEach((entry, number) => {
      const on = filter.cause === number;
      entry.row.classList.toggle('on', on);
      entry.button.setAttribute('aria-pressed', String(on));
    });
    narrow();
  });
  narrow();
  setUpFilterBar(data);
}

/** The line that says what alone is shown. */
function setUpFilterBar(data) {
  const bar = document.getElementById('filter');
  document.getElementById('filter-clear').addEventListener('click', () => choose(null));
  const worst = document.getElementById('worst-show');
  if (worst) {
    worst.hidden = false;
    worst.addEventListener('click', () => choose(Number(worst.dataset.cause)));
  }
  onFilter(() => {
    const cause = data.causes[filter.cause];
    bar.hidden = cause === undefined;
    if (cause === undefined) return;
    document.getElementById('filter-name').textContent = causeName(cause);
    document.getElementById('filter-sum').textContent = `${counted(cause.pages, 'page')}, ${size(cause.bytes)}, in ${spread(cause)}`;
  });
}
