// The counts of the whole tenant, what happened within a day, and what it may use.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { Resource } from "../app.js";
import * as format from "../format.js";
import { asOf, badge, facts, link, loaded, progress, table } from "../ui.js";
import * as words from "../words.js";

/** @import { Schemas } from "../../types.js" */

/** Counts are asked for this often, since no event says that they changed. */
const EVERY_MILLIS = 5_000;
const HOUR_MILLIS = 3_600_000;
const HOURS = 24;
/** The counts of so long are one point of a line: a day has 288 of them. */
const POINT_MILLIS = 5 * 60_000;
/** The API counts the files of so many connections, and the live socket follows fewer. */
const CONNECTIONS_MAX = 20;
/** The event logs are read in steps of so many requests, so that what is known is shown. */
const REQUESTS_MAX = 10;
/** What is counted of the event logs, in the order of the rows. @type {[string, string][]} */
const COUNTED = [
  ["conflict:detected", "Conflicts opened"],
  ["conflict:resolved", "Conflicts settled"],
  ["intent:failed", "Edits that Drive refused"],
  ["content:failed", "Contents that could not be stored"],
  ["dead_letter:parked", "Messages set aside"],
  ["sync:failed", "Syncs that failed"],
  ["connection:suspended", "Suspensions"],
];

/** @typedef {{ at: number, lag: number, owed: number, conflicts: number }} Sample */
/** What was read of a log. @typedef {{ place?: string, times: Map<string, number[]> }} Log */

/** The counts that this tab has seen, each the highest of its time. @type {Sample[]} */
const samples = [];
/** What this tab has read of the event logs, by connection. @type {Map<string, Log>} */
const logs = new Map();

/** @returns {import("../app.js").Page} */
export function health() {
  let isLeft = false;
  const stats = new Resource(async () => {
    const found = await api.get("/v1/stats", {});
    keep(found);
    return found;
  });
  const limits = new Resource(() => api.get("/v1/limits", {}));
  const connections = new Resource(() => api.all("/v1/connections", {}));
  const followed = () => (connections.value?.items ?? []).slice(0, CONNECTIONS_MAX);
  const events = new Resource(async () => {
    if (!connections.value) connections.value = await connections.load(undefined);
    const read = await Promise.all(followed().map(({ id }) => readOn(id)));
    const isWhole = read.every(Boolean);
    if (!isWhole && !isLeft) setTimeout(() => isLeft || events.reload());
    return isWhole;
  });
  const timer = setInterval(() => document.hidden || stats.reload(), EVERY_MILLIS);
  return {
    title: "Health",
    resources: [stats, limits, events],
    follows: () => followed().map(({ id }) => id),
    leave: () => {
      isLeft = true;
      clearInterval(timer);
    },
    view: () => html`
      ${loaded(stats, (stats) => counts(stats))}
      <p>${asOf(stats)}</p>
      ${loaded(events, (isWhole) => day(isWhole, connections.value?.items.length ?? 0))}
      <p>${asOf(events)}</p>
      ${loaded(limits, ({ items }) => limitTable(items))}
    `,
  };
}

/** @param {Schemas["Stats"]} found */
function keep({ logs, attention }) {
  const now = Date.now();
  const at = now - (now % POINT_MILLIS);
  const last = samples.at(-1);
  const old = last?.at === at ? samples.pop() : undefined;
  samples.push({
    at,
    lag: Math.max((logs.lag_millis_max ?? 0) / 1_000, old?.lag ?? 0),
    owed: Math.max(attention.owed, old?.owed ?? 0),
    conflicts: Math.max(attention.open_conflicts, old?.conflicts ?? 0),
  });
  while ((samples[0]?.at ?? now) < now - HOURS * HOUR_MILLIS) samples.shift();
}

/**
 * Reads on in a connection's event log. Returns whether it was read to its end.
 * @param {string} connection
 */
async function readOn(connection) {
  /** @type {Log} */
  const log = logs.get(connection) ?? { times: new Map() };
  logs.set(connection, log);
  const types = COUNTED.map(([type]) => type).join();
  for (let n = 0; n < REQUESTS_MAX; n++) {
    let page;
    try {
      const asked = { types, after: log.place, limit: 500 };
      page = await api.get("/v1/connections/{connection}/events", { connection }, asked);
    } catch (error) {
      if (!(error instanceof api.Problem) || error.status !== 410 || !log.place) throw error;
      // What was not read is no longer known: it is older than a day.
      log.place = undefined;
      log.times.clear();
      continue;
    }
    for (const { type, time } of page.items) {
      const times = log.times.get(type) ?? [];
      log.times.set(type, times);
      times.push(Date.parse(time));
    }
    log.place = page.next_cursor ?? undefined;
    if (page.next_cursor === page.head) return true;
  }
  return false;
}

