// The files of a folder, or those that a search finds.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { act, ask, Resource, update } from "../app.js";
import * as format from "../format.js";
import { at, go, withQuery } from "../router.js";
import { rows, scroll } from "../rows.js";
import { may } from "../session.js";
import { asOf, badge, button, foreign, link, loaded } from "../ui.js";
import * as words from "../words.js";
import { restoreAt } from "./restore.js";

/** @import { Schemas } from "../../types.js" */
/**
 * What a row shows of a file.
 * @typedef {Pick<Schemas["File"], "id" | "presence" | "in_scope" | "conflicts"> & {
 *   intent?: Pick<Schemas["Intent"], "status"> | null,
 *   effective?: Pick<Schemas["Effective"], "trashed"> | null,
 *   fields: Pick<Schemas["Fields"], "name" | "mime_type" | "modified_by" | "size" | "trashed" |
 *     "starred" | "parent"> }} File
 */

const ROW_PIXELS = 30;
const FILES_MAX = 100_000;
/** So many files are loaded one by one after an event; after more, the list. */
const TOUCHED_MAX = 20;
const SHORT_MILLIS = 800;
const LONG_MILLIS = 10_000;
export const FOLDER = "application/vnd.google-apps.folder";

/**
 * @param {Record<string, string>} within
 * @param {URLSearchParams} query
 * @returns {import("../app.js").Page}
 */
export function tree({ connection = "" }, query) {
  const q = query.get("q") ?? "";
  const trashed = query.get("trashed") ?? "";
  const excluded = query.get("excluded") ?? "";
  const isSearch = Boolean(q || trashed || excluded);
  const parent = query.get("parent") ?? "";
  const place = scroll();
  /** What is there of a list that is being loaded for the first time. @type {File[]} */
  let partial = [];
  let isLeft = false;
  const folder = new Resource(() => pathTo(connection, parent));
  /** The tops, if there are several. @type {{ id: string, name: string }[]} */
  let top = [];
  /**
   * @param {string} parent
   * @param {{ items: File[], more: boolean } | undefined} old
   */
  const list = async (parent, old) => {
    const asked = /** @type {any} */ ({
      parent: parent || undefined,
      q: q || undefined,
      trashed: trashed || undefined,
      excluded: excluded || undefined,
    });
    /** @type {File[]} */
    let items = [];
    let more = false;
    for await (const page of api.pages(
      "/v1/connections/{connection}/files",
      { connection },
      asked,
    )) {
      const fresh = page.items.map(slim).sort(compare);
      // Each page is put into its places by itself: sorting all at once would take seconds.
      await turn();
      items = merged(items, fresh);
      more = Boolean(page.next_cursor);
      // The first pages are shown while the others come; a list that is there stays until then.
      if (old === undefined) {
        partial = items;
        update();
      }
      if (items.length >= FILES_MAX || isLeft) break;
      await turn();
    }
    return { items, more };
  };
  const files = new Resource(async (old) => {
    if (!parent && !isSearch) {
      const found = await tops(connection);
      if (found.length === 1) return list(found[0]?.id ?? "", old);
      top = found;
      return { items: [], more: false };
    }
    return list(parent, old);
  });
  const shown = () => files.value?.items ?? partial;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let later;
  const soon = () => {
    later ??= setTimeout(
      () => {
        later = undefined;
        files.reload();
      },
      shown().length > 2_000 ? LONG_MILLIS : SHORT_MILLIS,
    );
  };
  /** @param {string} id */
  const touch = async (id) => {
    const path = "/v1/connections/{connection}/files/{file}";
    const asked = Date.now();
    const file = await api.get(path, { connection, file: id }, undefined, true).catch(() => null);
    if (!files.value) return;
    /** @type {File[]} */
    const items = files.value.items;
    const rest = items.filter((one) => one.id !== id);
    const belongs = file && file.fields.parent === parent && file.presence !== "removed";
    files.value = { ...files.value, items: belongs ? merged(rest, [slim(file)]) : rest };
    files.at = asked;
    update();
  };
  const search = (/** @type {Event} */ event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    go(withQuery({ q: String(form.get("q") ?? ""), parent: null, trashed: null, excluded: null }));
  };
  return {
    title: "Files",
    connection,
    resources: [files],
    onEvents: (_, events) => {
      const subjects = events.map((event) => event.subject ?? "");
      const ids = new Set(
        subjects.filter((one) => one.startsWith("files/")).map((one) => one.slice(6)),
      );
      if (ids.size === 0) return true;
      // A long list is not loaded again for a few files.
      if (files.value && ids.size <= TOUCHED_MAX && parent) {
        for (const id of ids) touch(id);
      } else soon();
      return true;
    },
    leave: () => {
      isLeft = true;
      clearTimeout(later);
    },
    view: () => html`
      <form class="bar" role="search" @submit=${search}>
        <label>Name contains <input name="q" type="search" .value=${q} /></label>
        <button>Search</button>
        ${link(at(connection, "files"), "All folders")}
        ${link(`${at(connection, "files")}?trashed=true`, "Trash")}
        ${link(`${at(connection, "files")}?excluded=true`, "Left out by rules")}
        ${
          may("editor") && parent
            ? button("New folder…", () => newFolder(connection, parent))
            : nothing
        }
        ${
          may("operator")
            ? link(restoreAt(connection, parent), "Restore to a point in time")
            : nothing
        }
      </form>
      <p class="crumbs">
        ${crumbs(connection, folder.value ?? [], { q, trashed, excluded })}
        <span class="quiet"
          >${format.counted(shown().length, "item")}${
            files.isLoading && !files.value ? ", loading…" : files.value?.more ? " or more" : ""
          }</span
        >
        ${asOf(files)}
      </p>
      ${top.map(
        ({ id, name }) =>
          html`<p>
            ${link(`${at(connection, "files")}?parent=${encodeURIComponent(id)}`, foreign(name))}
          </p>`,
      )}
      ${
        top.length > 0
          ? nothing
          : shown().length > 0
            ? html`<div class="files">
                <div class="row heads" aria-hidden="true">
                  <span>Name</span><span>Kind</span><span>Changed by</span><span>Size</span
                  ><span>State</span>
                </div>
                ${rows(place, "Files", shown(), ROW_PIXELS, (file) => row(connection, file))}
              </div>`
            : loaded(
                files,
                () =>
                  html`<p class="empty">${q ? "Nothing is found." : "The folder is empty."}</p>`,
              )
      }
    `,
  };
}

