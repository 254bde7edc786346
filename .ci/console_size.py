"""Measures the console in Chromium with 100,000 files and 1,000 open conflicts.

Arguments: the folder of the programs `local` and `drive-simulator`, the path of Chromium, and a folder for the system.
The system is a whole one with a few files. Its answers with many items are made here, from items that it has returned:
so they have its shapes, and 100,000 files need not be synced first. Chromium gets them as it gets others.

A task is what the browser's main thread does without a pause: while one runs, nothing moves. Its time is that of the
thread, so other programs on the machine do not count. Frames are those that people would see.
"""

import json
import os
import re
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlparse

from console import GZIPPED_BYTES_MAX, System, make_conflicts, size, until
from playwright.sync_api import expect, sync_playwright

FILES = 100_000
CONFLICTS = 1_000
INTENTS = 1_000
EVENTS = 2_000
DRIFT = 2_000
PAGE = 1_000
RENAMED = "many00000500"

TASK_MILLIS_MAX = 100
FRAME_MILLIS_MAX = 33
PAINT_MILLIS_MAX = 200
LOADS = 9
FRAMES = 240

# Scrolls with each frame, and returns how long each took.
SCROLL = """async ([list, frames]) => {
  const element = document.querySelector(list);
  const taken = [];
  let before = await new Promise(requestAnimationFrame);
  for (let n = 0; n < frames; n++) {
    element.scrollTop += n % 80 === 79 ? 40_000 : 90;
    const now = await new Promise(requestAnimationFrame);
    taken.push(now - before);
    before = now;
  }
  return taken;
}"""


class Many:
    """Answers with many items, each made from one that the system has returned."""

    def __init__(self, system, files):
        get = lambda path: system.api("GET", f"{system.base}/{path}")
        self.base = system.base
        self.file = get(f"files/{files['report 1.txt']}")
        self.parent = self.file["fields"]["parent"]
        self.conflict = get("conflicts")["items"][0]
        self.intent = get("intents?status=failed")["items"][0]
        self.event = next(one for one in get("events?limit=500")["items"] if one["type"] == "file:modified")
        self.operation = get("operations?limit=1")["items"][0]
        self.attention = {"open_conflicts": CONFLICTS, "owed": INTENTS, "failed": INTENTS, "content_unavailable": 0,
                          "more": False}
        self.pages = {}
        self.head = f"{self.event['sequence'].rsplit('.', 2)[0]}.{EVENTS}.0"

    def a_file(self, id, name=None):
        number = int(id[-8:])
        # In the order of their ids, and so in no order of their names.
        name = name or f"Invoice {number * 7919 % FILES} of {number % 97}.pdf"
        return {**self.file, "id": id, "fields": {**self.file["fields"], "name": name}, "conflicts": [], "intent": None}

    def a_conflict(self, number):
        # Of several fields: names of files are asked for, one by one.
        field, base, app, drive = [("name", f"Invoice {number}", f"Invoice {number}, paid", f"Invoice {number} (paid)"),
                                   ("description", "draft", f"draft {number}", f"final {number}")][number % 2]
        return {**self.conflict, "id": f"conflict{number:08d}", "file_id": f"many{number:08d}", "field": field,
                "base": base, "app": app, "drive": drive}

    def an_intent(self, number, status):
        file = self.a_file(f"many{number:08d}")
        intent = {**self.intent["intent"], "status": status}
        return {**self.intent, "file_id": file["id"], "intent": intent, "file": {**file, "intent": intent}}

    def an_event(self, number):
        log = self.event["sequence"].rsplit(".", 2)[0]
        return {**self.event, "id": f"event{number}", "subject": f"files/many{number:08d}", "sequence": f"{log}.{number}.0"}

    def a_drift(self, number):
        field = {"field": "name", "ours": f"Invoice {number}", "drive": f"Invoice {number}, final"}
        return {"file_id": f"many{number:08d}", "kind": "differing", "name": f"Invoice {number}", "gone": None,
                "fields": [field]}

    def list(self, name, count, one, query):
        start = int(query.get("cursor", ["0"])[0])
        limit = int(query.get("limit", [PAGE])[0])
        key = (name, start, limit)
        if key not in self.pages:
            end = min(start + limit, count)
            page = {"items": [one(n) for n in range(start, end)], "next_cursor": str(end) if end < count else None}
            self.pages[key] = json.dumps(page)
        return self.pages[key]

    def prepare(self):
        """Makes the large pages before anything is measured."""
        for start in range(0, FILES, PAGE):
            self.list("files", FILES, lambda n: self.a_file(f"many{n:08d}"), {"cursor": [str(start)]})

    def answer(self, url):
        """The body of an answer; `None` if the system answers."""
        query = parse_qs(url.query)
        path = url.path.removeprefix(self.base)
        if path == "/files" and "parent" in query:
            return self.list("files", FILES, lambda n: self.a_file(f"many{n:08d}"), query)
        if found := re.fullmatch(r"/files/(many\d+)", path):
            return json.dumps(self.a_file(found[1], "Invoice 0, renamed.pdf" if found[1] == RENAMED else None))
        if path == "/conflicts":
            return self.list("conflicts", CONFLICTS, self.a_conflict, query)
        if path == "/intents":
            status = query.get("status", ["owed"])[0]
            return self.list(status, INTENTS, lambda n: self.an_intent(n, status), query)
        if path == "/events":
            after = int(query["after"][0].split(".")[-2]) if "after" in query else 0
            last = min(after + int(query["limit"][0]), EVENTS)
            items = [self.an_event(n) for n in range(after + 1, last + 1)]
            return json.dumps({"items": items, "next_cursor": self.an_event(last)["sequence"], "head": self.head})
        if path.endswith("/drift"):
            return self.list("drift", DRIFT, self.a_drift, query)
        return None

    def fulfil(self, route):
        url = urlparse(route.request.url)
        if url.path in (f"{self.base}/status", "/v1/stats"):
            answer = route.fetch()
            return route.fulfill(response=answer, json={**answer.json(), "attention": self.attention})
        body = self.answer(url) if route.request.method == "GET" else None
        return route.continue_() if body is None else route.fulfill(body=body, content_type="application/json")


