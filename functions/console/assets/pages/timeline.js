// One timeline of a file: what Drive showed, what was edited and pushed, conflicts and decisions,
// contents, and the operations meanwhile.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { act, ask } from "../app.js";
import { at } from "../router.js";
import { may } from "../session.js";
import { badge, button, foreign, link, portion, time } from "../ui.js";
import * as words from "../words.js";

/** @import { Schemas } from "../../types.js" */
/** @typedef {Record<string, string>} Keys */
/** @typedef {{ at: string, who: string, what: unknown, actions?: unknown }} Entry */
/** @typedef {{ history: Schemas["HistoryEntry"][], events: Schemas["Event"][],
 *   versions: Schemas["Version"][], operations: Schemas["Operation"][] }} Sources */

const FIELDS = /** @type {const} */ ([
  "name",
  "description",
  "starred",
  "trashed",
  "parent",
  "properties",
  "permissions",
  "md5",
]);

/**
 * Loads all that is known of a file's past.
 * @param {string} connection
 * @param {string} file
 * @returns {Promise<Sources>}
 */
export async function loadTimeline(connection, file) {
  const within = { connection, file };
  const base = "/v1/connections/{connection}/files/{file}";
  const asked = { file, limit: 500 };
  const nothing = { items: [] };
  const [history, events, versions, operations] = await Promise.all([
    api.get(`${base}/history`, within, { limit: 200 }).catch(() => nothing),
    api.get("/v1/connections/{connection}/events", { connection }, asked).catch(() => nothing),
    api.get(`${base}/versions`, within, { limit: 200 }).catch(() => nothing),
    api.get("/v1/connections/{connection}/operations", { connection }, { limit: 50 }),
  ]);
  return {
    history: history.items,
    events: events.items,
    versions: versions.items,
    operations: operations.items,
  };
}

/**
 * @param {string} connection
 * @param {Schemas["File"]} file
 * @param {Sources} sources
 */
export function timeline(connection, file, sources) {
  const entries = [
    ...ofHistory(connection, file, sources.history),
    ...ofEvents(connection, sources),
    ...ofVersions(connection, file, sources.versions),
  ];
  const first = entries.map((one) => one.at).sort()[0] ?? "";
  entries.push(...ofOperations(connection, sources.operations, first));
  entries.sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  if (entries.length === 0) return html`<p class="empty">Nothing is known of its past.</p>`;
  const { shown, more } = portion("Timeline", entries);
  return html`<ol class="timeline">
      ${shown.map(
        (entry) =>
          html`<li>
            ${time(entry.at, { clock: true })}
            <span class="who">${foreign(words.person(entry.who))}</span>
            <span class="what">${entry.what}</span>
            <span class="actions">${entry.actions ?? nothing}</span>
          </li>`,
      )}
    </ol>
    ${more}`;
}

/**
 * What Drive has shown, each state beside the one before.
 * @param {string} connection
 * @param {Schemas["File"]} file
 * @param {Schemas["HistoryEntry"][]} history newest first
 * @returns {Entry[]}
 */
function ofHistory(connection, file, history) {
  return history.map((entry, n) => {
    const before = history[n + 1];
    const changed = before
      ? FIELDS.filter(
          (name) => JSON.stringify(entry.fields[name]) !== JSON.stringify(before.fields[name]),
        )
      : [];
    const what = before
      ? changed.length === 0
        ? html`<span class="quiet">a new version in Drive, in which nothing of it changed</span>`
        : changed.map((name) => change(name, before.fields[name], entry.fields[name]))
      : html`first seen as ${foreign(entry.fields.name)}`;
    return {
      at: entry.at,
      who: entry.fields.modified_by ?? "drive",
      what: html`${badge("quiet", "Drive")} ${what}`,
      actions:
        before && n > 0 && may("editor") && file.presence === "present"
          ? button("Back to this…", () => rollBack(connection, file, entry), { small: true })
          : nothing,
    };
  });
}

/**
 * @param {string} name
 * @param {unknown} before
 * @param {unknown} after
 */
function change(name, before, after) {
  if (name === "md5") return html`content changed `;
  if (name === "trashed") return after ? html`moved to the trash ` : html`taken out of the trash `;
  if (name === "starred") return after ? html`starred ` : html`star removed `;
  if (name === "parent") return html`moved to another folder `;
  if (name === "permissions") return html`sharing changed `;
  if (name === "properties") {
    const [left, right] = [before, after].map((one) => /** @type {Keys} */ (one ?? {}));
    return properties(left ?? {}, right ?? {});
  }
  if (before === "" || before === null)
    return html`${words.field(name)}: <b>${foreign(after)}</b> `;
  const now = after === "" || after === null ? "nothing" : foreign(after);
  return html`${words.field(name)}: ${foreign(before)} → <b>${now}</b> `;
}

/**
 * @param {Keys} before
 * @param {Keys} after
 */
function properties(before, after) {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  const changed = keys.filter((key) => before[key] !== after[key]);
  return changed.map(
    (key) => html`property ${foreign(key)}: <b>${foreign(after[key] ?? "removed")}</b> `,
  );
}