/**
 * Returns where the files of a connection begin: the user's own Drive, and each shared drive.
 * @param {string} connection
 */
async function tops(connection) {
  const within = { connection };
  const [status, sample] = await Promise.all([
    api.get("/v1/connections/{connection}/status", within, undefined, true),
    api.get("/v1/connections/{connection}/files", within, { limit: 100 }, true),
  ]);
  const drives = status.logs.flatMap(({ drive }) => (drive ? [drive] : []));
  /** @type {Map<string, string>} */
  const found = new Map(drives.map(({ id, name }) => [id, name ?? id]));
  const own = sample.items.find(({ fields }) => fields.parent && !fields.drive_id);
  let next = own?.fields.parent ?? "";
  for (let depth = 0; next && depth < 100; depth++) {
    const path = "/v1/connections/{connection}/files/{file}";
    const above = await api
      .get(path, { connection, file: next }, undefined, true)
      .catch(() => null);
    if (above?.fields.parent) next = above.fields.parent;
    else {
      found.set(next, above?.fields.name ?? "My Drive");
      break;
    }
  }
  return [...found].map(([id, name]) => ({ id, name }));
}

/**
 * Returns the folders from the top to this one.
 * @param {string} connection
 * @param {string} id
 */
async function pathTo(connection, id) {
  /** @type {{ id: string, name: string }[]} */
  const path = [];
  let next = id;
  while (next && path.length < 40) {
    const within = { connection, file: next };
    const path_ = "/v1/connections/{connection}/files/{file}";
    const file = await api.get(path_, within, undefined, true).catch(() => null);
    if (!file) break;
    path.unshift({ id: next, name: file.fields.name });
    next = file.fields.parent ?? "";
  }
  return path;
}

/**
 * @param {string} connection
 * @param {{ id: string, name: string }[]} path
 * @param {{ q: string, trashed: string, excluded: string }} of
 */
