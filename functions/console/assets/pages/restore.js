// A folder, or all of a connection, as it was at a point in time.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { act, ask, Resource, update } from "../app.js";
import * as format from "../format.js";
import { valueOf } from "../outcomes.js";
import { at, go } from "../router.js";
import { may } from "../session.js";
import { asOf, button, facts, foreign, link, loaded, preview, table, time } from "../ui.js";
import * as words from "../words.js";

/** @import { Schemas } from "../../types.js" */
/** @typedef {Schemas["Operation"]} Operation */
/** Changes that came one soon after the other. @typedef {{ from: number, to: number,
 *   changes: number, files: Set<string>, by: Set<string> }} Burst */

const CHANGES = "file:created,file:modified,file:moved,file:deleted,file:restored,file:shared";
/** Changes with a longer pause between them are shown apart. */
const PAUSE_MILLIS = 2 * 60_000;
const BURSTS_MAX = 8;

/**
 * Returns the address of the page on which the time is chosen.
 * @param {string} connection
 * @param {string | null} [folder]
 * @param {number} [time]
 */
export function restoreAt(connection, folder, time) {
  const query = new URLSearchParams();
  if (folder) query.set("folder", folder);
  if (time) query.set("at", new Date(time).toISOString());
  return `${at(connection, "restore")}${query.size ? `?${query}` : ""}`;
}

/**
 * @param {Record<string, string>} within
 * @param {URLSearchParams} query
 * @returns {import("../app.js").Page}
 */
export function restore({ connection = "" }, query) {
  const folder = query.get("folder") ?? "";
  let chosen = Date.parse(query.get("at") ?? "") || 0;
  const place = new Resource(() => placeOf(connection, folder));
  const bursts = new Resource(() => burstsOf(connection, folder));
  const look = (/** @type {number} */ time) => begin(connection, folder || null, time, true);
  const typed = (/** @type {Event} */ event) => {
    chosen = Date.parse(/** @type {HTMLInputElement} */ (event.target).value) || 0;
    update();
  };
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (chosen) look(chosen);
  };
  return {
    title: "Restore",
    connection,
    resources: [place, bursts],
    view: () => html`
      <section>
        <h2>What</h2>
        ${loaded(
          place,
          (name) =>
            html`<p>
              ${name}${
                folder
                  ? html`, with all that is in it or was in it at that time.
                    ${link(restoreAt(connection, null, chosen), "All of the connection instead")}`
                  : html`. One folder is chosen in ${link(at(connection, "files"), "Files")}.`
              }
            </p>`,
        )}
        <p class="quiet">
          Names, folders, descriptions, stars, the trash, properties and contents become what they
          were, by edits that are owed to Drive. Nobody gets more access, and what was made since is
          not deleted. A restore can be undone by another one.
        </p>
      </section>
      <section>
        <h2>To when</h2>
        ${
          may("operator")
            ? html`<form class="bar" @submit=${submit}>
                <label
                  >As it was at
                  <input
                    type="datetime-local"
                    step="1"
                    required
                    .value=${chosen ? localTime(chosen) : ""}
                    @input=${typed}
                  />
                </label>
                <button class="primary" ?disabled=${!chosen}>Preview</button>
                <span class="quiet">A preview changes nothing.</span>
              </form>`
            : html`<p class="note">An operator can restore.</p>`
        }
        ${loaded(bursts, (bursts) => suggestions(bursts, folder, look))}
      </section>
      <p>${asOf(bursts)}</p>
    `,
  };
}

/**
 * @param {string} connection
 * @param {string} folder
 */
async function placeOf(connection, folder) {
  if (!folder) return html`All files of the connection`;
  const path = "/v1/connections/{connection}/files/{file}";
  const found = await api.get(path, { connection, file: folder }).catch((error) => {
    // The root of My Drive has no record.
    if (error instanceof api.Problem && error.status === 404) return null;
    throw error;
  });
  return html`<b>${foreign(found ? (found.path ?? found.fields.name) : "My Drive")}</b>`;
}

/** @param {number} time */
function localTime(time) {
  const date = new Date(time);
  const shifted = new Date(time - date.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 19);
}

/**
 * Returns the last times at which much or little was changed, newest first.
 * @param {string} connection
 * @param {string} folder
 */
async function burstsOf(connection, folder) {
  /** @type {Burst[]} */
  const bursts = [];
  let after = undefined;
  for (;;) {
    const asked = { types: CHANGES, folder: folder || undefined, after, limit: 500 };
    /** @type {Schemas["EventList"]} */
    const page = await api.get("/v1/connections/{connection}/events", { connection }, asked);
    for (const event of page.items) {
      const when = Date.parse(event.time);
      let last = bursts.at(-1);
      if (!last || when - last.to > PAUSE_MILLIS) {
        last = { from: when, to: when, changes: 0, files: new Set(), by: new Set() };
        bursts.push(last);
        if (bursts.length > BURSTS_MAX) bursts.shift();
      }
      last.to = when;
      last.changes += 1;
      last.files.add(event.subject ?? "");
      last.by.add(words.person(event.data.by));
    }
    if (page.next_cursor === page.head || page.next_cursor === after) return bursts.reverse();
    after = page.next_cursor ?? undefined;
  }
}

