"""Makes things in a running system that calls of its API can be about, and writes schemathesis's settings.

Arguments: the file with what `local --json` prints, and where to write the settings and the token. The API's address
goes into a file `api` beside the token.
"""

import hashlib
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

WAIT_SECONDS_MAX = 60


def call(method, url, token, body=None, headers=None):
    """The status and the JSON of an answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


class System:
    """The API about one connection, and the Drive behind it."""

    def __init__(self, ready):
        self.base = f"{ready['api']}/v1/connections/{ready['connection']}"
        self.drive, self.token = ready["drive"], ready["token"]
        self.drive_control = ready["drive_control"]

    def api(self, method, path, body=None, expect=200):
        status, answer = call(method, self.base + path, self.token, body, {"If-Match": "*"})
        assert status == expect, f"{method} {path}: {status} {answer}"
        return answer

    def content(self, file, body):
        """Brings content to a file: the body's own bytes."""
        url = f"{self.base}/files/{file}/content"
        digest = hashlib.sha256(json.dumps(body).encode()).hexdigest()
        status, answer = call("POST", url, self.token, body, {"If-Match": "*", "Content-SHA256": digest})
        assert status == 200, f"content: {status} {answer}"
        return answer

    def control(self, path, body):
        status, answer = call("POST", f"{self.drive}/_control/{path}", "none", body,
                              {"X-Drive-Control": self.drive_control})
        assert status == 200, f"{path}: {status} {answer}"

    def in_drive(self, file, fields):
        status, answer = call("PATCH", f"{self.drive}/drive/v3/files/{file}", "user:owner", fields)
        assert status == 200, f"{file}: {status} {answer}"

    def until(self, what, look):
        """The first answer of `look` that is not empty."""
        end = time.monotonic() + WAIT_SECONDS_MAX
        while time.monotonic() < end:
            if found := look():
                return found
            time.sleep(0.1)
        raise SystemExit(f"never: {what}")


def main(printed, settings, token_file):
    ready = json.loads(Path(printed).read_text().splitlines()[0])
    system = System(ready)
    files = [f["id"] for f in system.api("GET", "/files?limit=200")["items"]
             if f["fields"]["mime_type"] != "application/vnd.google-apps.folder"]
    plain, clash, settled, refused, stale = files[:5]

    # A push that Drive refuses for good.
    fault = {"match": f"PATCH /drive/v2/files/{refused}", "times": 0,
             "respond": {"status": 403, "reason": "insufficientFilePermissions"}}
    system.control("faults", fault)
    system.api("PATCH", f"/files/{refused}", {"name": "refused"})
    system.until("a refused push", lambda: system.api("GET", "/intents?status=failed")["items"])

    # Two conflicts, one of them settled.
    conflicts = {}
    for file in (clash, settled):
        fault = {"match": f"* /drive/v2/files/{file}", "times": 1, "respond": {"status": 503}}
        system.control("faults", fault)
        system.api("PATCH", f"/files/{file}", {"name": "ours", "starred": True})
        system.in_drive(file, {"name": "theirs"})
        conflicts[file] = system.until("a conflict", lambda: next(
            (c["id"] for c in system.api("GET", "/conflicts")["items"] if c["file_id"] == file), None))
    system.api("POST", f"/conflicts/{conflicts[settled]}/resolution", {"choose": "app"})

    # An audit that finds something, since the change log tells nothing of it.
    system.control("visibility", {"delay_seconds": 1_000_000})
    system.in_drive(stale, {"name": "nobody was told", "starred": True, "description": "differs"})
    operation = system.api("POST", "/sync", {"mode": "audit", "dry_run": True}, 202)["operation"]["id"]
    system.until("the audit", lambda: system.api("GET", f"/operations/{operation}")["state"] == "done")
    assert system.api("GET", f"/operations/{operation}/drift")["items"], "the audit found nothing"
    system.control("visibility", {"delay_seconds": 0})

    # Content that is stored, and an upload that is under way.
    system.api("PATCH", "", {"content": {"enabled": True}})
    version = system.content(plain, {"what": "content"})["content"]["version"]
    upload = system.api("POST", f"/files/{plain}/uploads", {
        "size_bytes": 20_000_000, "content_hash": "00" * 32, "expected_version": version}, 201)["id"]

    Path(settings).write_text(f"""\
[parameters]
"path.connection" = "{ready['connection']}"
"path.file" = "{plain}"
"path.conflict" = "{conflicts[clash]}"
"path.operation" = "{operation}"
"path.version" = "{version}"
"path.upload" = "{upload}"
"header.If-Match" = "*"

# The connection and the file are needed to the end.
[[operations]]
include-operation-id = "delete_connection"
parameters = {{ "path.connection" = "c_none" }}
[[operations]]
include-operation-id = "delete_file"
parameters = {{ "path.file" = "{stale}" }}
[[operations]]
include-operation-id = "get_file"
parameters = {{ "path.file" = "{clash}" }}
[[operations]]
include-operation-id = ["retry_intent", "cancel_intent"]
parameters = {{ "path.file" = "{refused}" }}
""")
    Path(token_file).write_text(ready["token"])
    Path(token_file).with_name("api").write_text(ready["api"])


if __name__ == "__main__":
    main(*sys.argv[1:])
