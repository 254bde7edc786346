// One file: both sides where they differ, who sees it and why, and its past.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { act, ask, Resource, update } from "../app.js";
import * as format from "../format.js";
import { at } from "../router.js";
import { may } from "../session.js";
import { asOf, badge, button, facts, foreign, link, loaded, table, time, why } from "../ui.js";
import * as words from "../words.js";
import { intentActions, intentState } from "./owed.js";
import { download, loadTimeline, timeline } from "./timeline.js";
import { fileBadges, FOLDER } from "./tree.js";
import { upload } from "./upload.js";

/** @import { Schemas } from "../../types.js" */
/** @typedef {Schemas["File"]} File */
/** @typedef {import("./timeline.js").Sources} Sources */

/**
 * @param {Record<string, string>} within
 * @returns {import("../app.js").Page}
 */
export function file({ connection = "", file: id = "" }) {
  const within = { connection, file: id };
  const one = new Resource(() => api.get("/v1/connections/{connection}/files/{file}", within));
  const reason = new Resource(() =>
    api.get("/v1/connections/{connection}/files/{file}/why", within),
  );
  const past = new Resource(() => loadTimeline(connection, id));
  return {
    title: "File",
    connection,
    resources: [one, reason, past],
    view: () => html`
      ${loaded(one, (file) => [head(connection, file, reason), sides(file), access(file)])}
      <section>
        <h2>What happened to it</h2>
        ${one.value ? loaded(past, timelineOf(connection, one.value)) : nothing}
      </section>
      <p>${asOf(one)}</p>
    `,
  };
}

/**
 * @param {string} connection
 * @param {File} file
 */
const timelineOf = (connection, file) => (/** @type {Sources} */ sources) =>
  timeline(connection, file, sources);

/**
 * @param {string} connection
 * @param {File} file
 * @param {Resource<Schemas["Why"]>} reason
 */
function head(connection, file, reason) {
  const { fields } = file;
  const isFolder = fields.mime_type === FOLDER;
  return html`<section>
    <div class="head">
      <h2>${foreign(fields.name)}</h2>
      ${fileBadges(file)}
      <span class="actions">${may("editor") ? edits(connection, file) : nothing}</span>
    </div>
    ${file.path ? html`<p class="quiet">${foreign(file.path)}</p>` : nothing} ${why(reason)}
    ${
      file.intent
        ? html`<p>
            ${intentState(connection, file)} ${file.intent.fields.map(words.field).join(", ")}
            ${
              file.intent.next_attempt_at
                ? html`<span class="quiet">next try ${time(file.intent.next_attempt_at)}</span>`
                : nothing
            }
            ${may("editor") ? intentActions(connection, file.id) : nothing}
          </p>`
        : nothing
    }
    ${
      file.conflicts.length > 0
        ? html`<p class="note warn">
            Both sides changed the same.
            ${file.conflicts.map((id) => link(at(connection, "conflicts", id), "Settle it"))}
          </p>`
        : nothing
    }
    ${facts([
      [
        "Kind",
        html`${words.mime(fields.mime_type)} <span class="quiet">${fields.mime_type}</span>`,
      ],
      [
        "Folder",
        fields.parent
          ? link(`${at(connection, "files")}?parent=${encodeURIComponent(fields.parent)}`, "Show")
          : "none",
      ],
      ["Owner", foreign(fields.owner ?? "–")],
      [
        "Last changed",
        html`${time(fields.modified_at)} by ${foreign(fields.modified_by ?? "somebody")}`,
      ],
      ["Created", time(fields.created_at)],
      ["Size", isFolder ? "–" : format.size(fields.size)],
      [
        "Content held",
        html`${
          file.content
            ? html`version ${file.content.version}
              ${button(
                "Download",
                () => download(connection, file.id, file.content?.version ?? 0),
                { small: true },
              )}`
            : html`<span class="quiet">none</span>`
        }
        ${
          may("editor") && takesContent(file)
            ? button("Upload…", () => upload(connection, file), { small: true })
            : nothing
        }`,
      ],
      ["Id", html`<code>${file.id}</code>`],
      ...shortcut(file),
    ])}
  </section>`;
}

/**
 * Folders, shortcuts and documents of Google's have no bytes of their own.
 * @param {File} file
 */
const takesContent = ({ presence, fields }) =>
  (presence === "present" || presence === "creating") &&
  !fields.mime_type.startsWith("application/vnd.google-apps.");

/**
 * @param {File} file
 * @returns {[unknown, unknown][]}
 */
function shortcut({ shortcut }) {
  if (!shortcut) return [];
  const name = shortcut.target?.path ?? shortcut.target?.name ?? shortcut.target_id;
  return [["Leads to", html`${foreign(name)} ${badge("quiet", shortcut.state)}`]];
}

/**
 * @param {string} connection
 * @param {File} file
 */