class Measure:
    """What was measured, and what is beyond the goals."""

    def __init__(self, browser, page):
        self.browser, self.page, self.beyond = browser, page, []

    def report(self, what, value, unit, limit):
        print(f"{what:<48} {value:>9,.1f} {unit} (at most {limit:,})", flush=True)
        if value > limit:
            self.beyond.append(what)

    def longest_task(self, what, act):
        self.browser.start_tracing(page=self.page, categories=["toplevel", "disabled-by-default-devtools.timeline"])
        act()
        # With what the page does each second.
        self.page.wait_for_timeout(2_200)
        trace = json.loads(self.browser.stop_tracing())["traceEvents"]
        mains = {(one["pid"], one["tid"]) for one in trace
                 if one["name"] == "thread_name" and one["args"]["name"] == "CrRendererMain"}
        tasks = [one for one in trace if one["name"].endswith("RunTask") and one.get("ph") == "X"
                 and (one["pid"], one["tid"]) in mains]
        assert tasks, "the trace has no tasks"
        longest = max(tasks, key=lambda one: one.get("tdur", one["dur"]))
        self.report(f"{what}: longest task", longest.get("tdur", longest["dur"]) / 1_000, "ms", TASK_MILLIS_MAX)

    def frames(self, what, selector):
        taken = sorted(self.page.evaluate(SCROLL, [selector, FRAMES]))
        self.report(f"{what}: frames, 95th percentile", taken[int(len(taken) * 0.95)], "ms", FRAME_MILLIS_MAX)


def goes(page, to, heading):
    page.evaluate("to => { const link = Object.assign(document.createElement('a'), {href: to});"
                  " document.body.append(link); link.click(); link.remove(); }", to)
    expect(page.get_by_role("heading", level=1, name=heading, exact=True)).to_be_visible()


def sees(page, text):
    expect(page.get_by_text(text).first).to_be_visible(timeout=120_000)