/**
 * Edits, pushes, conflicts and decisions. What Drive did is told by the history.
 * @param {string} connection
 * @param {Sources} sources
 * @returns {Entry[]}
 */
function ofEvents(connection, { events, history }) {
  const oldest = history.at(-1)?.at;
  return events
    .filter(({ data, type, time: at }) => {
      const isTold = data.by === "drive" && type.startsWith("file:") && oldest && at >= oldest;
      return !isTold && type !== "content:stored";
    })
    .map((event) => {
      const { data } = event;
      const { conflict } = data;
      const fields = (data.fields ?? []).map(words.field).join(", ");
      const what =
        event.type === "file:modified" && data.by !== "drive"
          ? html`${badge("info", "edit")} ${fields}`
          : html`${badge(toneOf(event.type), words.event(event.type))} ${fields}`;
      return {
        at: event.time,
        who: data.by,
        what: html`${what}
          ${conflict ? link(at(connection, "conflicts", conflict), "Show the conflict") : nothing}
          <span class="quiet">${data.reason ? foreign(words.reason(data.reason)) : nothing}</span>`,
      };
    });
}

/**
 * @param {string} type
 * @returns {import("../ui.js").Tone}
 */
function toneOf(type) {
  if (type === "conflict:resolved" || type === "intent:confirmed") return "good";
  if (type.startsWith("conflict:")) return "warn";
  if (type.endsWith(":failed") || type.endsWith("access_lost")) return "bad";
  return "quiet";
}

/**
 * @param {string} connection
 * @param {Schemas["File"]} file
 * @param {Schemas["Version"][]} versions
 * @returns {Entry[]}
 */
function ofVersions(connection, file, versions) {
  return versions.map((version) => ({
    at: version.stored_at,
    who: version.by ?? (version.origin === "application" ? "app" : "drive"),
    what: html`${badge("quiet", "content")} version ${version.number}
    ${version.current ? badge("good", "current") : nothing}
    ${version.reason ? foreign(version.reason) : nothing}`,
    actions: html`${button("Download", () => download(connection, file.id, version.number), {
      small: true,
    })}
    ${
      !version.current && may("editor") && file.presence === "present"
        ? button("Make it current…", () => restore(connection, file, version), { small: true })
        : nothing
    }`,
  }));
}

/**
 * @param {string} connection
 * @param {Schemas["Operation"][]} operations
 * @param {string} first
 * @returns {Entry[]}
 */
const ofOperations = (connection, operations, first) =>
  operations
    .filter((one) => (one.finished_at ?? one.started_at) >= first)
    .map((one) => ({
      at: one.finished_at ?? one.started_at,
      who: one.by,
      what: html`<span class="quiet"
        >${link(at(connection, "operations", one.id), words.kind(one.kind))} of the connection:
        ${words.state(one.state)}</span
      >`,
    }));

/**
 * @param {string} connection
 * @param {string} file
 * @param {number} version
 */
export const download = (connection, file, version) =>
  act(null, async () => {
    const path = "/v1/connections/{connection}/files/{file}/content";
    const { url } = await api.get(path, { connection, file }, { version });
    const anchor = document.createElement("a");
    anchor.href = url;
    anchor.rel = "noopener";
    anchor.target = "_blank";
    anchor.click();
  });

/**
 * @param {string} connection
 * @param {Schemas["File"]} file
 * @param {Schemas["HistoryEntry"]} entry
 */
async function rollBack(connection, file, entry) {
  const yes = await ask({
    title: "Back to an earlier state",
    yes: "Set it back",
    body: () =>
      html`<p>
        <b>${foreign(file.fields.name)}</b> will have its name, description, star, trash, folder and
        properties of ${time(entry.at, { clock: true })}, when it was called
        <b>${foreign(entry.fields.name)}</b>. Drive will get them as one edit. Sharing and content
        stay as they are.
      </p>`,
  });
  if (!yes) return;
  const path = "/v1/connections/{connection}/files/{file}/rollback";
  const body = { history_version: entry.version, reason: "set back in the console" };
  const headers = { "If-Match": api.tagOf(file.revision) };
  await act("It is set back, and owed to Drive.", () =>
    api.post(path, { connection, file: file.id }, body, { headers }),
  );
}

/**
 * @param {string} connection
 * @param {Schemas["File"]} file
 * @param {Schemas["Version"]} version
 */
async function restore(connection, file, version) {
  const yes = await ask({
    title: `Make version ${version.number} current`,
    yes: "Make it current",
    body: () =>
      html`<p>
        Drive will get the content of version ${version.number} as a new version. The present one
        stays in the list.
      </p>`,
  });
  if (!yes) return;
  const path = "/v1/connections/{connection}/files/{file}/restore";
  const body = { version: version.number, expected_version: file.content?.version ?? null };
  await act("Its content is restored, and owed to Drive.", () =>
    api.post(path, { connection, file: file.id }, body),
  );
}
