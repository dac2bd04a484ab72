"""What speedscope itself shows of a file: for each profile its name, the sum of what its frames weigh by themselves, and by how
much that may be wrong, as weights are shown rounded. `speedscope_app.py CHROMIUM PACKAGE FILE [SCREENSHOT]`."""

import json
import pathlib
import re
import sys

from playwright.sync_api import sync_playwright

# Of a collapsed stack it knows no unit.
UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
# speedscope draws by WebGL, here without a graphics card.
SOFTWARE = ["--no-sandbox", "--enable-unsafe-swiftshader", "--use-gl=angle", "--use-angle=swiftshader"]
# Tall enough for every row of a table to be there: rows that are out of sight are not in the page.
HEIGHT = 8000
SLOW = 120_000

chromium, package, file = sys.argv[1:4]
errors = []


def settled(page):
    """The page's text when its table is there and does not change any more."""
    page.wait_for_function("/Symbol Name\\s+(No symbols found|[0-9])/.test(document.body.innerText)", timeout=SLOW)
    text, before = page.inner_text("body"), None
    while text != before:
        page.wait_for_timeout(300)
        text, before = page.inner_text("body"), text
    return text


def profile(page):
    """The profile that is shown; its table's text has total, own weight and name of each frame."""
    head, table = settled(page).split("Symbol Name", 1)
    lines = head.splitlines()
    name, *number = re.match(r"(.*?)(?: \((\d+)/(\d+)\))?$", lines[1]).groups()
    own = re.findall(r"^\t([\d.,]+) ?([KMG]?B|) \(", table, re.MULTILINE)
    weight = slack = 0.0
    for value, unit in own:
        weight += float(value.replace(",", "")) * UNITS[unit]
        slack += 0.005 * UNITS[unit] if UNITS[unit] > 1 else 0
    return {"name": name, "bytes": weight, "slack": slack, "frames": len(own)}, int(number[1] or 1)


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, args=SOFTWARE)
    page = browser.new_page(viewport={"width": 1280, "height": HEIGHT})
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(pathlib.Path(package, "dist/release/index.html").as_uri())
    page.set_input_files("input[type=file]", file)
    page.get_by_text("Sandwich").click(timeout=SLOW)
    first, count = profile(page)
    profiles = [first]
    for number in range(1, count):
        page.keyboard.press("n")
        page.wait_for_function(f"document.body.innerText.includes('({number + 1}/{count})')", timeout=SLOW)
        profiles.append(profile(page)[0])
    if len(sys.argv) > 4:
        page.set_viewport_size({"width": 1280, "height": 800})
        page.get_by_text("Left Heavy").click()
        page.wait_for_timeout(1000)
        page.screenshot(path=sys.argv[4])
    browser.close()
assert not errors, errors
print(json.dumps(profiles))
