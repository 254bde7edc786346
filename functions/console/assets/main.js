// The shell: who is signed in, where one is, and whether what is shown is live.

import { html, nothing, render } from "./vendor/lit-html/lit-html.js";
import { app, drawWith, reloadPage, takeBack, update } from "./app.js";
import { get } from "./api.js";
import * as format from "./format.js";
import * as live from "./live.js";
import { at, begin, go } from "./router.js";
import * as session from "./session.js";
import { button, callsBehind, foreign, link } from "./ui.js";

/** @import { Config, Schemas } from "../types.js" */

/** @type {[string, string, string][]} address, text, the role that it needs */
const PLACES = [
  ["/console", "Overview", "viewer"],
  ["/console/dead-letters", "Dead letters", "viewer"],
  ["/console/events", "Events", "viewer"],
  ["/console/webhooks", "Webhooks", "operator"],
  ["/console/health", "Health", "viewer"],
  ["/console/audit", "Audit trail", "admin"],
];
/** In `local` alone. @type {[string, string, string]} */
const PLAY = ["/console/play", "Play", "admin"];
/** @type {[string, string][]} */
const PARTS = [
  ["", "Connection"],
  ["files", "Files"],
  ["conflicts", "Conflicts"],
  ["owed", "Owed and refused"],
  ["operations", "Operations"],
  ["settings", "Settings"],
];

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
/** @type {Config} */
let config;
/** The names of the connections, for headings. @type {Map<string, string>} */
const names = new Map();

/** @param {import("./app.js").Page} page */
function show(page) {
  app.page?.leave?.();
  app.page = page;
  if (page.connection) learnName(page.connection);
  document.title = `${page.title} · drivesync`;
  update();
}

/** @param {string} connection */
async function learnName(connection) {
  if (names.has(connection)) return;
  names.set(connection, connection);
  try {
    const path = "/v1/connections/{connection}";
    const found = await get(path, { connection }, undefined, true);
    names.set(connection, found.name);
  } catch {
    names.delete(connection);
  }
  update();
}

/** Returns the connections whose events the page wants. */
const followed = () => app.page?.follows?.() ?? (app.page?.connection ? [app.page.connection] : []);

/** What is shown is live, or since when it is not. */
function liveness() {
  const { status, since } = live.state;
  if (followed().length === 0) return html`<span class="live quiet">Not followed</span>`;
  if (status === "live") return html`<span class="live good">Live</span>`;
  const seconds = format.span(Date.now() - since);
  if (status === "connecting") return html`<span class="live quiet">Connecting…</span>`;
  return html`<span class="live warn">
    Not live for ${seconds}: what is shown may be old. Trying again…
    ${button("Now", () => live.hurry(), { small: true })}
  </span>`;
}

