"""Calls over HTTP, and waiting: with a bound, and never for a fixed time."""

import json
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

REGION = "eu-central-1"
CALL_SECONDS_MAX = 40
POLL_SECONDS = 0.2


@dataclass
class Answer:
    """An answer over HTTP: the body as JSON where it is some, and as bytes."""

    status: int
    headers: dict[str, str]
    json: Any
    raw: bytes


def http(method: str, url: str, headers: dict | None = None, body: Any = None) -> Answer:
    """Calls, and returns the answer whatever its status. A body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    every = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data, every, method=method)
    try:
        answer = urllib.request.urlopen(request, timeout=CALL_SECONDS_MAX)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        raw = answer.read()
    try:
        parsed = json.loads(raw)
    except ValueError:
        parsed = None
    return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, parsed, raw)


def until(what: str, condition, seconds_max: float = 60):
    """Asks until something is so, and returns what the condition returned."""
    end = time.monotonic() + seconds_max
    while True:
        if found := condition():
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds_max:.0f} s: {what}")
        time.sleep(POLL_SECONDS)


def expect(answer: Answer, *statuses: int) -> Answer:
    """The answer, if its status is one of these."""
    if answer.status not in statuses:
        raise AssertionError(f"{answer.status} and not {statuses}: {answer.raw[:400]!r}")
    return answer


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