def first_paint(browser, url):
    """The first paint of a page that the browser does not know yet: the median of several."""
    paints = []
    for _ in range(LOADS):
        page = browser.new_page()
        page.goto(url)
        sees(page, "drivesync")
        paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        page.close()
    return sorted(paints)[LOADS // 2]


def event_of(page, connection, file):
    """One event about a file of the list that is shown."""
    page.evaluate("""async ([connection, subject]) => {
      const main = document.querySelector('script[type=module]').src;
      const { app } = await import(main.replace('main.js', 'app.js'));
      app.page.onEvents(connection, [{ type: 'file:modified', subject, data: { by: 'drive', fields: ['name'] } }]);
    }""", [connection, f"files/{file}"])


def measure(browser, system, files):
    many = Many(system, files)
    many.prepare()
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(60_000)
    page.goto(system.ready["console"])
    sees(page, "Live")
    on = Measure(browser, page)
    on.report("first paint, median", first_paint(browser, f"{system.ready['api']}/console"), "ms", PAINT_MILLIS_MAX)
    on.report("everything that is loaded, compressed", size(system) / 1_000, "kB", GZIPPED_BYTES_MAX / 1_000)
    page.route("**/v1/**", many.fulfil)

    def opens(what, to, heading, text):
        on.longest_task(what, lambda: (goes(page, to, heading), sees(page, text)))

    opens("overview", "/console", "Overview", f"{CONFLICTS:,}")
    opens(f"folder of {FILES:,} files", f"{system.at}/files?parent={many.parent}", "Files", f"{FILES:,} items as of")
    on.frames(f"folder of {FILES:,} files", ".rows")
    page.evaluate("document.querySelector('.rows').scrollTop = 0")
    # The list has them in the order of their names.
    expect(page.locator(".files .rows .name").first).to_have_text("Invoice 0 of 0.pdf")
    on.longest_task("one of them is renamed", lambda: (
        event_of(page, system.ready["connection"], RENAMED),
        expect(page.locator(".files .rows")).to_contain_text("Invoice 0, renamed.pdf")))
    opens(f"{CONFLICTS:,} conflicts", f"{system.at}/conflicts", "Conflicts", f"Settle {CONFLICTS:,} at once")
    on.frames(f"{CONFLICTS:,} conflicts", ".rows")
    on.longest_task("the next conflicts, by keyboard", lambda: [page.keyboard.press("j") for _ in range(30)])
    on.longest_task("all of them at once, previewed", lambda: (
        page.get_by_role("button", name=f"Settle {CONFLICTS:,} at once").click(),
        page.get_by_role("dialog").get_by_label("the application’s values").check()))
    page.get_by_role("button", name="Leave it").click()
    opens(f"{2 * INTENTS:,} edits owed and refused", f"{system.at}/owed", "Owed and refused", "By reason")
    opens(f"{EVENTS:,} events", "/console/events", "Events", f"many{EVENTS:08d}")
    opens(f"operation with {DRIFT:,} differences", f"{system.at}/operations/{many.operation['id']}", "Operation", "Invoice 7")
    opens("file", f"{system.at}/files/{files['report 1.txt']}", "File", "What happened to it")
    opens("health", "/console/health", "Health", f"{CONFLICTS:,}")
    return on.beyond


def main(programs, chromium, work):
    library = Path(work) / "library"
    library.mkdir()
    for n in range(1, 13):
        (library / f"report {n}.txt").write_text(f"Report {n}\n")
    system = System(programs, f"{work}/data", "--drive-addr", "127.0.0.1:0", "--no-content", "--library", str(library))
    try:
        until("the first sync ends", system.is_synced)
        files = system.files()
        make_conflicts(system, files, [("report 2.txt", {"name": "Plan A"}, {"name": "Plan B"})])
        system.control("faults", {"match": "PATCH /drive/v2/files/*", "times": 1,
                                  "respond": {"status": 403, "reason": "insufficientFilePermissions"}})
        system.api("PATCH", f"{system.base}/files/{files['report 3.txt']}", {"description": "refused"})
        until("Drive refuses it", lambda: system.attention("failed") == 1)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            beyond = measure(browser, system, files)
            browser.close()
    finally:
        system.kill()
    print(f"{FILES:,} files and {CONFLICTS:,} conflicts were answers in the shapes of the system's, made by this script")
    assert not beyond, f"beyond the goal: {'; '.join(beyond)}"


if __name__ == "__main__":
    os.environ.pop("DISPLAY", None)
    main(*sys.argv[1:])
