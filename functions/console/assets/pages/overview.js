// All connections, sorted by what needs a person.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { act, app, Resource } from "../app.js";
import * as format from "../format.js";
import { at } from "../router.js";
import { may } from "../session.js";
import { asOf, badge, button, foreign, link, loaded, time, why } from "../ui.js";
import * as words from "../words.js";

/** @import { Schemas } from "../../types.js" */
/** @typedef {{ connection: Schemas["Connection"], status: Schemas["Status"],
 *   operations: Schemas["Operation"][], parked: number, need: number,
 *   suspended: Schemas["Why"] | null, oldest: Oldest }} Row */
/**
 * Since when the oldest ones wait. Edits are listed in the order in which they are due: of many,
 * the oldest of the first page is shown.
 * @typedef {{ conflict: string | null, edit: string | null, isOfAll: boolean }} Oldest
 */

/** So many owed edits are looked at for the oldest one. */
const OWED_MAX = 100;

/** @returns {import("../app.js").Page} */
export function overview() {
  const rows = new Resource(loadRows);
  return {
    title: "Overview",
    resources: [rows],
    follows: () => (rows.value ?? []).map((row) => row.connection.id),
    view: () =>
      html`${loaded(rows, (rows) => html`${totals(rows)}${list(rows)}`)}
        <p>${asOf(rows)}</p>
        ${ticker()}`,
  };
}

/** @returns {Promise<Row[]>} */
async function loadRows() {
  const [connections, letters] = await Promise.all([
    api.all("/v1/connections", {}),
    api.all("/v1/dead-letters", {}),
  ]);
  const rows = await Promise.all(
    connections.items.map(async (connection) => {
      const within = { connection: connection.id };
      const [status, operations] = await Promise.all([
        api.get("/v1/connections/{connection}/status", within),
        api.get("/v1/connections/{connection}/operations", within, { limit: 50 }),
      ]);
      const [suspended, oldest] = await Promise.all([
        status.suspension ? api.get("/v1/connections/{connection}/why", within) : null,
        oldestOf(connection.id, status.attention),
      ]);
      const parked = letters.items.filter((letter) => letter.connection === connection.id).length;
      const all = operations.items;
      const row = { connection, status, operations: all, parked, need: 0, suspended, oldest };
      return { ...row, need: need(row) };
    }),
  );
  return rows.sort((a, b) => b.need - a.need || a.connection.name.localeCompare(b.connection.name));
}

/**
 * @param {string} connection
 * @param {Schemas["Attention"]} attention
 * @returns {Promise<Oldest>}
 */
async function oldestOf(connection, { open_conflicts, owed }) {
  const within = { connection };
  const none = { items: [], next_cursor: null };
  const [conflicts, intents] = await Promise.all([
    open_conflicts > 0
      ? api.get("/v1/connections/{connection}/conflicts", within, { limit: 1 })
      : none,
    owed > 0 ? api.get("/v1/connections/{connection}/intents", within, { limit: OWED_MAX }) : none,
  ]);
  const edits = intents.items.flatMap(({ intent }) => intent?.since ?? []);
  return {
    conflict: conflicts.items[0]?.opened_at ?? null,
    edit: edits.sort()[0] ?? null,
    isOfAll: !intents.next_cursor,
  };
}

/** Returns how much a connection needs a person. @param {Row} row */
function need(row) {
  const { attention } = row.status;
  if (row.status.state === "suspended") return 6;
  if (row.operations.some((one) => one.state === "awaiting_confirmation")) return 5;
  if (attention.failed > 0) return 4;
  if (attention.open_conflicts > 0) return 3;
  if (row.parked > 0) return 2;
  return row.status.state === "active" ? 0 : 1;
}

