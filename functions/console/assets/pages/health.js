// The counts of the whole tenant, and what it may use.

import { html } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { Resource } from "../app.js";
import * as format from "../format.js";
import { asOf, badge, facts, loaded, progress, table } from "../ui.js";
import * as words from "../words.js";

/** @import { Schemas } from "../../types.js" */

/** Counts are asked for this often, since no event says that they changed. */
const EVERY_MILLIS = 5_000;
const SAMPLES_MAX = 120;

/** @returns {import("../app.js").Page} */
export function health() {
  /** @type {{ at: number, lag: number, owed: number, conflicts: number }[]} */
  const samples = [];
  const stats = new Resource(async () => {
    const found = await api.get("/v1/stats", {});
    samples.push({
      at: Date.now(),
      lag: (found.logs.lag_millis_max ?? 0) / 1_000,
      owed: found.attention.owed,
      conflicts: found.attention.open_conflicts,
    });
    if (samples.length > SAMPLES_MAX) samples.shift();
    return found;
  });
  const limits = new Resource(() => api.get("/v1/limits", {}));
  const timer = setInterval(() => document.hidden || stats.reload(), EVERY_MILLIS);
  return {
    title: "Health",
    resources: [stats, limits],
    leave: () => clearInterval(timer),
    view: () => html`
      ${loaded(stats, (stats) => counts(stats, samples))}
      <p>${asOf(stats)}</p>
      ${loaded(limits, ({ items }) => limitTable(items))}
    `,
  };
}

/**
 * @param {Schemas["Stats"]} stats
 * @param {{ at: number, lag: number, owed: number, conflicts: number }[]} samples
 */
function counts({ connections, attention, logs, partial }, samples) {
  const lag = logs.lag_millis_max ?? null;
  const plus = attention.more ? "+" : "";
  const since = samples[0] ? format.span(Date.now() - samples[0].at) : "";
  return html`<section>
    <h2>Now</h2>
    ${partial ? html`<p class="note warn">Not every connection was counted.</p>` : ""}
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
        ${spark(
          "Lag, seconds",
          samples.map((one) => one.lag),
        )}`,
      ],
      [
        "Owed to Drive",
        html`${format.number(attention.owed)}${plus}
        ${spark(
          "Files owed",
          samples.map((one) => one.owed),
        )}`,
      ],
      [
        "Open conflicts",
        html`${format.number(attention.open_conflicts)}${plus}
        ${spark(
          "Open conflicts",
          samples.map((one) => one.conflicts),
        )}`,
      ],
      ["Refused by Drive", `${format.number(attention.failed)}${plus}`],
      ["Content that can't be had", `${format.number(attention.content_unavailable)}${plus}`],
    ])}
    <p class="quiet">The lines show the ${since} since this page was opened.</p>
  </section>`;
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
