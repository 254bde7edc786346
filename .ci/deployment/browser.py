"""A person's browser (Chromium), which reaches the APIs of the stack under the addresses that AWS would give them."""

import json
from urllib.parse import urlsplit, urlunsplit

from playwright.sync_api import sync_playwright

SHOWN_MILLIS_MAX = 30_000
# Opens a socket on the page, subscribes, and keeps what comes. Returns the type of the first frame.
OPEN = """([url, connection]) => new Promise((done) => {
  const socket = new WebSocket(url);
  window.events = [];
  socket.onopen = () => socket.send(JSON.stringify({ action: "subscribe", connection }));
  socket.onclose = () => done("closed");
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.type === "events") window.events.push(...frame.events.map((event) => event.type));
    done(frame.type);
  };
})"""


class Browser:
    """One page of Chromium. What it asks of AWS's host names, it asks of the emulator."""

    def __init__(self, chromium: str, emulator_url: str):
        self.emulator_url = emulator_url
        self.playwright = sync_playwright().start()
        self.browser = self.playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        self.page = self.browser.new_page()
        self.page.set_default_timeout(SHOWN_MILLIS_MAX)
        self.wrong: list[str] = []
        self.sign_in_origin = ""
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", self.heard)
        self.page.route(lambda url: (urlsplit(url).hostname or "").endswith((".amazonaws.com", ".amazoncognito.com")), self.redirect)

    def heard(self, message) -> None:
        if "Content Security Policy" in message.text or "TrustedHTML" in message.text:
            self.wrong.append(message.text)

    def redirect(self, route) -> None:
        """Passes a request on to the emulator, under the host name that it was made for."""
        asked = urlsplit(route.request.url)
        there = urlsplit(self.emulator_url)
        path = asked.path
        headers = {**route.request.headers}
        if ".execute-api." in asked.hostname:
            path = f"/_aws/execute-api/{asked.hostname.split('.')[0]}/$default{path}"
        url = urlunsplit((there.scheme, there.netloc, path, asked.query, ""))
        answer = route.fetch(url=url, headers=headers, max_redirects=0)
        if path.endswith("/.well-known/openid-configuration"):
            # Cognito serves the endpoints under the pool's domain.
            route.fulfill(response=answer, body=answer.text().replace(self.emulator_url, self.sign_in_origin))
        elif "location" in answer.headers:
            # Where a redirect leads to is not asked here: the page itself goes there.
            route.fulfill(content_type="text/html", body=f"<script>location = {json.dumps(answer.headers['location'])}</script>")
        else:
            route.fulfill(response=answer)

    def open_socket(self, url: str, connection: str) -> str:
        # A page of this machine: others may not connect to it.
        self.page.goto(f"{self.emulator_url}/_ministack/health")
        return self.page.evaluate(OPEN, [url, connection])

    def event_types(self) -> list[str]:
        return self.page.evaluate("window.events")

    def sign_in(self, console_url: str, origin: str, name: str, password: str, connection: str) -> str:
        """Signs in to the console, by the page of the pool's domain at `origin`, and opens a connection. Returns what
        is seen, in words."""
        self.sign_in_origin = origin
        self.page.goto(console_url)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_text(connection).first.wait_for()
        if self.wrong:
            raise AssertionError("; ".join(self.wrong))
        # The console goes on asking, and nobody would answer.
        self.page.goto("about:blank")
        return f"{name} signed in to the console, which shows the connection"

    def close(self) -> None:
        self.page.unroute_all(behavior="ignoreErrors")
        self.browser.close()
        self.playwright.stop()
