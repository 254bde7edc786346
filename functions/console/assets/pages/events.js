// The event log of a connection: filtered, followed, and as it is.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { Resource, update } from "../app.js";
import { go, withQuery } from "../router.js";
import { asOf, button, foreign, loaded, portion, problem, time } from "../ui.js";
import * as words from "../words.js";
import { eventLine } from "./overview.js";

/** @import { Schemas } from "../../types.js" */

const SHOWN_MAX = 500;

/**
 * @param {Record<string, string>} _
 * @param {URLSearchParams} query
 * @returns {import("../app.js").Page}
 */
export function events(_, query) {
  /** @type {{ events: Schemas["Event"][], isPaused: boolean, waiting: number, error: unknown }} */
  const shown = { events: [], isPaused: false, waiting: 0, error: null };
  const connections = new Resource(() => api.all("/v1/connections", {}));
  const chosen = () => query.get("connection") ?? connections.value?.items[0]?.id ?? "";
  const types = query.get("types") ?? "";
  const actor = query.get("actor") ?? "";
  const log = new Resource(async () => {
    if (!chosen()) await connections.load(undefined).then((list) => (connections.value = list));
    if (!chosen()) return true;
    if (shown.isPaused) return true;
    shown.events = (await newest(chosen(), types, actor, query.get("after"))).reverse();
    shown.waiting = 0;
    return true;
  });
  return {
    title: "Events",
    follows: () => (chosen() ? [chosen()] : []),
    resources: [log],
    onEvents: (_, fresh) => {
      if (shown.isPaused) shown.waiting += fresh.length;
      return shown.isPaused;
    },
    view: () => html`
      ${loaded(connections, ({ items }) => filters(items, chosen(), types, actor))}
      <p class="bar">
        ${button(shown.isPaused ? "Follow" : "Hold still", () => {
          shown.isPaused = !shown.isPaused;
          if (!shown.isPaused) log.reload();
          update();
        })}
        <span class="quiet">${shown.waiting > 0 ? `${shown.waiting} more meanwhile` : ""}</span>
        ${asOf(log)}
      </p>
      ${problem(shown.error)} ${loaded(log, () => list(chosen(), shown.events))}
    `,
  };
}

/**
 * Returns the newest events that a filter selects, oldest first.
 * @param {string} connection
 * @param {string} types
 * @param {string} actor
 * @param {string | null} after
 */
async function newest(connection, types, actor, after) {
  /** @type {Schemas["Event"][]} */
  let found = [];
  let place = after ?? undefined;
  for (;;) {
    const asked = {
      types: types || undefined,
      actor: actor || undefined,
      after: place,
      limit: 500,
    };
    const page = await api.get("/v1/connections/{connection}/events", { connection }, asked);
    found = [...found, ...page.items].slice(-SHOWN_MAX);
    if (page.next_cursor === page.head || page.next_cursor === place) return found;
    place = page.next_cursor ?? undefined;
  }
}

/**
 * @param {Schemas["Connection"][]} connections
 * @param {string} chosen
 * @param {string} types
 * @param {string} actor
 */
function filters(connections, chosen, types, actor) {
  const change = (/** @type {string} */ name) => (/** @type {Event} */ event) => {
    const { value } = /** @type {HTMLSelectElement} */ (event.target);
    go(withQuery({ [name]: value || null }), { replace: true });
  };
  return html`<div class="bar">
    <label
      >Connection
      <select @change=${change("connection")}>
        ${connections.map(
          (one) =>
            html`<option value=${one.id} ?selected=${one.id === chosen}>${one.name}</option>`,
        )}
      </select>
    </label>
    <label
      >Type
      <select @change=${change("types")}>
        <option value="">all</option>
        ${words.EVENT_TYPES.map(
          (type) => html`<option value=${type} ?selected=${type === types}>${type}</option>`,
        )}
      </select>
    </label>
    <label
      >Made by
      <select @change=${change("actor")}>
        ${[
          ["", "anybody"],
          ["drive", "Drive"],
          ["app", "the application"],
          ["policy", "a policy"],
        ].map(
          ([value, text]) =>
            html`<option value=${value} ?selected=${value === actor}>${text}</option>`,
        )}
      </select>
    </label>
  </div>`;
}

/**
 * @param {string} connection
 * @param {Schemas["Event"][]} events
 */
function list(connection, events) {
  if (events.length === 0) return html`<p class="empty">No event is selected.</p>`;
  const { shown, more } = portion("Events", events);
  return html`<ol class="ticker">
      ${shown.map(
        (event) =>
          html`<li>
            ${time(event.time, { clock: true })} ${eventLine(connection, event)}
            <details>
              <summary>JSON</summary>
              <pre>${foreign(JSON.stringify(event, null, 2))}</pre>
            </details>
          </li>`,
      )}
    </ol>
    ${more}`;
}