function shell() {
  const page = app.page;
  const person = session.who();
  if (!person) return signedOut();
  const here = location.pathname;
  const lost = live.state.status === "lost";
  return html`
    <a class="skip" href="#main" @click=${skip}>Skip to the content</a>
    <header class=${lost ? "lost" : ""}>
      <a class="mark" href="/console">drivesync</a>
      <nav aria-label="Console">${places().map(([to, text]) => place(to, text, here === to))}</nav>
      <div class="right">
        <span role="status">${liveness()}</span>
        <span class="who" title="Role: ${person.role}"
          >${foreign(person.name)} <span class="quiet">${person.role}</span></span
        >
        ${config.local ? nothing : button("Sign out", session.signOut, { small: true })}
      </div>
    </header>
    ${page?.connection ? connectionBar(page.connection, here) : nothing}
    <main id="main" tabindex="-1">
      <h1>${page?.title}</h1>
      ${page?.view()}
    </main>
    <footer>
      ${callsBehind()}
      <p class="quiet">
        drivesync ${config.version} ·
        <a href="/openapi.json" target="_blank" rel="noopener">API description</a>
      </p>
    </footer>
    ${messages()} ${dialog()}
  `;
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function places() {
  const all = config.local ? [...PLACES, PLAY] : PLACES;
  return all.filter(([, , role]) => session.may(role));
}

/**
 * @param {string | undefined} to
 * @param {unknown} text
 * @param {boolean} isCurrent
 */
const place = (to, text, isCurrent) =>
  html`<a href=${to ?? ""} aria-current=${isCurrent ? "page" : nothing}>${text}</a>`;

/**
 * @param {string} connection
 * @param {string} here
 */
function connectionBar(connection, here) {
  const base = at(connection);
  return html`<nav class="parts" aria-label="Connection">
    <span class="name">${foreign(names.get(connection) ?? connection)}</span>
    ${PARTS.map(([part, text]) => {
      const to = part ? `${base}/${part}` : base;
      return place(to, text, part ? here.startsWith(to) : here === to);
    })}
  </nav>`;
}

/** What was done, and what can still be taken back. */
function messages() {
  return html`<div class="messages">
    ${[...app.pending].map(
      (pending) =>
        html`<div class="message">
          <span>${pending.text}</span>
          <span class="count"
            >${Math.max(0, Math.ceil((pending.until - Date.now()) / 1_000))} s</span
          >
          ${button("Take back", () => takeBack(pending), { small: true, key: "u" })}
        </div>`,
    )}
    <div role="status" aria-live="polite">
      ${
        app.notice
          ? html`<div class="message ${app.notice.tone}">
              <span>${app.notice.text}</span>
              ${button("Close", () => ((app.notice = null), update()), { small: true })}
            </div>`
          : nothing
      }
    </div>
  </div>`;
}

function dialog() {
  const question = app.question;
  if (!question) return nothing;
  return html`<dialog
    aria-labelledby="question"
    @cancel=${() => question.done(false)}
    @close=${() => app.question === question && question.done(false)}
  >
    <form method="dialog" @submit=${(/** @type {Event} */ e) => e.preventDefault()}>
      <h2 id="question">${question.title}</h2>
      <div class="body">${question.body()}</div>
      <div class="buttons">
        ${button("Leave it", () => question.done(false))}
        ${button(question.yes, () => question.done(true), {
          primary: !question.danger,
          danger: question.danger,
          disabled: !question.ready(),
        })}
      </div>
    </form>
  </dialog>`;
}

function signedOut() {
  const how = config.local
    ? html`<p>Open the link that the system printed when it started, or print another one:</p>
        <pre><code>local console</code></pre>
        <p class="quiet">
          With <code>cargo run -p local -- console</code>, and the same <code>--data-dir</code> and
          <code>--api-addr</code> as the system. A link signs in one tab, once, within ten minutes.
        </p>`
    : html`<p>${button("Sign in", () => session.signIn().catch(refused), { primary: true })}</p>`;
  return html`<main id="main" class="sign-in" tabindex="-1">
    <h1>drivesync</h1>
    ${session.refusal ? html`<p class="problem" role="alert">${session.refusal}</p>` : nothing}
    ${how}
  </main>`;
}

/** @param {unknown} error */
function refused(error) {
  root.append(`Signing in is not possible: ${error instanceof Error ? error.message : error}`);
}

function draw() {
  if (session.who()) live.follow(followed());
  // What the page has before the scripts run stays until there is more.
  if (root.ariaBusy === "true") root.replaceChildren();
  render(shell(), root);
  root.ariaBusy = "false";
  const open = root.querySelector("dialog");
  if (open && !open.open) open.showModal();
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const target = event.target instanceof Element ? event.target : null;
  if (event.ctrlKey || event.metaKey || event.altKey || app.question) return;
  if (target?.closest("input, textarea, select, [contenteditable]")) return;
  if (event.key === "u" && app.pending.size > 0) {
    event.preventDefault();
    takeBack();
  } else app.page?.onKey?.(event);
}

/**
 * @param {string} connection
 * @param {Schemas["Event"][]} events
 */
function onEvents(connection, events) {
  for (const event of events) app.ticker.unshift([connection, event]);
  app.ticker.length = Math.min(app.ticker.length, 20);
  if (!app.page?.onEvents?.(connection, events)) reloadPage();
  update();
}

let hadPerson = false;

/** Begins, or ends, when somebody signs in or out. */
function onSession() {
  const hasPerson = session.who() !== null;
  if (hasPerson && !hadPerson) begin(show);
  hadPerson = hasPerson;
  update();
}

async function boot() {
  config = await (await fetch("/console/config.json")).json();
  live.tell({ onEvents, onReset: reloadPage, onState: onLive });
  document.addEventListener("keydown", onKey);
  await session.start(config, onSession);
  drawWith(draw);
  update();
  // Times and counts of seconds go on.
  setInterval(() => document.hidden || update(), 1_000);
}

/** What was missed while the socket was lost is loaded. */
function onLive() {
  if (live.state.status === "live") reloadPage();
  update();
}

boot().catch((error) => {
  root.textContent = `The console could not start: ${error.message}`;
});

export { go, link };
