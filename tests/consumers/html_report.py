"""Opens a report in Debian's Chromium without a network, uses it as a reader does, and prints what it says.

Arguments: browser, report. One line of JSON comes out: numbers that the page shows, and what went wrong on the way.
"""

import json
import pathlib
import sys

from playwright.sync_api import sync_playwright

TOTALS = "() => Object.fromEntries([...document.querySelectorAll('data')].map((d) => [d.id, Number(d.value)]))"
ROWS = """() => [...document.querySelectorAll('tr.cause')].map((row) => ({
  place: row.querySelector('button').textContent, pages: Number(row.dataset.pages), bytes: Number(row.dataset.bytes),
  visible: row.offsetParent !== null}))"""
SHOWN = """() => Object.fromEntries(['timeline', 'flame', 'memory'].map((id) => {
  const shown = document.getElementById(`${id}-shown`);
  return [id, {pages: Number(shown.dataset.pages), bytes: Number(shown.dataset.bytes || 0), text: shown.textContent}]; }))"""
# How many colours a picture has: one that nobody has drawn on has one.
COLOURS = """(id) => {
  const canvas = document.querySelector(`#${id}-board canvas`);
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(data.buffer)).size; }"""
OVERFLOW = "() => document.documentElement.scrollWidth - window.innerWidth"
SET_TIME = """(part) => {
  const slider = document.getElementById('memory-time');
  slider.value = Math.round(Number(slider.max) * part);
  slider.dispatchEvent(new Event('input')); }"""


def settle(page):
    """Waits until what was asked to be drawn is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def drag(page, board, start, end):
    box = page.locator(f"#{board}-board canvas").bounding_box()
    y = box["y"] + 60
    page.mouse.move(box["x"] + box["width"] * start, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * (start + end) / 2, y)
    page.mouse.move(box["x"] + box["width"] * end, y)
    page.mouse.up()


def tip_over(page, board, steps=160):
    """The first tip that appears along the picture's rows."""
    canvas = page.locator(f"#{board}-board canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for row in (40, 75, 110):
        for step in range(steps):
            page.mouse.move(box["x"] + box["width"] * (0.25 + 0.74 * step / steps), box["y"] + row)
            if page.locator("#tip").is_visible() and "first write" in page.locator("#tip").inner_text():
                return page.locator("#tip").inner_text()
    return ""


def use(page, told):
    told["title"] = page.title()
    told["answer"] = page.locator("h1").inner_text()
    told["text"] = page.locator("body").inner_text()
    told["totals"] = page.evaluate(TOTALS)
    told["rows"] = page.evaluate(ROWS)
    told["whole"] = page.evaluate(SHOWN)
    told["note"] = page.locator("#timeline-note").inner_text()
    told["colours"] = {id: page.evaluate(COLOURS, id) for id in ("timeline", "flame", "memory")}
    told["tip"] = tip_over(page, "timeline")

    first = page.locator("tr.cause").first
    first.click()
    settle(page)
    told["filtered"] = page.evaluate(SHOWN)
    told["pressed"] = first.locator("button").get_attribute("aria-pressed")
    page.locator("#filter-clear").click()
    told["cleared"] = page.evaluate(SHOWN)

    # By the keyboard alone: the row's button, then the picture's keys.
    first.locator("button").focus()
    page.keyboard.press("Enter")
    told["by_keyboard"] = page.evaluate(SHOWN)
    page.keyboard.press("Enter")

    page.locator("#causes-search").fill("no such place anywhere")
    told["found_nothing"] = sum(row["visible"] for row in page.evaluate(ROWS))
    page.locator("#causes-search").fill("")

    page.locator("#timeline").scroll_into_view_if_needed()
    page.locator("#timeline-in").click()
    told["zoomed"] = page.evaluate(SHOWN)["timeline"]
    page.locator("#timeline-reset").click()
    drag(page, "timeline", 0.5, 0.8)
    told["dragged"] = page.evaluate(SHOWN)["timeline"]
    page.keyboard.press("Home")
    told["reset"] = page.evaluate(SHOWN)["timeline"]
    page.mouse.wheel(0, -600)
    settle(page)
    told["wheeled"] = page.evaluate(SHOWN)["timeline"]
    page.keyboard.press("Home")

    page.locator("#flame").scroll_into_view_if_needed()
    page.locator("#flame-board canvas").focus()
    for key in ("ArrowDown", "Enter"):
        page.keyboard.press(key)
    told["frame"] = page.evaluate(SHOWN)["flame"]
    page.keyboard.press("Escape")

    told["through_time"] = []
    for part in (0, 0.25, 0.5, 0.75, 1):
        page.evaluate(SET_TIME, part)
        settle(page)
        told["through_time"].append(page.evaluate(SHOWN)["memory"]["pages"])
    page.locator("#memory-board canvas").focus()
    page.keyboard.press("ArrowRight")
    told["cell"] = page.locator("#memory-cell").inner_text()

    background = "() => getComputedStyle(document.body).backgroundColor"
    told["themes"] = []
    for _ in range(3):
        told["themes"].append(page.evaluate(background))
        page.locator("#theme").click()
        settle(page)


def main():
    browser_path, report = sys.argv[1:]
    told = {"console": [], "requests": [], "dialogs": 0}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light", offline=True)
        page = context.new_page()
        page.on("console", lambda message: told["console"].append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: told["console"].append(f"error: {error}"))
        context.on("request", lambda request: told["requests"].append(request.url[:200]))

        def dialog(shown):
            told["dialogs"] += 1
            shown.dismiss()

        page.on("dialog", dialog)
        page.goto(pathlib.Path(report).as_uri())
        page.wait_for_selector("body[data-ready]", timeout=30_000)
        settle(page)
        use(page, told)
        told["overflow"] = []
        for width, height in ((1280, 800), (400, 800)):
            page.set_viewport_size({"width": width, "height": height})
            settle(page)
            told["overflow"].append(page.evaluate(OVERFLOW))
        told["worst_on_first_screen"] = page.evaluate(
            "() => { scrollTo(0, 0); return document.querySelector('.worst .place').getBoundingClientRect().bottom < innerHeight; }")
        told["marked"] = page.evaluate("() => document.documentElement.dataset.pwned || null")
        told["images"] = page.locator("img").count()
        told["paper"] = len(page.pdf(print_background=True))
        browser.close()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