function edits(connection, file) {
  const within = { connection, file: file.id };
  const tag = api.tagOf(file.revision);
  const path = "/v1/connections/{connection}/files/{file}";
  const set = (/** @type {Schemas["FilePatch"]} */ body, /** @type {string} */ said) => () =>
    act(said, () => api.patch(path, within, body, tag));
  if (file.presence !== "present" && file.presence !== "creating") return nothing;
  const { starred, trashed } = file.fields;
  const small = { small: true };
  return html`
    ${button("Edit…", () => edit(connection, file), small)}
    ${button(
      starred ? "Remove the star" : "Star",
      set({ starred: !starred }, "Stored, and owed to Drive."),
      small,
    )}
    ${button(
      trashed ? "Take out of the trash" : "Move to the trash",
      set({ trashed: !trashed }, "Stored, and owed to Drive."),
      small,
    )}
    ${
      may("operator")
        ? button(
            "Delete for good…",
            async () => {
              const yes = await ask({
                title: "Delete for good",
                danger: true,
                yes: "Delete it",
                body: () =>
                  html`<p>
                    <b>${foreign(file.fields.name)}</b> will be deleted in Drive, not moved to the
                    trash. If somebody changes it there first, that is a conflict, and nothing is
                    deleted.
                  </p>`,
              });
              if (yes)
                await act("Its deletion is owed to Drive.", () => api.remove(path, within, tag));
            },
            { small: true, danger: true },
          )
        : nothing
    }
  `;
}

/**
 * @param {string} connection
 * @param {File} file
 */
async function edit(connection, file) {
  const { fields } = file;
  const wanted = {
    name: fields.name,
    description: fields.description,
    parent: fields.parent ?? "",
  };
  const typed = (/** @type {keyof typeof wanted} */ name) => (/** @type {Event} */ event) => {
    wanted[name] = /** @type {HTMLInputElement} */ (event.target).value;
    update();
  };
  const change = () => {
    /** @type {Schemas["FilePatch"]} */
    const body = {};
    if (wanted.name !== fields.name) body.name = wanted.name;
    if (wanted.description !== fields.description) body.description = wanted.description;
    if (wanted.parent !== (fields.parent ?? "")) body.parent = wanted.parent;
    return body;
  };
  const yes = await ask({
    title: "Edit",
    yes: "Store it",
    ready: () => Object.keys(change()).length > 0 && wanted.name !== "",
    body: () => html`
      <label>Name <input @input=${typed("name")} .value=${fields.name} /></label>
      <label
        >Description
        <textarea @input=${typed("description")} .value=${fields.description}></textarea>
      </label>
      <label
        >Id of the folder <input @input=${typed("parent")} .value=${fields.parent ?? ""}
      /></label>
      <p class="quiet">It is stored at once, and owed to Drive until Drive has it.</p>
    `,
  });
  if (!yes) return;
  const path = "/v1/connections/{connection}/files/{file}";
  await act("Stored, and owed to Drive.", () =>
    api.patch(path, { connection, file: file.id }, change(), `"${file.revision}"`),
  );
}

/**
 * The fields, with Drive's value where it is another.
 * @param {File} file
 */
function sides(file) {
  const { fields, drive } = file;
  const other = /** @type {Record<string, any>} */ (drive);
  /** @type {[string, unknown, unknown][]} */
  const rows = [
    ["name", fields.name, other["name"]],
    ["description", fields.description, other["description"]],
    ["starred", fields.starred, other["starred"]],
    ["trashed", fields.trashed, other["trashed"]],
  ];
  if ("parent" in other) rows.push(["parent", fields.parent, other["parent"]]);
  if ("content" in other) rows.push(["content", file.content?.sha256, other["content"]]);
  for (const kind of /** @type {const} */ (["properties", "permissions"])) {
    const theirs = other[kind] ?? {};
    const keys = new Set([
      ...(kind === "properties" ? Object.keys(fields[kind]) : []),
      ...Object.keys(theirs),
    ]);
    for (const key of [...keys].sort()) {
      rows.push([`${kind}.${key}`, fields[kind][key] ?? null, theirs[key]]);
    }
  }
  return html`<section>
    <h2>Both sides</h2>
    ${table(
      "Fields",
      ["Field", "Application", "Drive"],
      rows.map(([name, ours, theirs]) => [
        words.field(name),
        ours === null || ours === "" ? html`<span class="quiet">nothing</span>` : foreign(ours),
        theirs === undefined
          ? html`<span class="quiet">the same</span>`
          : html`<span class="differs"
              >${theirs === null || theirs === "" ? "nothing" : foreign(theirs)}</span
            >`,
      ]),
    )}
  </section>`;
}

/**
 * Who sees it, with which role, and where that comes from.
 * @param {File} file
 */
function access(file) {
  const { effective, permissions } = file;
  const all = Object.entries(effective?.permissions ?? {});
  return html`<section>
    <h2>Who has access</h2>
    ${
      effective && !effective.complete
        ? html`<p class="note">Not every folder above it is known, so there may be more.</p>`
        : nothing
    }
    ${table(
      "Access",
      ["Who", "Role", "Where from"],
      all.map(([who, grant]) => [
        foreign(words.person(who)),
        grant.role,
        grant.inherited
          ? html`inherited
            ${grant.inherited_from ? html`from <code>${grant.inherited_from}</code>` : nothing}`
          : "set on it",
      ]),
      permissions ? "Nobody is known." : "Drive does not show who has access.",
    )}
    ${
      file.permissions_left_out
        ? html`<p class="quiet">${format.number(file.permissions_left_out)} more are not kept.</p>`
        : nothing
    }
  </section>`;
}
