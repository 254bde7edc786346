// What is owed to Drive, and what Drive has refused.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { act, ask, Resource } from "../app.js";
import * as format from "../format.js";
import { at, withQuery } from "../router.js";
import { may } from "../session.js";
import {
  asOf,
  badge,
  button,
  choices,
  foreign,
  link,
  loaded,
  preview,
  table,
  time,
} from "../ui.js";
import * as words from "../words.js";

/** @import { Schemas } from "../../types.js" */
/** @typedef {Schemas["IntentItem"]} Item */

const SHOWN_MAX = 1_000;

/**
 * @param {Record<string, string>} within
 * @param {URLSearchParams} query
 * @returns {import("../app.js").Page}
 */
export function owed({ connection = "" }, query) {
  const status = query.get("status") ?? "";
  const reason = query.get("reason") ?? "";
  const intents = new Resource(() => {
    const path = "/v1/connections/{connection}/intents";
    const wanted = status ? [status] : ["failed", "owed"];
    const load = (/** @type {any} */ status) =>
      api.all(path, { connection }, { status }, { max: SHOWN_MAX });
    return Promise.all(wanted.map(load)).then((lists) => ({
      items: lists.flatMap((one) => one.items),
      next_cursor: lists.find((one) => one.next_cursor)?.next_cursor,
    }));
  });
  return {
    title: "Owed and refused",
    connection,
    resources: [intents],
    view: () => html`
      <div class="bar">
        ${choices(
          "Which edits",
          [
            ["", "All"],
            ["owed", "Owed"],
            ["failed", "Refused"],
          ],
          status,
          (value) => withQuery({ status: value || null, reason: null }),
        )}
        ${asOf(intents)}
      </div>
      ${loaded(intents, ({ items, next_cursor }) => {
        const shown = reason ? items.filter((one) => reasonOf(one) === reason) : items;
        return html`${byReason(connection, items, reason)} ${list(connection, shown)}
        ${
          next_cursor
            ? html`<p class="note">Only the first ${format.number(SHOWN_MAX)} files are shown.</p>`
            : nothing
        }`;
      })}
    `,
  };
}

/** @param {Item} item */
const reasonOf = (item) => item.intent?.reason ?? item.intent?.trouble?.reason ?? "";

/**
 * What was refused, by reason: retried or withdrawn at once.
 * @param {string} connection
 * @param {Item[]} items
 * @param {string} reason
 */
function byReason(connection, items, reason) {
  /** @type {Map<string, Item[]>} */
  const groups = new Map();
  for (const item of items) {
    const why = reasonOf(item);
    if (!why) continue;
    const group = groups.get(why);
    if (group) group.push(item);
    else groups.set(why, [item]);
  }
  if (groups.size === 0) return nothing;
  return html`<section>
    <h2>By reason</h2>
    ${table(
      "Refused edits by reason",
      ["Reason", "Files", "What can be done"],
      [...groups].map(([why, group]) => [
        why === reason
          ? html`<b>${foreign(words.reason(why))}</b> ${link(withQuery({ reason: null }), "All")}`
          : link(withQuery({ reason: why }), foreign(words.reason(why))),
        format.number(group.length),
        may("operator")
          ? html`${button("Try all again", () => bulk(connection, why, group, "retry"), {
              small: true,
            })}
            ${button("Withdraw all…", () => bulk(connection, why, group, "cancel"), {
              small: true,
              danger: true,
            })}`
          : html`<span class="quiet">An operator can try them again.</span>`,
      ]),
    )}
  </section>`;
}

/**
 * @param {string} connection
 * @param {string} reason
 * @param {Item[]} group
 * @param {"retry" | "cancel"} what
 */
async function bulk(connection, reason, group, what) {
  const files = format.counted(group.length, "file");
  if (what === "cancel") {
    const yes = await ask({
      title: `Withdraw the edits of ${files}`,
      danger: true,
      yes: "Withdraw them",
      body: () =>
        html`<p>These will have Drive’s values again, and nothing is written:</p>
          ${preview(
            "Preview",
            group,
            (one) =>
              html`${foreign(one.file.fields.name)}:
              ${(one.intent?.fields ?? []).map(words.field).join(", ")}`,
          )}`,
    });
    if (!yes) return;
  }
  await act(
    what === "retry" ? `${files} are tried again.` : `Edits of ${files} were withdrawn.`,
    async () => {
      let cursor = /** @type {string | undefined} */ (undefined);
      do {
        const body = { reason, cursor };
        const answer =
          what === "retry"
            ? await api.post("/v1/connections/{connection}/intents/retry", { connection }, body)
            : await api.post("/v1/connections/{connection}/intents/cancel", { connection }, body);
        cursor = answer.next_cursor ?? undefined;
      } while (cursor);
    },
  );
}

/**
 * @param {string} connection
 * @param {Item[]} items
 */
const list = (connection, items) =>
  table(
    "Owed and refused edits",
    ["File", "What", "State", "Attempts", "Next try", ""].map((head) =>
      head === "" ? html`<span class="unseen">What can be done</span>` : head,
    ),
    items.map((item) => () => [
      link(at(connection, "files", item.file_id), foreign(item.file.fields.name)),
      (item.intent?.fields ?? []).map(words.field).join(", "),
      intentState(connection, item.file),
      format.number(item.intent?.attempts),
      item.intent?.next_attempt_at
        ? time(item.intent.next_attempt_at)
        : html`<span class="quiet">none</span>`,
      may("editor") ? intentActions(connection, item.file_id) : nothing,
    ]),
    "Nothing is owed to Drive.",
  );

/**
 * Returns the state of what a file owes, with its reason in words.
 * @param {string} connection
 * @param {Schemas["File"]} file
 */
export function intentState(connection, file) {
  const { intent } = file;
  if (!intent) return nothing;
  const { status, reason, trouble } = intent;
  if (status === "failed") return html`${badge("bad", "refused")} ${foreign(words.reason(reason))}`;
  if (status === "held") {
    const conflict = file.conflicts[0];
    return html`${badge("warn", "held")}
    ${
      conflict
        ? html`until its ${link(at(connection, "conflicts", conflict), "conflict")} is settled`
        : file.in_scope === false
          ? "the rules leave the file out"
          : foreign(reason ? words.reason(reason) : "")
    }`;
  }
  return html`${badge("info", "owed")}
  ${
    trouble
      ? html`<span class="quiet"
          >${foreign(words.reason(trouble.reason))}, ${format.counted(trouble.times, "time")} since
          ${time(trouble.since)}</span
        >`
      : nothing
  }`;
}

/**
 * @param {string} connection
 * @param {string} file
 */
export const intentActions = (connection, file) => html`
  ${button(
    "Try again",
    () =>
      act("It is tried again.", () =>
        api.post("/v1/connections/{connection}/intents/{file}/retry", { connection, file }),
      ),
    { small: true },
  )}
  ${button(
    "Withdraw",
    () =>
      act("The edit was withdrawn: the file has Drive’s values.", () =>
        api.post("/v1/connections/{connection}/intents/{file}/cancel", { connection, file }),
      ),
    { small: true },
  )}
`;
