// Addresses and pages: every state of the console is a URL.

import { forgetCalls } from "./api.js";
import { app, finishAll } from "./app.js";
import { audit } from "./pages/audit.js";
import { conflicts } from "./pages/conflicts.js";
import { connection } from "./pages/connection.js";
import { events } from "./pages/events.js";
import { file } from "./pages/file.js";
import { health } from "./pages/health.js";
import { letters } from "./pages/letters.js";
import { operation, operations } from "./pages/operations.js";
import { overview } from "./pages/overview.js";
import { owed } from "./pages/owed.js";
import { restore } from "./pages/restore.js";
import { settings } from "./pages/settings.js";
import { tree } from "./pages/tree.js";
import { webhook, webhooks } from "./pages/webhooks.js";
import { forgetPortions } from "./ui.js";

/** @typedef {import("./app.js").Page} Page */
/** @typedef {(within: Record<string, string>, query: URLSearchParams) => Page} Make */

/**
 * Play is in `local` alone: its code is loaded when somebody opens it.
 * @type {Make}
 */
function play(within, query) {
  /** @type {Page} */
  const opening = { title: "Play", view: () => "Loading…" };
  import("./pages/play.js").then(
    (module) => app.page === opening && show(module.play(within, query)),
    () => app.page === opening && show({ title: "Play", view: () => "Play can't be loaded now." }),
  );
  return opening;
}

/** @type {[string, Make][]} */
const ROUTES = [
  ["/console", overview],
  ["/console/events", events],
  ["/console/health", health],
  ["/console/audit", audit],
  ["/console/play", play],
  ["/console/dead-letters", letters],
  ["/console/webhooks", webhooks],
  ["/console/webhooks/{webhook}", webhook],
  ["/console/c/{connection}", connection],
  ["/console/c/{connection}/files", tree],
  ["/console/c/{connection}/files/{file}", file],
  ["/console/c/{connection}/conflicts", conflicts],
  ["/console/c/{connection}/conflicts/{conflict}", conflicts],
  ["/console/c/{connection}/owed", owed],
  ["/console/c/{connection}/operations", operations],
  ["/console/c/{connection}/operations/{operation}", operation],
  ["/console/c/{connection}/restore", restore],
  ["/console/c/{connection}/settings", settings],
];

/** @type {(page: Page) => void} */
let show = () => {};

/**
 * Returns the page of an address.
 * @param {URL} url
 * @returns {Page}
 */
function pageOf(url) {
  forgetCalls();
  forgetPortions();
  const path = url.pathname.replace(/\/$/, "") || "/console";
  for (const [pattern, make] of ROUTES) {
    const within = match(pattern, path);
    if (within) return make(within, url.searchParams);
  }
  return { title: "Not found", view: () => "There is no such page." };
}

/**
 * @param {string} pattern
 * @param {string} path
 */
function match(pattern, path) {
  const wanted = pattern.split("/");
  const given = path.split("/");
  if (wanted.length !== given.length) return null;
  /** @type {Record<string, string>} */
  const within = {};
  for (const [i, part] of wanted.entries()) {
    const value = given[i] ?? "";
    const [, name] = /^\{(\w+)\}$/.exec(part) ?? [];
    if (name) {
      try {
        within[name] = decodeURIComponent(value);
      } catch {
        return null;
      }
    } else if (part !== value) return null;
  }
  return within;
}

/**
 * Goes to an address of the console.
 * @param {string} to
 * @param {{ replace?: boolean }} [options]
 */
export function go(to, { replace = false } = {}) {
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  show(pageOf(new URL(location.href)));
  if (!replace) {
    scrollTo(0, 0);
    document.querySelector("main")?.focus();
  }
}

/**
 * Writes a part of the page's state into the address, without a new page.
 * @param {Record<string, string | null>} change
 */
export function remember(change) {
  history.replaceState(null, "", withQuery(change));
}

/**
 * Returns the address that is shown, with other parameters.
 * @param {Record<string, string | null>} change
 */
export function withQuery(change) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(change)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  return query.size ? `${location.pathname}?${query}` : location.pathname;
}

/**
 * Follows the address.
 * @param {(page: Page) => void} how
 */
export function begin(how) {
  show = how;
  addEventListener("popstate", () => show(pageOf(new URL(location.href))));
  addEventListener("pagehide", finishAll);
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const target = event.target instanceof Element ? event.target.closest("a") : null;
    if (!target || target.target || target.hasAttribute("download")) return;
    const url = new URL(target.href);
    if (url.origin !== location.origin || !url.pathname.startsWith("/console")) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });
  show(pageOf(new URL(location.href)));
}

/**
 * Returns the address of something of a connection.
 * @param {string} connection
 * @param {string[]} rest
 */
export const at = (connection, ...rest) =>
  ["/console/c", encodeURIComponent(connection), ...rest.map(encodeURIComponent)].join("/");
