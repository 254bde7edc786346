"""A person uses the console in Chromium, against whole systems on this machine.

Arguments: the folder of the programs `local` and `drive-simulator`, the path of Chromium, axe-core, a folder for
screenshots, and one for everything else. Nothing here waits a fixed time: Playwright waits for what a person would see.
The page must never be loaded again by itself, no policy may be violated, and axe must find nothing.
"""

import gzip
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

START_SECONDS_MAX = 60
SHOWN_MILLIS_MAX = 30_000
GZIPPED_BYTES_MAX = 80_000
REPORTS = 40
HOSTILE = ["<img src=x onerror=alert(1)>.txt", "<svg onload=alert(2)>.txt"]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def call(method, url, headers, body=None):
    """The JSON of an answer, whatever its status."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        text = error.read()
    return json.loads(text) if text else None


def until(what, condition):
    """Waits until a condition holds, and returns what it returned."""
    for _ in range(START_SECONDS_MAX * 10):
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"never: {what}")


class System:
    """A running `local`."""

    def __init__(self, programs, data, *options, port=0):
        self.command = [f"{programs}/local", "--json", "--api-addr", f"127.0.0.1:{port}", "--data-dir", str(data), *options]
        self.out = Path(f"{data}.out")
        self.start()

    def start(self):
        with self.out.open("w") as out, Path(f"{self.out}.err").open("a") as err:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=err)
        until("the system is ready", lambda: self.out.read_text().count("\n") > 0 or self.process.poll() is not None)
        self.ready = json.loads(self.out.read_text().splitlines()[0])
        self.base = f"/v1/connections/{self.ready['connection']}"
        self.at = f"/console/c/{self.ready['connection']}"

    def is_synced(self):
        return '"event":"synced"' in self.out.read_text()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def api(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.ready['token']}", "If-Match": "*"}
        return call(method, self.ready["api"] + path, headers, body)

    def drive(self, method, path, body=None, user="alice"):
        return call(method, f"{self.ready['drive']}/drive/v3/{path}", {"Authorization": f"Bearer user:{user}"}, body)

    def control(self, command, body):
        return call("POST", f"{self.ready['drive']}/_control/{command}", {"X-Drive-Control": self.ready["drive_control"]}, body)

    def files(self):
        return {file["fields"]["name"]: file["id"] for file in self.api("GET", f"{self.base}/files?limit=1000")["items"]}

    def attention(self, name):
        return self.api("GET", f"{self.base}/status")["attention"][name]


class Person:
    """Somebody in front of a browser."""

    def __init__(self, browser, axe, shots, scheme):
        self.axe, self.shots, self.scheme = Path(axe).read_text(), Path(shots), scheme
        # Wide enough for three columns, and no larger than a laptop.
        self.page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
        self.page.set_default_timeout(SHOWN_MILLIS_MAX)
        self.wrong = []
        self.page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        self.page.on("console", self.heard)
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"a text ran: {dialog.message}"), dialog.dismiss()))
        self.page.on("request", self.asked)

    def heard(self, message):
        # A request that is refused is shown on the page; anything else is an error of the scripts.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.wrong.append(f"script: {message.text}")
        if "Content Security Policy" in message.text or "TrustedHTML" in message.text:
            self.wrong.append(f"policy: {message.text}")

    def asked(self, request):
        if not re.match(r"(http|ws)://(127\.0\.0\.1|localhost):|data:|blob:", request.url):
            self.wrong.append(f"a third party was asked: {request.url}")

    def sign_in(self, system):
        self.page.goto(system.ready["console"])
        self.sees("Live")
        # It stays for as long as the page is not loaded again.
        self.page.evaluate("window.isTheSamePage = true")

    def goes(self, to, heading):
        """Follows a link as the console does, without loading the page."""
        self.page.evaluate(
            "to => { const link = Object.assign(document.createElement('a'), {href: to});"
            " document.body.append(link); link.click(); link.remove(); }", to)
        expect(self.page.get_by_role("heading", level=1, name=heading, exact=True)).to_be_visible()

    def sees(self, text):
        expect(self.page.get_by_text(text).first).to_be_visible(timeout=SHOWN_MILLIS_MAX)

    def presses(self, name):
        self.page.get_by_role("button", name=name).first.click()

    def confirms(self, name):
        self.page.get_by_role("dialog").get_by_role("button", name=name).click()

    def looks(self, name):
        """Takes a picture, and lets axe look for what would keep people out."""
        expect(self.page.locator(".loading")).to_have_count(0)
        if name not in ("lost", "signed-out"):
            expect(self.page.locator(".problem")).to_have_count(0)
        self.page.screenshot(path=self.shots / f"{name}-{self.scheme}.png")
        self.page.evaluate(self.axe)
        found = self.page.evaluate("axe.run()")
        assert len(found["passes"]) > 5, name
        for violation in found["violations"]:
            self.wrong.append(f"axe, {name} {self.scheme}: {violation['id']} {[n['target'] for n in violation['nodes']][:3]}")

    def is_content(self):
        assert self.page.evaluate("window.isTheSamePage"), "the page was loaded again"
        assert not self.wrong, "\n".join(self.wrong)


def make_conflicts(system, files, edits):
    """Both sides edit while neither sees the other."""
    before = system.attention("open_conflicts")
    system.api("POST", f"{system.base}/pause")
    for name, ours, theirs in edits:
        system.api("PATCH", f"{system.base}/files/{files[name]}", ours)
        system.drive("PATCH", f"files/{files[name]}?supportsAllDrives=true", theirs)
    system.api("POST", f"{system.base}/resume")
    until("the conflicts are open", lambda: system.attention("open_conflicts") >= before + len(edits))


def settle(person, system, files, picture):
    """Conflicts: one by the keyboard, one taken back, all others at once."""
    edits = [(f"report {n}.txt", {"name": f"Report {n}, final.txt"}, {"name": f"Report {n} (reviewed).txt"}) for n in range(2, 9)]
    edits += [("report 9.txt", {"name": HOSTILE[0]}, {"name": HOSTILE[1]})]
    make_conflicts(system, files, [("report 1.txt", {"name": "Plan A"}, {"name": "Plan B"})])
    person.goes(f"{system.at}/conflicts", "Conflicts")
    card = person.page.get_by_role("article", name="Conflict")
    expect(card.get_by_role("button", name="Keep Plan A")).to_be_visible()
    expect(card.get_by_text("alice@example.com")).to_be_visible()
    card.screenshot(path=picture)
    person.page.keyboard.press("1")
    person.sees("What was decided can still be taken back.")
    person.page.keyboard.press("u")
    expect(card).to_be_visible()
    person.page.keyboard.press("2")
    person.sees("No conflict is open.")
    name = system.api("GET", f"{system.base}/files/{files['report 1.txt']}")["fields"]["name"]
    assert name == "Plan B", name

    make_conflicts(system, files, edits)
    person.sees("Settle 8 at once")
    person.goes("/console", "Overview")
    expect(figure(person, "Open conflicts")).to_contain_text(re.compile(r"8\s*oldest"))
    person.goes(f"{system.at}/conflicts", "Conflicts")
    person.sees("Settle 8 at once")
    person.looks("conflicts")
    for _ in edits:
        person.page.keyboard.press("j")
    expect(person.page.get_by_role("article", name="Conflict")).to_be_visible()
    person.presses("Settle 8 at once")
    person.page.get_by_role("dialog").get_by_label("the application’s values").check()
    expect(person.page.get_by_role("dialog").get_by_text(HOSTILE[0]).first).to_be_visible()
    person.looks("settle")
    person.confirms("Settle 8")
    person.sees("8 conflicts settled.")
    until("Drive has the application's names", lambda: HOSTILE[0] in system.drive("GET", f"files/{files['report 9.txt']}")["name"])

    # Alice makes one on the page for that.
    person.goes("/console/play", "Play")
    person.presses("Rename on both sides")
    until("the conflict is open", lambda: system.attention("open_conflicts") == 1)
    person.goes(f"{system.at}/conflicts", "Conflicts")
    expect(person.page.get_by_role("article", name="Conflict")).to_be_visible()
    person.page.keyboard.press("1")
    until("it is settled", lambda: system.attention("open_conflicts") == 0)


def retry(person, system, files):
    """What Drive refused is tried again, and passes."""
    system.control("faults", {"match": "PATCH /drive/v2/files/*", "times": 1,
                              "respond": {"status": 403, "reason": "insufficientFilePermissions"}})
    system.api("PATCH", f"{system.base}/files/{files['report 10.txt']}", {"description": "refused once"})
    until("Drive refuses it", lambda: system.attention("failed") == 1)
    person.goes(f"{system.at}/owed", "Owed and refused")
    person.sees("may not edit the file")
    person.looks("owed")
    person.presses("Try all again")
    person.sees("Nothing is owed to Drive.")


def restore(person, system):
    """What was done to a folder is undone in one step, previewed, and that step is undone."""
    names = [f"contract {n}.txt" for n in range(1, 4)]
    folder = system.drive("POST", "files", {"name": "Contracts", "mimeType": "application/vnd.google-apps.folder"}, "owner")
    made = [system.drive("POST", "files", {"name": name, "parents": [folder["id"]]}, "owner")["id"] for name in names]
    until("the folder is held", lambda: {"Contracts", *names} <= set(system.files()))
    at = int(time.time()) + 1
    until("that time is over", lambda: time.time() > at + 1)
    for id in made[:2]:
        system.drive("PATCH", f"files/{id}", {"name": f"{HOSTILE[0]} {id}"}, "owner")
    system.drive("PATCH", f"files/{made[2]}", {"trashed": True}, "owner")
    until("the damage is held", lambda: not set(names[:2]) & set(system.files()))
    until("the trash is held", lambda: system.api("GET", f"{system.base}/files/{made[2]}")["fields"]["trashed"])

    def in_drive():
        files = [system.drive("GET", f"files/{id}?fields=name,trashed", user="owner") for id in made]
        return [(file["name"], file["trashed"]) for file in files]

    damaged, whole = in_drive(), [(name, False) for name in names]

    def sets_back():
        person.presses("Preview")
        expect(person.page.get_by_role("heading", level=1, name="Operation", exact=True)).to_be_visible()
        person.sees("What would become of each file")
        expect(person.page.get_by_role("button", name="Set back 3 files")).to_be_visible()

    person.goes(f"{system.at}/files?parent={folder['id']}", "Files")
    person.page.get_by_role("link", name="Restore to a point in time").click()
    # The browser is in this machine's zone.
    person.page.get_by_label("As it was at").fill(time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(at)))
    expect(person.page.get_by_role("row").filter(has_text="change")).not_to_have_count(0)
    person.looks("restore")
    sets_back()
    expect(person.page.get_by_text("renamed 2, taken out of the trash 1")).to_be_visible()
    person.looks("restore-preview")
    assert in_drive() == damaged, "a preview changes nothing"
    person.presses("Set back 3 files")
    expect(person.page.get_by_role("dialog").get_by_text(HOSTILE[0]).first).to_be_visible()
    person.looks("restore-confirm")
    person.confirms("Set back 3 files")
    until("Drive has it back", lambda: in_drive() == whole)
    person.sees("Undo this restore")
    person.looks("restored")
    person.page.get_by_role("link", name="Undo this restore").click()
    expect(person.page.get_by_label("As it was at")).not_to_have_value("")
    sets_back()
    person.presses("Set back 3 files")
    person.confirms("Set back 3 files")
    until("the restore is undone", lambda: in_drive() == damaged)


def confirm(person, system, files):
    """An audit that would remove files asks, and shows which."""
    system.api("PATCH", system.base, {"removal_share_percent_max": 0, "removals_unasked_max": 0})
    system.control("visibility", {"delay_seconds": 100_000})
    gone = [f"report {n}.txt" for n in range(20, 26)]
    for name in gone:
        system.drive("DELETE", f"files/{files[name]}?supportsAllDrives=true", user="owner")
    person.goes(f"{system.at}/operations", "Operations")
    person.presses("Audit and repair")
    person.sees("it waits for a person")
    person.looks("operation")
    person.presses("Confirm the removal")
    for name in gone:
        expect(person.page.get_by_role("dialog").get_by_text(name, exact=True)).to_be_visible()
    person.looks("confirm")
    person.page.get_by_label("To confirm, enter how many").fill(str(len(gone)))
    person.confirms(f"Remove {len(gone)}")
    expect(person.page.get_by_text("done", exact=True).first).to_be_visible()
    system.control("visibility", {"delay_seconds": 0})
    assert not set(gone) & set(system.files())


def drop(person, system, files):
    """A file that is too large is set aside, and dropped with a reason."""
    system.drive("PATCH", f"files/{files['report 14.txt']}", {"description": "x" * 420_000})
    until("it is set aside", lambda: system.api("GET", "/v1/dead-letters")["items"])
    person.goes("/console/dead-letters", "Dead letters")
    person.sees("too_large")
    person.looks("dead-letter")
    person.presses("Drop…")
    person.page.get_by_role("dialog").get_by_label("Reason").fill("a test")
    person.confirms("Drop it")
    person.sees("Nothing was set aside.")


def figure(person, term):
    return person.page.locator(".figures > div").filter(has=person.page.get_by_text(term, exact=True))


def owe(person, system, files):
    """The overview says since when the oldest edit waits."""
    person.goes("/console", "Overview")
    system.api("POST", f"{system.base}/pause")
    system.api("PATCH", f"{system.base}/files/{files['report 13.txt']}", {"description": "waits"})
    expect(figure(person, "Owed to Drive")).to_contain_text(re.compile(r"1\s*oldest"))
    system.api("POST", f"{system.base}/resume")
    expect(figure(person, "Owed to Drive")).not_to_contain_text("oldest")


def upload(person, system, files):
    """A file of this machine becomes the content of one in Drive; what can't be is said."""
    file = files["report 11.txt"]
    person.goes(f"{system.at}/files/{file}", "File")
    content = b"A report of this machine\n"

    def sends(name, buffer):
        person.presses("Upload…")
        picked = {"name": name, "mimeType": "text/plain", "buffer": buffer}
        person.page.get_by_role("dialog").get_by_label("File of this machine").set_input_files(picked)

    sends(HOSTILE[0], content)
    expect(person.page.get_by_role("dialog").get_by_text(HOSTILE[0])).to_be_visible()
    person.looks("upload")
    person.confirms("Upload it")
    person.sees("It is stored here")
    md5 = hashlib.md5(content).hexdigest()
    until("Drive has it", lambda: system.drive("GET", f"files/{file}?fields=md5Checksum")["md5Checksum"] == md5)
    # More than fits into one request goes to the bucket, in parts.
    expect(person.page.locator(".facts").first).to_contain_text("version 2")
    large = b"A large report\n" * 400_000
    sends("large.txt", large)
    person.confirms("Upload it")
    expect(person.page.get_by_text("It is stored here")).to_be_visible()
    md5 = hashlib.md5(large).hexdigest()
    until("Drive has it", lambda: system.drive("GET", f"files/{file}?fields=md5Checksum")["md5Checksum"] == md5)
    system.api("PATCH", system.base, {"content": {"enabled": False}})
    sends("refused.txt", b"refused")
    person.confirms("Upload it")
    person.sees("Nothing was stored: enable it first")
    system.api("PATCH", system.base, {"content": {"enabled": True}})