/**
 * @param {Burst[]} bursts
 * @param {string} folder
 * @param {(time: number) => void} look
 */
function suggestions(bursts, folder, look) {
  return html`<h3>Before the last changes</h3>
    <p class="quiet">
      ${
        folder
          ? "Changes of what is in the folder itself; the folders below it are not looked through."
          : "Changes of all files of the connection."
      }
    </p>
    ${table(
      "Before the last changes",
      ["Time", "What came after it", "By", html`<span class="unseen">Choose</span>`],
      bursts.map((burst) => {
        // Events have whole seconds.
        const before = burst.from - 1_000;
        const files = format.counted(burst.files.size, "file");
        return [
          time(before, { clock: true }),
          html`${format.counted(burst.changes, "change")} of ${files}
            <span class="quiet">within ${format.span(burst.to - burst.from + 1_000)}</span>`,
          foreign([...burst.by].join(", ")),
          may("operator") ? button("Preview", () => look(before), { small: true }) : nothing,
        ];
      }),
      "No change is known.",
    )}`;
}

/**
 * Begins a restore, or its preview, and shows it.
 * @param {string} connection
 * @param {string | null} folder
 * @param {number} time
 * @param {boolean} dry_run
 */
const begin = (connection, folder, time, dry_run) =>
  act(null, async () => {
    const body = { folder: folder ?? undefined, at: new Date(time).toISOString(), dry_run };
    const path = "/v1/connections/{connection}/files/restore";
    const begun = await api.post(path, { connection }, body);
    go(at(connection, "operations", begun.id));
  });

/** What becomes of a field, in a word. @param {Schemas["RestoreField"]} field */
function effect({ field, to }) {
  if (field === "name") return "renamed";
  if (field === "parent") return "moved";
  if (field === "trashed") return to ? "put into the trash" : "taken out of the trash";
  if (field === "content") return "overwritten with older content";
  if (field.startsWith("permissions.")) return "access reduced";
  return `${field.startsWith("properties.") ? "property" : words.field(field)} set back`;
}

/**
 * Returns what is set back, and in how many files, most first: "renamed 3, moved 1".
 * @param {Schemas["FindingList"]} [findings]
 */
function effects(findings) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { fields } of findings?.items ?? []) {
    const all = new Set((fields ?? []).filter((one) => !one.left).map(effect));
    for (const one of all) counts.set(one, (counts.get(one) ?? 0) + 1);
  }
  const most = [...counts].sort(([a, m], [b, n]) => n - m || a.localeCompare(b));
  const all = most.map(([what, files]) => `${what} ${format.number(files)}`).join(", ");
  return findings?.next_cursor ? `${all}, and more` : all;
}

/**
 * Returns what a restore is about, and what it found.
 * @param {string} connection
 * @param {Operation} one
 * @param {Schemas["FindingList"]} [findings]
 * @returns {[unknown, unknown][]}
 */
export function restoreFacts(connection, one, findings) {
  const { restore } = one;
  if (!restore) return [];
  const left = Object.entries(restore.left);
  const of = one.dry_run
    ? format.counted(restore.files, "file")
    : format.number(restore.to_restore);
  return [
    [
      "What",
      restore.folder
        ? link(at(connection, "files", restore.folder), "A folder, with all in it")
        : "All files of the connection",
    ],
    ["As it was at", time(restore.at, { clock: true })],
    [
      one.dry_run ? "Would be set back" : "Set back",
      html`<b>${format.number(one.dry_run ? restore.to_restore : restore.restored)}</b>
        <span class="quiet">of ${of}</span>`,
    ],
    ["What becomes of them", effects(findings) || html`<span class="quiet">nothing</span>`],
    [
      "Left as they are",
      left.length > 0
        ? left.map(([why, files]) => html`<p>${format.number(files)}: ${words.left(why)}</p>`)
        : html`<span class="quiet">none</span>`,
    ],
  ];
}

/**
 * Returns what can be done after a preview, and after a restore.
 * @param {string} connection
 * @param {Operation} one
 * @param {Schemas["FindingList"]} [findings]
 */
export function restoreActions(connection, one, findings) {
  const { restore } = one;
  if (!restore || !may("operator") || !words.ended(one.state)) return nothing;
  if (!one.dry_run) {
    // What was before it is the state of the moment before it began.
    const before = Date.parse(one.started_at) - 1;
    return restore.restored > 0
      ? html`<p>${link(restoreAt(connection, restore.folder, before), "Undo this restore…")}</p>`
      : nothing;
  }
  const other = restoreAt(connection, restore.folder, Date.parse(restore.at));
  const files = format.counted(restore.to_restore, "file");
  return html`<p class="buttons">
    ${
      one.state === "done" && restore.to_restore > 0
        ? button(`Set back ${files}…`, () => confirmed(connection, one, findings), {
            primary: true,
          })
        : nothing
    }
    ${link(other, "Choose another time")}
  </p>`;
}

