// Operations: their progress, what they found, and the confirmation of a mass removal.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { act, ask, Resource, update } from "../app.js";
import * as format from "../format.js";
import { at, go } from "../router.js";
import { may } from "../session.js";
import {
  asOf,
  badge,
  button,
  facts,
  foreign,
  link,
  loaded,
  preview,
  progress,
  table,
  time,
} from "../ui.js";
import * as words from "../words.js";
import { driftOf, operationState, operationTable } from "./connection.js";
import { restoreActions, restoreAt, restoreConfirmation } from "./restore.js";
import { restoreFacts, restoreTable } from "./restore.js";

/** @import { Schemas } from "../../types.js" */
/** @typedef {Schemas["Operation"]} Operation */

const RUNNING_MILLIS = 1_000;
const DRIFT_MAX = 2_000;

/**
 * @param {Record<string, string>} within
 * @returns {import("../app.js").Page}
 */
export function operations({ connection = "" }) {
  const path = "/v1/connections/{connection}/operations";
  const list = new Resource(() => api.all(path, { connection }, {}, { max: 500 }));
  return {
    title: "Operations",
    connection,
    resources: [list],
    view: () => html`
      ${may("operator") ? html`<div class="bar">${starters(connection)}</div>` : nothing}
      ${loaded(list, ({ items }) => operationTable(connection, items))}
      <p>${asOf(list)}</p>
    `,
  };
}

/** @param {string} connection */
function starters(connection) {
  const start = (/** @type {Schemas["SyncBody"]} */ body) => () =>
    act(null, async () => {
      const path = "/v1/connections/{connection}/sync";
      const begun = await api.post(path, { connection }, body);
      if (begun.operation) go(at(connection, "operations", begun.operation.id));
    });
  return html`
    ${button("Audit, changing nothing", start({ mode: "audit", dry_run: true }))}
    ${button("Audit and repair", start({ mode: "audit" }))}
    ${button("List everything again", start({ mode: "full" }))}
    ${button("Scan contents", start({ mode: "mirror" }))}
    ${link(restoreAt(connection), "Restore to a point in time")}
  `;
}

/**
 * @param {Record<string, string>} within
 * @returns {import("../app.js").Page}
 */
export function operation({ connection = "", operation: id = "" }) {
  const within = { connection, operation: id };
  const base = "/v1/connections/{connection}/operations/{operation}";
  const one = new Resource(() => api.get(base, within));
  const drift = new Resource(() => api.all(`${base}/drift`, within, {}, { max: DRIFT_MAX }));
  const findings = new Resource(() => api.all(`${base}/findings`, within, {}, { max: 1_000 }));
  // Its progress is told by events only now and then.
  const timer = setInterval(() => {
    if (document.hidden || !one.value || words.ended(one.value.state)) return;
    one.reload();
    if (one.value.drift) drift.reload();
    if (one.value.restore) findings.reload();
  }, RUNNING_MILLIS);
  return {
    title: "Operation",
    connection,
    resources: [one, drift, findings],
    leave: () => clearInterval(timer),
    view: () =>
      html`${loaded(one, (found) =>
          summary(connection, found, drift.value?.items ?? [], findings.value),
        )}
        ${one.value ? driftTable(connection, one.value, drift) : nothing}
        ${
          one.value?.restore
            ? restoreTable(connection, one.value, findings.value)
            : findings.value && findings.value.items.length > 0
              ? findingTable(connection, findings.value.items)
              : nothing
        }
        <p>${asOf(one)}</p>`,
  };
}

/**
 * @param {string} connection
 * @param {Operation} one
 * @param {Schemas["DriftItem"][]} drift
 * @param {Schemas["FindingList"]} [findings]
 */