def happened(person):
    """Health counts what happened within a day."""
    person.goes("/console/health", "Health")
    settled = person.page.get_by_role("row").filter(has_text="Conflicts settled")
    expect(settled.get_by_role("cell").nth(1)).to_have_text("10")
    expect(settled.get_by_role("img")).to_have_accessible_name(re.compile("most in the hour from"))


def live(person, system, files):
    """What Alice does is there without a reload."""
    person.goes("/console", "Overview")
    system.drive("PATCH", f"files/{files['report 12.txt']}", {"name": "Renamed by Alice.txt"})
    expect(person.page.locator(".ticker li").first).to_contain_text("name")


def pages(person, system, files):
    """Every page, in the person's colours."""
    operation = system.api("GET", f"{system.base}/operations?limit=1")["items"][0]["id"]
    for name, to, heading in [
        ("overview", "/console", "Overview"),
        ("connection", system.at, "Connection"),
        ("files", f"{system.at}/files", "Files"),
        ("search", f"{system.at}/files?q=report", "Files"),
        ("file", f"{system.at}/files/{files['report 1.txt']}", "File"),
        ("conflicts-settled", f"{system.at}/conflicts?status=resolved", "Conflicts"),
        ("owed-nothing", f"{system.at}/owed", "Owed and refused"),
        ("operations", f"{system.at}/operations", "Operations"),
        ("operation-done", f"{system.at}/operations/{operation}", "Operation"),
        ("restore-all", f"{system.at}/restore", "Restore"),
        ("settings", f"{system.at}/settings", "Settings"),
        ("dead-letters", "/console/dead-letters", "Dead letters"),
        ("webhooks", "/console/webhooks", "Webhooks"),
        ("events", "/console/events", "Events"),
        ("health", "/console/health", "Health"),
        ("audit", "/console/audit", "Audit trail"),
        ("play", "/console/play", "Play"),
    ]:
        person.goes(to, heading)
        person.looks(name)
        # The same address, entered by hand, is the same page.
        assert person.page.url.endswith(to), person.page.url


