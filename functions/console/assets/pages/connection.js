// One connection: its logs, what it waits for, and what it is set to.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { act, Resource } from "../app.js";
import * as format from "../format.js";
import { at, go } from "../router.js";
import { may } from "../session.js";
import { asOf, badge, button, facts, foreign, link, loaded, table, time, why } from "../ui.js";
import * as words from "../words.js";
import { completeness, stateBadge } from "./overview.js";
import { restoreAt } from "./restore.js";

/** @import { Schemas } from "../../types.js" */

/**
 * @param {Record<string, string>} within
 * @returns {import("../app.js").Page}
 */
export function connection({ connection: id = "" }) {
  const within = { connection: id };
  const settings = new Resource(() => api.get("/v1/connections/{connection}", within));
  const status = new Resource(() => api.get("/v1/connections/{connection}/status", within));
  const operations = new Resource(() =>
    api.get("/v1/connections/{connection}/operations", within, { limit: 50 }),
  );
  const reason = new Resource(() => api.get("/v1/connections/{connection}/why", within));
  return {
    title: "Connection",
    connection: id,
    resources: [settings, status, operations, reason],
    view: () => html`
      ${why(reason)}
      ${loaded(status, (status) =>
        loaded(settings, (settings) => stateOf(id, settings, status, operations.value?.items)),
      )}
      ${loaded(status, (status) => logs(id, status))} ${loaded(status, (status) => rules(status))}
      ${loaded(operations, ({ items }) => recent(id, items))}
      <p>${asOf(status)}</p>
    `,
  };
}

/**
 * @param {string} id
 * @param {Schemas["Connection"]} settings
 * @param {Schemas["Status"]} status
 * @param {Schemas["Operation"][]} [operations]
 */
function stateOf(id, settings, status, operations = []) {
  const { attention, pace, writes } = status;
  const more = attention.more ? "+" : "";
  const conflicts = `${format.counted(attention.open_conflicts, "open conflict")}${more}`;
  const refused = `${format.number(attention.failed)}${more} refused by Drive`;
  const within = { connection: id };
  return html`<section>
    <div class="head">
      <h2>State</h2>
      ${stateBadge(status)}
      <span class="actions">${may("operator") ? actions(id, settings) : nothing}</span>
    </div>
    ${
      settings.owed_held
        ? html`<p class="note warn">
            The connection was restored: what it owed is held back until somebody has looked at
            ${link(at(id, "owed"), "the list")}.
            ${
              may("operator")
                ? button(
                    "Let it be written",
                    () =>
                      act("What is owed is written now.", () =>
                        api.post("/v1/connections/{connection}/restore/confirm", within),
                      ),
                    { small: true },
                  )
                : nothing
            }
          </p>`
        : nothing
    }
    ${facts([
      [
        "Waits for a person",
        html`${link(at(id, "conflicts"), conflicts)},
        ${link(`${at(id, "owed")}?status=failed`, refused)}`,
      ],
      ["Owed to Drive", link(at(id, "owed"), `${format.counted(attention.owed, "file")}${more}`)],
      [
        "Content that can't be had",
        `${format.counted(attention.content_unavailable, "file")}${more}`,
      ],
      ["Listed and held", completeness(id, operations)],
      [
        "Writes",
        writes.refused_since
          ? html`${badge("warn", "refused")} since ${time(writes.refused_since)}:
            ${words.reason(writes.reason)}`
          : html`up to ${format.number(pace.writes_per_minute)} a minute`,
      ],
      [
        "Calls to Drive",
        pace.breaker.state === "closed"
          ? pace.held_until
            ? html`held until ${time(pace.held_until, { clock: true })}`
            : "answered"
          : html`${badge("warn", "stopped")} after
            ${format.counted(pace.breaker.failures, "failure")}, next try
            ${time(pace.breaker.until)}`,
      ],
    ])}
  </section>`;
}

/**
 * @param {string} id
 * @param {Schemas["Connection"]} settings
 */