/** @param {Row[]} rows */
function totals(rows) {
  const sum = (/** @type {(row: Row) => number} */ of) => rows.reduce((n, row) => n + of(row), 0);
  const waiting = rows.filter((row) => row.need > 1).length;
  const verb = waiting === 1 ? "waits" : "wait";
  const conflicts = sum((row) => row.status.attention.open_conflicts);
  const refused = sum((row) => row.status.attention.failed);
  return html`<p class="lead">
    ${
      waiting === 0
        ? "Nothing waits for a person."
        : `${format.counted(waiting, "connection")} ${verb} for a person: `
    }
    ${
      waiting === 0
        ? nothing
        : [
            conflicts ? format.counted(conflicts, "open conflict") : "",
            refused ? format.counted(refused, "refused edit") : "",
          ]
            .filter(Boolean)
            .join(", ")
    }
  </p>`;
}

/** @param {Row[]} rows */
function list(rows) {
  if (rows.length === 0) return html`<p class="empty">There is no connection yet.</p>`;
  return html`<ul class="cards">
    ${rows.map(card)}
  </ul>`;
}

/** @param {Row} row */
function card({ connection, status, operations, parked, suspended, oldest }) {
  const id = connection.id;
  const { attention } = status;
  const more = attention.more ? "+" : "";
  const asking = operations.find((one) => one.state === "awaiting_confirmation");
  const running = operations.find((one) => !words.ended(one.state));
  return html`<li class="card">
    <div class="head">
      <h2>${link(at(id), foreign(connection.name))}</h2>
      ${stateBadge(status)}
      <span class="actions">${actions(connection)}</span>
    </div>
    ${
      asking
        ? html`<p class="note warn">
            ${words.kind(asking.kind)} would remove files and waits for a confirmation.
            ${link(at(id, "operations", asking.id), "Show the list")}
          </p>`
        : nothing
    }
    ${suspended ? why({ value: { ...suspended, also: [] } }) : nothing}
    <dl class="figures">
      ${figure(
        "Open conflicts",
        attention.open_conflicts,
        more,
        at(id, "conflicts"),
        "warn",
        oldest.conflict ? html`oldest ${time(oldest.conflict)}` : nothing,
      )}
      ${figure("Refused by Drive", attention.failed, more, at(id, "owed"), "bad")}
      ${figure(
        "Owed to Drive",
        attention.owed,
        more,
        at(id, "owed"),
        "info",
        oldest.edit
          ? html`${oldest.isOfAll ? "oldest" : `oldest of the next ${OWED_MAX}`}
            ${time(oldest.edit)}`
          : nothing,
      )}
      ${figure("Set aside", parked, "", `/console/dead-letters?connection=${id}`, "warn")}
      <div>
        <dt>Last change in Drive</dt>
        <dd>${freshness(status)}</dd>
      </div>
      <div>
        <dt>Listed and held</dt>
        <dd>${completeness(id, operations)}</dd>
      </div>
      ${
        running && running !== asking
          ? html`<div>
              <dt>${words.kind(running.kind)}</dt>
              <dd>
                ${link(at(id, "operations", running.id), words.state(running.state))}
                <span class="quiet">${format.number(running.verified)} files</span>
              </dd>
            </div>`
          : nothing
      }
    </dl>
  </li>`;
}

/**
 * @param {string} term
 * @param {number} count
 * @param {string} more
 * @param {string} to
 * @param {import("../ui.js").Tone} tone
 * @param {unknown} [oldest]
 */
const figure = (term, count, more, to, tone, oldest = nothing) =>
  html`<div>
    <dt>${term}</dt>
    <dd>
      <a href=${to} class="figure ${count > 0 ? tone : ""}">${format.number(count)}${more}</a>
      ${oldest === nothing ? nothing : html`<span class="quiet">${oldest}</span>`}
    </dd>
  </div>`;

/** @param {Schemas["Status"]} status */
export function stateBadge(status) {
  if (status.state !== "active") {
    return badge(status.state === "paused" ? "warn" : "bad", status.state);
  }
  if (status.logs.some((log) => log.stopped)) return badge("bad", "a change log stands still");
  if (status.writes.refused_since) return badge("warn", "Drive refuses writes");
  if (status.pace.breaker.state !== "closed") return badge("warn", "Drive does not answer");
  if (status.logs.some((log) => log.position === "listing" || log.position === "new")) {
    return badge("info", "first sync");
  }
  return badge("good", "follows Drive");
}