def survive(person, programs, work, library):
    """A first sync is watched; the server is killed and started again; the page stays and goes on."""
    drive, api = free_port(), free_port()
    simulator = subprocess.Popen([f"{programs}/drive-simulator", "--addr", f"127.0.0.1:{drive}", "--library", library],
                                 stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{drive}"
        until("the simulated Drive answers", lambda: answers(f"{url}/drive/v3/about?fields=user"))
        system = System(programs, f"{work}/survivor", "--drive-url", url, "--no-content", port=api)
        try:
            person.sign_in(system)
            person.sees("follows Drive")
            until("the first sync ends", system.is_synced)
            files = system.files()
            person.goes(f"{system.at}/files/{files['report 3.txt']}", "File")
            person.sees("report 3.txt")
            system.kill()
            person.sees("Not live for")
            person.looks("lost")
            system.drive("PATCH", f"files/{files['report 3.txt']}", {"name": "Renamed meanwhile.txt"})
            system.start()
            person.sees("Renamed meanwhile.txt")
            expect(person.page.get_by_text("Live", exact=True)).to_be_visible()
            person.is_content()
        finally:
            system.kill()
    finally:
        simulator.kill()
        simulator.wait()


def answers(url):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": "Bearer user:owner"}), timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def first_sync(person, programs, work):
    """A sync of many files is watched from its beginning to its end, without a reload."""
    library = Path(work) / "large"
    for n in range(4_000):
        folder = library / f"folder {n // 200}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{n}.txt").write_text("")
    system = System(programs, f"{work}/first", "--drive-addr", "127.0.0.1:0", "--no-content", "--library", str(library))
    try:
        person.sign_in(system)
        person.goes(f"{system.at}/operations", "Operations")
        person.page.get_by_role("link", name="First sync").click()
        person.looks("first-sync")
        expect(person.page.get_by_text("done", exact=True).first).to_be_visible(timeout=120_000)
        person.sees("4,02")
        person.is_content()
    finally:
        system.kill()