function actions(id, settings) {
  const within = { connection: id };
  const sync = (
    /** @type {string} */ text,
    /** @type {Schemas["SyncBody"]} */ body,
    /** @type {string} */ said,
    /** @type {string} */ title,
  ) =>
    button(
      text,
      () => act(said, () => api.post("/v1/connections/{connection}/sync", within, body)),
      { small: true, title },
    );
  const audit = "Compares both sides, and changes nothing";
  return html`
    ${sync("Read changes", { mode: "delta" }, "Drive is being read.", "Reads the change logs now")}
    ${sync("List everything", { mode: "full" }, "A full sync has begun.", "Lists every file again")}
    ${sync("Audit", { mode: "audit", dry_run: true }, "An audit has begun.", audit)}
    ${button("Restore…", () => go(restoreAt(id)), { small: true })}
    ${
      settings.state === "active"
        ? button(
            "Pause",
            () => act("Paused.", () => api.post("/v1/connections/{connection}/pause", within)),
            { small: true },
          )
        : button(
            "Resume",
            () => act("Resumed.", () => api.post("/v1/connections/{connection}/resume", within)),
            { small: true },
          )
    }
  `;
}

/**
 * @param {string} id
 * @param {Schemas["Status"]} status
 */
function logs(id, status) {
  return html`<section>
    <h2>Change logs</h2>
    ${table(
      "Change logs",
      ["Log", "Position", "Last change", "Held after", "Notifications", "Next poll"],
      status.logs.map((log) => [
        log.drive
          ? html`${foreign(log.drive.name ?? log.drive.id)} <span class="quiet">shared drive</span>`
          : "the user’s own",
        log.stopped
          ? html`${badge("bad", "stands still")} since ${time(log.stopped.since)}:
            ${words.plain(log.stopped.reason)}; next try ${time(log.stopped.next_attempt_at)}`
          : log.operation
            ? link(at(id, "operations", log.operation), log.position)
            : html`${log.position}${log.left_at ? html` ${time(log.left_at)}` : nothing}`,
        time(log.last_change_at),
        log.lag_millis == null ? "–" : `${(log.lag_millis / 1_000).toFixed(1)} s`,
        log.channel
          ? html`${log.channel.state}, until ${time(log.channel.expires_at, { clock: true })}`
          : html`<span class="quiet">none: Drive is asked about once a minute</span>`,
        time(log.next_poll_at),
      ]),
      "No log yet.",
    )}
  </section>`;
}

/** @param {Schemas["Status"]} status */
function rules(status) {
  if (status.rules.length === 0) return nothing;
  return html`<section>
    <h2>Rules</h2>
    ${table(
      "Rules",
      ["", "What", "Matches"],
      status.rules.map(({ list, rule, matches, complete }) => [
        list === "include" ? badge("info", "include") : badge("quiet", "exclude"),
        foreign(words.rule(rule)),
        html`${complete ? "" : "at least "}${format.counted(matches, "file")}
        ${matches === 0 ? badge("warn", "matches nothing") : nothing}`,
      ]),
    )}
  </section>`;
}

/**
 * @param {string} id
 * @param {Schemas["Operation"][]} operations
 */
function recent(id, operations) {
  return html`<section>
    <h2>Last operations</h2>
    ${operationTable(id, operations.slice(0, 5))}
    <p>${link(at(id, "operations"), "All operations")}</p>
  </section>`;
}

/**
 * @param {string} id
 * @param {Schemas["Operation"][]} operations
 */
export function operationTable(id, operations) {
  return table(
    "Operations",
    ["What", "State", "Listed", "Verified", "Drift", "Began", "Took", "By"],
    operations.map((one) => [
      html`${link(at(id, "operations", one.id), words.kind(one.kind))}
      ${one.dry_run ? badge("quiet", "dry run") : nothing}
      ${one.log === "user" ? nothing : html`<span class="quiet">${one.log}</span>`}`,
      operationState(one),
      format.number(one.listed),
      format.number(one.verified),
      one.drift ? format.number(driftOf(one.drift)) : "–",
      time(one.started_at),
      one.finished_at
        ? format.span(Date.parse(one.finished_at) - Date.parse(one.started_at))
        : format.span(Date.now() - Date.parse(one.started_at)),
      foreign(words.person(one.by)),
    ]),
    "No operation yet.",
  );
}

/** @param {Schemas["DriftCounts"]} drift */
export const driftOf = (drift) =>
  drift.missing_here + drift.missing_there + drift.stale + drift.differing;

/** @param {Schemas["Operation"]} one */
export function operationState(one) {
  /** @type {import("../ui.js").Tone} */
  const tone =
    one.state === "failed"
      ? "bad"
      : one.state === "awaiting_confirmation" || one.stopped
        ? "warn"
        : one.state === "done" || one.state === "ready"
          ? "good"
          : one.state === "cancelled"
            ? "quiet"
            : "info";
  return badge(tone, words.state(one.state), one.reason ?? undefined);
}