/** @param {Schemas["Stats"]} stats */
function counts({ connections, attention, logs, partial }) {
  const lag = logs.lag_millis_max ?? null;
  const plus = attention.more ? "+" : "";
  const line = (/** @type {string} */ label, /** @type {(one: Sample) => number} */ of) =>
    spark(label, samples.map(of));
  return html`<section>
    <h2>Now</h2>
    ${partial ? html`<p class="note warn">Not every connection was counted.</p>` : nothing}
    ${facts([
      [
        "Connections",
        html`${format.number(connections.active)} active, ${format.number(connections.paused)}
        paused,
        ${
          connections.suspended ? badge("bad", `${connections.suspended} suspended`) : "0 suspended"
        },
        ${format.number(connections.deleting)} being deleted`,
      ],
      [
        "Change logs",
        html`${format.number(logs.following)} followed, ${format.number(logs.listing)} being listed,
        ${format.number(logs.new)} new, ${format.number(logs.left)} left`,
      ],
      [
        "Largest lag of a last change",
        html`${lag === null ? "–" : `${(lag / 1_000).toFixed(1)} s`}
        ${line("Lag, seconds", (one) => one.lag)}`,
      ],
      [
        "Owed to Drive",
        html`${format.number(attention.owed)}${plus} ${line("Files owed", (one) => one.owed)}`,
      ],
      [
        "Open conflicts",
        html`${format.number(attention.open_conflicts)}${plus}
        ${line("Open conflicts", (one) => one.conflicts)}`,
      ],
      ["Refused by Drive", `${format.number(attention.failed)}${plus}`],
      ["Content that can't be had", `${format.number(attention.content_unavailable)}${plus}`],
    ])}
    <p class="quiet">
      These counts are kept nowhere: the lines show what this tab has seen here since
      ${format.clock(samples[0]?.at ?? Date.now())}, at most 24 hours.
    </p>
  </section>`;
}

/**
 * What happened within the last 24 hours, by the event logs.
 * @param {boolean} isWhole
 * @param {number} connections
 */
function day(isWhole, connections) {
  // The last hour is the one that is not over.
  const end = Math.ceil(Date.now() / HOUR_MILLIS) * HOUR_MILLIS;
  const begin = end - HOURS * HOUR_MILLIS;
  const hours = (/** @type {string} */ type) => {
    const all = Array.from({ length: HOURS }, () => 0);
    for (const { times } of logs.values()) {
      for (const at of times.get(type) ?? []) {
        const hour = Math.floor((at - begin) / HOUR_MILLIS);
        if (hour >= 0 && hour < HOURS) all[hour] = (all[hour] ?? 0) + 1;
      }
    }
    return all;
  };
  const left = connections - CONNECTIONS_MAX;
  return html`<section>
    <h2>The last 24 hours</h2>
    ${
      isWhole
        ? nothing
        : html`<p class="note warn">
            The event logs are still being read: there may be more than is shown.
          </p>`
    }
    ${table(
      "The last 24 hours",
      ["What", "Events", "By hour"],
      COUNTED.map(([type, text]) => {
        const all = hours(type);
        const sum = all.reduce((a, b) => a + b, 0);
        return [
          link(`/console/events?types=${encodeURIComponent(type)}`, text),
          format.number(sum),
          bars(text, all, begin),
        ];
      }),
    )}
    <p class="quiet">
      Counted in the event ${connections === 1 ? "log" : "logs"} of
      ${
        left > 0
          ? `the first ${CONNECTIONS_MAX} of ${format.number(connections)} connections`
          : format.counted(connections, "connection")
      },
      from ${format.clock(begin)} on.
    </p>
  </section>`;
}

/**
 * Returns a bar for each hour.
 * @param {string} label
 * @param {number[]} values
 * @param {number} begin
 */
function bars(label, values, begin) {
  const max = Math.max(...values);
  const from = format.clock(begin + values.indexOf(max) * HOUR_MILLIS);
  const most = max > 0 ? `most in the hour from ${from}: ${format.number(max)}` : "none";
  const path = values.map((value, hour) => {
    const height = max > 0 ? Math.ceil((value / max) * 22) : 0;
    return height > 0 ? `M${hour * 5} 24h4v${-height}h-4z` : "";
  });
  return html`<svg class="spark" viewBox="0 0 120 24" role="img" aria-label=${`${label}: ${most}`}>
    <title>${most}</title>
    <path class="bars" d=${path.join("") || "M0 24"}></path>
    <path class="ground" d="M0 23.5h120"></path>
  </svg>`;
}

/**
 * Returns a line of values.
 * @param {string} label
 * @param {number[]} values
 */
function spark(label, values) {
  const max = Math.max(...values, 1);
  const step = 120 / Math.max(values.length - 1, 1);
  const points = values.map(
    (v, i) => `${(i * step).toFixed(1)},${(22 - (v / max) * 20).toFixed(1)}`,
  );
  // One value is a line, too.
  if (points.length === 1) points.push(`120,${points[0]?.split(",")[1]}`);
  return html`<svg
    class="spark"
    viewBox="0 0 120 24"
    role="img"
    aria-label=${`${label}: highest ${max.toFixed(1)}`}
  >
    <polyline points=${points.join(" ")}></polyline>
  </svg>`;
}

/** @param {Schemas["TenantLimit"][]} limits */
const limitTable = (limits) =>
  html`<section>
    <h2>Limits</h2>
    ${table(
      "Limits of the tenant",
      ["Limit", "In use", "At most", "Share"],
      limits.map(({ name, used, max }) => [
        words.plain(name),
        used == null ? html`<span class="quiet">not counted</span>` : format.number(used),
        max == null ? "no limit" : format.number(max),
        used != null && max ? progress(words.plain(name), used, max) : "",
      ]),
    )}
  </section>`;