def size(system):
    """The bytes of everything that the page loads, compressed."""
    with urllib.request.urlopen(f"{system.ready['api']}/console", timeout=30) as answer:
        page = answer.read()
    total = len(gzip.compress(page))
    for path in sorted(set(re.findall(rb'(?:href|src)="(/console/a/[^"]+)"', page))):
        with urllib.request.urlopen(system.ready["api"] + path.decode(), timeout=30) as answer:
            assert "immutable" in answer.headers["Cache-Control"], path
            total += len(gzip.compress(answer.read()))
    assert total <= GZIPPED_BYTES_MAX, total
    return total


def main(programs, chromium, axe, shots, work):
    library = Path(work) / "library"
    library.mkdir()
    for n in range(1, REPORTS + 1):
        (library / f"report {n}.txt").write_text(f"Report {n}\n")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        system = System(programs, f"{work}/data", "--drive-addr", "127.0.0.1:0", "--library", str(library))
        try:
            until("the first sync ends", system.is_synced)
            files = system.files()
            person = Person(browser, axe, shots, "light")
            person.sign_in(system)
            painted = person.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            live(person, system, files)
            owe(person, system, files)
            settle(person, system, files, f"{shots}/conflict.png")
            retry(person, system, files)
            restore(person, system)
            confirm(person, system, files)
            drop(person, system, files)
            upload(person, system, files)
            happened(person)
            pages(person, system, files)
            person.is_content()
            link = subprocess.run([f"{programs}/local", "console", "--data-dir", f"{work}/data", "--api-addr",
                                   system.ready["api"].removeprefix("http://")], capture_output=True, text=True, check=True)
            night = Person(browser, axe, shots, "dark")
            system.ready["console"] = link.stdout.strip()
            night.sign_in(system)
            pages(night, system, files)
            night.is_content()
            # The link was used.
            stranger = Person(browser, axe, shots, "light")
            stranger.page.goto(system.ready["console"])
            stranger.sees("was used before")
            stranger.looks("signed-out")
            bytes_sent = size(system)
        finally:
            system.kill()
        survive(Person(browser, axe, shots, "light"), programs, work, str(library))
        first_sync(Person(browser, axe, shots, "light"), programs, work)
        browser.close()
    print(f"the console does what it says; {bytes_sent:,} bytes compressed, first paint after {painted:.0f} ms")


if __name__ == "__main__":
    os.environ.pop("DISPLAY", None)
    main(*sys.argv[1:])