function summary(connection, one, drift, findings) {
  const within = { connection, operation: one.id };
  const isRunning = !words.ended(one.state);
  const path = "/v1/connections/{connection}/operations/{operation}/cancel";
  const cancel = () => act("It is being cancelled.", () => api.post(path, within));
  const dryRun = one.dry_run && one.state === "done" && one.drift && driftOf(one.drift) > 0;
  const repair = () =>
    act("An audit that repairs has begun.", async () => {
      const to = "/v1/connections/{connection}/sync";
      const begun = await api.post(to, { connection }, { mode: "audit", log: one.log });
      if (begun.operation) go(at(connection, "operations", begun.operation.id));
    });
  return html`<section>
    <div class="head">
      <h2>${words.kind(one.kind)}</h2>
      ${operationState(one)} ${one.dry_run ? badge("quiet", "dry run: changes nothing") : nothing}
      <span class="actions">
        ${isRunning && may("operator") ? button("Cancel", cancel) : nothing}
        ${dryRun && may("operator") ? button("Run it and repair", repair) : nothing}
      </span>
    </div>
    ${
      one.state !== "awaiting_confirmation"
        ? nothing
        : one.restore
          ? restoreConfirmation(connection, one, findings)
          : confirmation(connection, one, drift)
    }
    ${one.reason ? html`<p class="note bad">${foreign(words.reason(one.reason))}</p>` : nothing}
    ${
      one.stopped
        ? html`<p class="note warn">
            It stands still since ${time(one.stopped.since)}: ${words.plain(one.stopped.reason)}.
            Next try ${time(one.stopped.next_attempt_at)}.
          </p>`
        : nothing
    }
    ${isRunning && one.state !== "awaiting_confirmation" ? bar(one) : nothing}
    ${facts([
      ...(one.restore ? restoreFacts(connection, one, findings) : comparison(one)),
      ["Began", time(one.started_at, { clock: true })],
      [
        one.finished_at ? "Took" : "Runs for",
        format.span(
          (one.finished_at ? Date.parse(one.finished_at) : Date.now()) - Date.parse(one.started_at),
        ),
      ],
      ["Begun by", foreign(words.person(one.by))],
      [
        "Decision",
        one.decision
          ? html`${one.decision.confirmed ? "confirmed" : "refused"} by
            ${foreign(words.person(one.decision.by))} ${time(one.decision.at)}`
          : html`<span class="quiet">none was needed</span>`,
      ],
    ])}
    ${one.restore ? restoreActions(connection, one, findings) : nothing}
  </section>`;
}

/**
 * What was compared with Drive.
 * @param {Operation} one
 * @returns {[unknown, unknown][]}
 */
const comparison = (one) => [
  [
    "Listed in Drive",
    `${format.counted(one.listed, "file")} on ${format.counted(one.pages, "page")}`,
  ],
  ["Held and verified", format.counted(one.verified, "file")],
  ["Errors", format.number(one.errors)],
  [
    "Drift",
    one.drift
      ? html`<b>${format.number(driftOf(one.drift))}</b>
          <span class="quiet"
            >${format.number(one.drift.missing_here)} only in Drive,
            ${format.number(one.drift.missing_there)} only here, ${format.number(one.drift.stale)}
            older here, ${format.number(one.drift.differing)} differ, of
            ${format.number(one.drift.held)} held</span
          >`
      : html`<span class="quiet">not compared</span>`,
  ],
];

/** @param {Operation} one */
function bar(one) {
  const { restore } = one;
  if (restore) {
    const isKnown = one.state === "restoring";
    return html`<p class="progress">
      ${progress(words.kind(one.kind), restore.restored, isKnown ? restore.to_restore : 0)}
      ${words.state(one.state)}:
      ${
        isKnown
          ? `${format.number(restore.restored)} of ${format.number(restore.to_restore)} set back`
          : `${format.counted(restore.files, "file")} looked at`
      }
    </p>`;
  }
  const isKnown = one.state !== "listing" && one.state !== "examining" && one.listed > 0;
  return html`<p class="progress">
    ${progress(words.kind(one.kind), one.verified, isKnown ? one.listed : 0)}
    ${words.state(one.state)}: ${format.number(one.verified)} of
    ${format.number(one.listed)}${isKnown ? "" : " so far"} ${rate(one)}
  </p>`;
}

