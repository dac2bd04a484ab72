// Dark and light: as the system has it, until the button says otherwise.

const THEMES = [[null, 'as the system'], ['dark', 'dark'], ['light', 'light']];

function setUpTheme(changed) {
  const button = document.getElementById('theme');
  let at = 0;
  button.hidden = false;
  button.addEventListener('click', () => {
    at = (at + 1) % THEMES.length;
    const [theme, words] = THEMES[at];
    if (theme === null) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${words}`;
    changed();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', changed);
}

/** Paper is light: `print(true)` comes before, `print(false)` after. */
function setUpPrint(print) {
  let before;
  addEventListener('beforeprint', () => {
    before = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = 'light';
    print(true);
  });
  addEventListener('afterprint', () => {
    if (before === undefined) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = before;
    print(false);
  });
}