function crumbs(connection, path, { q, trashed, excluded }) {
  const base = at(connection, "files");
  if (q) return html`Names with ${foreign(q)} · `;
  if (trashed) return "In the trash · ";
  if (excluded) return "Left out by the rules · ";
  return html`${link(base, "Top")}
  ${path.map(
    ({ id, name }) => html`/ ${link(`${base}?parent=${encodeURIComponent(id)}`, foreign(name))} `,
  )}
  · `;
}

const ORDER = new Intl.Collator(undefined, { numeric: true });

/** @param {File} file */
const rank = (file) => (file.fields.mime_type === FOLDER ? 0 : 1);

/**
 * Folders first, then by name.
 * @param {File} a
 * @param {File} b
 */
const compare = (a, b) => rank(a) - rank(b) || ORDER.compare(a.fields.name, b.fields.name);

/**
 * Returns two sorted lists as one. The second one is much shorter: its places are searched for.
 * @param {File[]} items
 * @param {File[]} fresh
 */
function merged(items, fresh) {
  /** @type {File[]} */
  const all = [];
  let from = 0;
  for (const file of fresh) {
    let [low, high] = [from, items.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare(/** @type {File} */ (items[middle]), file) <= 0) low = middle + 1;
      else high = middle;
    }
    while (from < low) all.push(/** @type {File} */ (items[from++]));
    all.push(file);
  }
  while (from < items.length) all.push(/** @type {File} */ (items[from++]));
  return all;
}

/**
 * Returns what a row shows of a file: lists of all files have to fit into memory.
 * @param {Schemas["File"]} file
 * @returns {File}
 */
function slim({ id, presence, in_scope, conflicts, intent, effective, fields }) {
  const { name, mime_type, modified_by, size, trashed, starred, parent } = fields;
  return {
    id,
    presence,
    in_scope,
    conflicts,
    intent: intent && { status: intent.status },
    effective: effective && { trashed: effective.trashed },
    fields: { name, mime_type, modified_by, size, trashed, starred, parent },
  };
}

/** Lets the browser draw, and answer to the person in front of it. */
const turn = () => new Promise((later) => setTimeout(later));

/**
 * @param {string} connection
 * @param {File} file
 */
function row(connection, file) {
  const { fields } = file;
  const isFolder = fields.mime_type === FOLDER;
  const own = at(connection, "files", file.id);
  const to = isFolder ? `${at(connection, "files")}?parent=${encodeURIComponent(file.id)}` : own;
  return html`<span class="name"
      >${link(to, html`${isFolder ? html`<b>${foreign(fields.name)}</b>` : foreign(fields.name)}`)}
      ${isFolder ? link(own, "details", "more") : nothing}</span
    >
    <span class="quiet">${words.mime(fields.mime_type)}</span>
    <span class="quiet">${foreign(fields.modified_by ?? "")}</span>
    <span class="number">${isFolder ? "" : format.size(fields.size)}</span>
    <span class="state">${fileBadges(file)}</span>`;
}

/** @param {File} file */
export function fileBadges(file) {
  const { intent, conflicts, presence, fields, effective } = file;
  return html`
    ${conflicts.length > 0 ? badge("warn", "conflict") : nothing}
    ${intent?.status === "failed" ? badge("bad", "refused") : nothing}
    ${intent?.status === "owed" ? badge("info", "owed") : nothing}
    ${intent?.status === "held" && conflicts.length === 0 ? badge("warn", "held") : nothing}
    ${presence === "present" ? nothing : badge("bad", words.presence(presence))}
    ${file.in_scope === false ? badge("quiet", "left out") : nothing}
    ${
      fields.trashed
        ? badge("quiet", "trash")
        : effective?.trashed
          ? badge("quiet", "in a trashed folder")
          : nothing
    }
    ${fields.starred ? badge("quiet", "star") : nothing}
  `;
}

/**
 * @param {string} connection
 * @param {string} parent
 */
async function newFolder(connection, parent) {
  let name = "";
  const typed = (/** @type {Event} */ event) => {
    name = /** @type {HTMLInputElement} */ (event.target).value;
    update();
  };
  const yes = await ask({
    title: "New folder",
    yes: "Create it",
    ready: () => name.trim() !== "",
    body: () => html`<label>Name <input @input=${typed} /></label>`,
  });
  if (!yes) return;
  await act(html`${foreign(name)} is being created in Drive.`, () =>
    api.post(
      "/v1/connections/{connection}/files",
      { connection },
      { name, mime_type: FOLDER, parent },
    ),
  );
}