/** @param {Operation} one */
function rate(one) {
  const seconds = (Date.now() - Date.parse(one.started_at)) / 1_000;
  if (one.verified === 0 || seconds < 1) return nothing;
  return html`<span class="quiet"
    >${format.number(Math.round(one.verified / seconds))} a second</span
  >`;
}

/**
 * What asks for a person shows what would be removed, and not only how much.
 * @param {string} connection
 * @param {Operation} one
 * @param {Schemas["DriftItem"][]} drift
 */
function confirmation(connection, one, drift) {
  const within = { connection, operation: one.id };
  const lost = drift.filter((item) => item.kind === "missing_there");
  const count = one.drift?.missing_there ?? lost.length;
  const confirm = async () => {
    let text = "";
    const yes = await ask({
      title: `Remove ${format.counted(count, "file")}`,
      danger: true,
      yes: `Remove ${format.number(count)}`,
      ready: () => text.trim() === String(count),
      body: () => html`
        <p>Drive does not list these any more. Their records will be removed here:</p>
        ${preview("Preview", lost, (item) => foreign(item.name))}
        <label
          >To confirm, enter how many
          <input
            inputmode="numeric"
            autocomplete="off"
            @input=${(/** @type {Event} */ event) => {
              text = /** @type {HTMLInputElement} */ (event.target).value;
              update();
            }}
          />
        </label>
      `,
    });
    if (!yes) return;
    const path = "/v1/connections/{connection}/operations/{operation}/confirm";
    await act(`${format.counted(count, "file")} are removed.`, () => api.post(path, within));
  };
  return html`<div class="note warn">
    <p>
      Since ${time(one.awaiting_since, { clock: true })} it waits for a person: it would remove
      <b>${format.counted(count, "file")}</b> of ${format.number(one.drift?.held)} that Drive does
      not list any more. Look through the list below; nothing is removed before.
    </p>
    ${
      may("operator")
        ? html`<div class="buttons">
            ${button("Confirm the removal…", confirm, { danger: true })}
            ${button("Remove nothing: cancel it", () =>
              act("Nothing was removed.", () =>
                api.post("/v1/connections/{connection}/operations/{operation}/cancel", within),
              ),
            )}
          </div>`
        : html`<p>An operator can confirm it.</p>`
    }
  </div>`;
}

/**
 * @param {string} connection
 * @param {Operation} one
 * @param {Resource<Schemas["DriftList"]>} drift
 */
function driftTable(connection, one, drift) {
  const items = drift.value?.items ?? [];
  if (items.length === 0) return nothing;
  return html`<section>
    <h2>
      ${one.state === "awaiting_confirmation" ? "What differs, and what would be removed" : "Drift"}
    </h2>
    ${table(
      "Drift",
      ["File", "What", "Here", "Drive"],
      items.map((item) => () => [
        link(at(connection, "files", item.file_id), foreign(item.name || item.file_id)),
        html`${words.drift(item.kind)}
        ${item.gone ? badge("quiet", words.presence(item.gone)) : nothing}`,
        item.fields.map(
          (field) => html`<p>${words.field(field.field)}: ${foreign(field.ours)}</p>`,
        ),
        item.fields.map((field) => html`<p>${foreign(field.drive)}</p>`),
      ]),
    )}
    ${
      drift.value?.next_cursor
        ? html`<p class="note">Only the first ${format.number(DRIFT_MAX)} are shown.</p>`
        : nothing
    }
  </section>`;
}

/**
 * @param {string} connection
 * @param {Schemas["Finding"][]} items
 */
const findingTable = (connection, items) =>
  html`<section>
    <h2>Findings</h2>
    ${table(
      "Findings",
      ["What", "File", "Details", "Found", "State"],
      items.map((item) => () => [
        words.finding(item.kind),
        item.file_id
          ? link(
              at(connection, "files", item.file_id),
              html`<code>${item.file_id.slice(0, 12)}</code>`,
            )
          : nothing,
        foreign(item.detail),
        time(item.found_at),
        item.repaired ? badge("good", "repaired") : badge("warn", "not repaired"),
      ]),
    )}
  </section>`;