/** @param {Schemas["Status"]} status */
function freshness(status) {
  const changes = status.logs.map((log) => log.last_change_at).filter((at) => at != null);
  const last = changes.sort().at(-1);
  const lag = Math.max(...status.logs.map((log) => log.lag_millis ?? 0));
  if (!last) return html`<span class="quiet">none yet</span>`;
  return html`${time(last)} <span class="quiet">held ${(lag / 1_000).toFixed(1)} s later</span>`;
}

/**
 * Whether we hold what Drive lists, and when that was compared.
 * @param {string} id
 * @param {Schemas["Operation"][]} operations
 */
export function completeness(id, operations) {
  const last = operations.find((one) => one.drift && one.state === "done");
  if (!last?.drift) return html`<span class="quiet">not compared yet</span>`;
  const listed = last.second_look?.listed ?? last.listed;
  const { held, missing_here, missing_there, stale, differing } = last.drift;
  const drift = missing_here + missing_there + stale + differing;
  const isRepaired = drift > 0 && !last.dry_run && last.errors === 0;
  const same = isRepaired || (listed === held && drift === 0);
  const found = isRepaired ? `${format.counted(drift, "difference")} repaired` : `drift ${drift}`;
  return html`<span class=${same ? "good" : ""}
      >${format.number(listed)} ${same ? "=" : "/"}
      ${format.number(isRepaired ? listed : held)}</span
    >
    <span class="quiet"
      >${link(at(id, "operations", last.id), words.kind(last.kind).toLowerCase())}
      ${time(last.finished_at)}, ${found}</span
    >`;
}

/** @param {Schemas["Connection"]} connection */
function actions(connection) {
  if (!may("operator")) return nothing;
  const within = { connection: connection.id };
  const sync = (/** @type {Schemas["SyncBody"]} */ body, /** @type {string} */ said) => () =>
    act(said, () => api.post("/v1/connections/{connection}/sync", within, body));
  const small = { small: true };
  const dryRun = /** @type {const} */ ({ mode: "audit", dry_run: true });
  return html`${button("Read changes", sync({ mode: "delta" }, "Drive is being read."), small)}
  ${button("Audit (changes nothing)", sync(dryRun, "An audit has begun."), small)}
  ${
    connection.state === "active"
      ? button(
          "Pause",
          () => act("Paused.", () => api.post("/v1/connections/{connection}/pause", within)),
          small,
        )
      : button(
          "Resume",
          () => act("Resumed.", () => api.post("/v1/connections/{connection}/resume", within)),
          small,
        )
  }`;
}

/** The newest events, as they come. */
function ticker() {
  return html`<section>
    <h2>As it happens</h2>
    ${
      app.ticker.length === 0
        ? html`<p class="empty">No event since this page was opened.</p>`
        : html`<ol class="ticker">
            ${app.ticker.map(
              ([connection, event]) =>
                html`<li>${time(event.time, { clock: true })} ${eventLine(connection, event)}</li>`,
            )}
          </ol>`
    }
  </section>`;
}

/**
 * Returns what an event says, with a link to what it is about.
 * @param {string} connection
 * @param {Schemas["Event"]} event
 */
export function eventLine(connection, event) {
  const [kind, id] = (event.subject ?? "").split("/");
  const places = { files: "files", operations: "operations", conflicts: "conflicts" };
  const part = places[/** @type {keyof typeof places} */ (kind)];
  const { data } = event;
  return html`<b>${words.event(event.type)}</b>
    ${part && id ? link(at(connection, part, id), html`<code>${id.slice(0, 12)}</code>`) : nothing}
    ${data.fields?.length ? data.fields.map(words.field).join(", ") : nothing}
    ${data.operation ? words.kind(data.operation) : nothing}
    ${data.reason ? html`<span class="quiet">${words.reason(data.reason)}</span>` : nothing}
    <span class="quiet">by ${foreign(words.person(data.by))}</span>`;
}