/**
 * A restore of many files waits for a person, who sees which.
 * @param {string} connection
 * @param {Operation} one
 * @param {Schemas["FindingList"]} [findings]
 */
export function restoreConfirmation(connection, one, findings) {
  const { restore } = one;
  if (!restore) return nothing;
  const within = { connection, operation: one.id };
  const files = format.counted(restore.to_restore, "file");
  const base = "/v1/connections/{connection}/operations/{operation}";
  const confirm = async () => {
    if (await sure(one, findings)) {
      await act("They are set back.", () => api.post(`${base}/confirm`, within));
    }
  };
  return html`<div class="note warn">
    <p>
      Since ${time(one.awaiting_since, { clock: true })} it waits for a person: it would set back
      <b>${files}</b>, more than the connection lets it change unasked. Nothing has been changed.
    </p>
    ${
      may("operator")
        ? html`<div class="buttons">
            ${button(`Set back ${files}…`, confirm, { danger: true })}
            ${button("Set nothing back: cancel it", () =>
              act("Nothing was set back.", () => api.post(`${base}/cancel`, within)),
            )}
          </div>`
        : html`<p>An operator can confirm it.</p>`
    }
  </div>`;
}

/**
 * Asks a person, who sees what will be set back.
 * @param {Operation} one
 * @param {Schemas["FindingList"]} [findings]
 */
function sure({ restore, dry_run }, findings) {
  const files = format.counted(restore?.to_restore ?? 0, "file");
  const wanted = findings?.items.filter((one) => one.kind === "to_restore") ?? [];
  return ask({
    title: `Set back ${files}`,
    danger: true,
    yes: `Set back ${files}`,
    body: () => html`
      <p>
        These will be as they were at <b>${time(restore?.at, { clock: true })}</b>:
        ${effects(findings)}. What was changed since, by whomever, is undone, and stays in their
        history. ${dry_run ? "They are compared again when it begins." : nothing}
      </p>
      ${preview("Preview", wanted, (one) => foreign(one.name || one.file_id))}
    `,
  });
}

/**
 * Sets back what a preview has shown.
 * @param {string} connection
 * @param {Operation} one
 * @param {Schemas["FindingList"]} [findings]
 */
async function confirmed(connection, one, findings) {
  const { restore } = one;
  if (!restore || !(await sure(one, findings))) return;
  await begin(connection, restore.folder ?? null, Date.parse(restore.at), false);
}

/** Names of folders, by id. @type {Map<string, string>} */
const folders = new Map();

/**
 * Returns the name of a folder, once it is known.
 * @param {string} connection
 * @param {string} id
 */
function folderName(connection, id) {
  const known = folders.get(id);
  if (known !== undefined) return known;
  folders.set(id, id);
  const path = "/v1/connections/{connection}/files/{file}";
  api.get(path, { connection, file: id }, undefined, true).then(
    (file) => (folders.set(id, file.path ?? file.fields.name), update()),
    () => {},
  );
  return id;
}

/**
 * Returns the files of a restore: what becomes of each, and what is left, and why.
 * @param {string} connection
 * @param {Operation} one
 * @param {Schemas["FindingList"]} [findings]
 */
export function restoreTable(connection, one, findings) {
  if (!findings) return nothing;
  const folder = (/** @type {string} */ id) => folderName(connection, id);
  const value = (/** @type {string} */ field, /** @type {unknown} */ v) =>
    foreign(valueOf(field, v, folder));
  const change = (/** @type {Schemas["RestoreField"]} */ { field, from, to }) =>
    html`<p>${words.field(field)}: <s>${value(field, from)}</s> → <b>${value(field, to)}</b></p>`;
  return html`<section>
    <h2>${one.dry_run ? "What would become of each file" : "What becomes of each file"}</h2>
    ${table(
      "Files of the restore",
      ["File", "Set back", "In words"],
      findings.items.map((item) => () => {
        const { file_id: id, name, fields, detail } = item;
        const back = (fields ?? []).filter((field) => !field.left);
        return [
          id ? link(at(connection, "files", id), foreign(name || id)) : nothing,
          back.length > 0 ? back.map(change) : html`<span class="quiet">nothing</span>`,
          detail,
        ];
      }),
      words.ended(one.state) ? "No file differs from that time." : "None yet.",
    )}
    ${
      findings.next_cursor
        ? html`<p class="note">
            Only the first ${format.number(findings.items.length)} files are shown.
          </p>`
        : nothing
    }
  </section>`;
}
