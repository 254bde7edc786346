// Conflicts: base, application and Drive beside one another, and the decision.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { app, ask, notify, Resource, soon, update } from "../app.js";
import { diff } from "../diff.js";
import * as format from "../format.js";
import { decided, outcomes, valueOf } from "../outcomes.js";
import { at, remember, withQuery } from "../router.js";
import { reveal, rows, scroll } from "../rows.js";
import { may } from "../session.js";
import { asOf, badge, button, choices, foreign, link, loaded, time } from "../ui.js";
import * as words from "../words.js";
import { settleAll } from "./settle.js";

/** @import { Schemas } from "../../types.js" */
/** @typedef {Schemas["Conflict"]} Conflict */

const ROW_PIXELS = 52;
const LIST_MAX = 10_000;
/** Conflicts whose decision can still be taken back, or is on its way. @type {Set<string>} */
const settling = new Set();
/** Of these, those whose decision was accepted. @type {Set<string>} */
const accepted = new Set();

/**
 * @param {Record<string, string>} within
 * @param {URLSearchParams} query
 * @returns {import("../app.js").Page}
 */
export function conflicts({ connection = "", conflict: named = "" }, query) {
  const status = query.get("status") ?? "open";
  const field = query.get("field") ?? "";
  const base = at(connection, "conflicts");
  const place = scroll();
  let selected = named || query.get("id") || "";
  /** What is known of the files, by id. @type {Map<string, Context>} */
  const files = new Map();
  /** Names of files, by id. @type {Map<string, string>} */
  const names = new Map();
  /** Names of folders, by id. @type {Map<string, string>} */
  const folders = new Map();

  const list = new Resource(async () => {
    const asked = /** @type {any} */ ({ status, field: field || undefined });
    const path = "/v1/connections/{connection}/conflicts";
    const found = await api.all(path, { connection }, asked, { max: LIST_MAX });
    const items = found.items;
    if (named && !items.some((one) => one.id === named)) {
      const one = "/v1/connections/{connection}/conflicts/{conflict}";
      const other = await api.get(one, { connection, conflict: named }).catch(() => null);
      if (other) items.unshift(other);
    }
    for (const context of files.values()) context.isOld = true;
    for (const id of accepted) {
      if (items.some((one) => one.id === id && one.status === "open")) continue;
      accepted.delete(id);
      settling.delete(id);
    }
    return { items, more: Boolean(found.next_cursor) };
  });

  const shown = () => (list.value?.items ?? []).filter((one) => !settling.has(one.id));
  const current = () => shown().find((one) => one.id === selected) ?? shown()[0];

  const folder = (/** @type {string} */ id) => {
    if (!folders.has(id)) {
      folders.set(id, id);
      const path = "/v1/connections/{connection}/files/{file}";
      api.get(path, { connection, file: id }, undefined, true).then(
        (file) => (folders.set(id, file.path ?? file.fields.name), update()),
        () => {},
      );
    }
    return folders.get(id) ?? id;
  };

  /** @param {string} id */
  const select = (id) => {
    selected = id;
    remember({ id });
    update();
  };
  /** @param {number} by */
  const step = (by) => {
    const all = shown();
    const index = all.findIndex((one) => one.id === current()?.id);
    const next = Math.min(Math.max(index + by, 0), all.length - 1);
    const to = all[next];
    if (!to) return;
    select(to.id);
    reveal(place, next, ROW_PIXELS);
  };

  /**
   * Decides, after ten seconds in which it can be taken back.
   * @param {Conflict} conflict
   * @param {Schemas["ResolutionBody"]} body
   * @param {unknown} what
   */
  const decide = (conflict, body, what) => {
    const all = shown();
    const index = all.findIndex((one) => one.id === conflict.id);
    const next = all[index + 1] ?? all[index - 1];
    settling.add(conflict.id);
    if (next) select(next.id);
    const undo = () => {
      settling.delete(conflict.id);
      select(conflict.id);
    };
    const run = async () => {
      const path = "/v1/connections/{connection}/conflicts/{conflict}/resolution";
      const tag = api.tagOf(conflict.moves);
      const on = { connection, conflict: conflict.id };
      await api.post(path, on, body, { headers: { "If-Match": tag } });
      notify(html`${foreign(nameOf(conflict))}: settled.`, "good");
      // It leaves the list with the next load.
      accepted.add(conflict.id);
      list.reload();
    };
    soon(html`${what}`, run, undo);
  };

  return {
    title: "Conflicts",
    connection,
    resources: [list],
    onKey: (event) => {
      const conflict = current();
      if (event.key === "j") step(1);
      else if (event.key === "k") step(-1);
      else if (conflict && isOpen(conflict) && may("editor")) {
        const outcome = outcomes(conflict, folder).find((one) => one.key === event.key);
        if (!outcome) return;
        decide(conflict, { choose: outcome.choose }, outcome.keep);
      } else return;
      event.preventDefault();
    },
    view: () => {
      const all = shown();
      const fields = [...new Set((list.value?.items ?? []).map((one) => one.field))].sort();
      const conflict = current();
      return html`
        <div class="bar">
          ${choices(
            "Which conflicts",
            [
              ["open", "Open"],
              ["resolved", "Settled"],
              ["all", "All"],
            ],
            status,
            (value) => withQuery({ status: value === "open" ? null : value, id: null }),
          )}
          ${
            field
              ? html`<span>Only ${words.field(field)} ${link(base, "All fields")}</span>`
              : fields.length > 1
                ? html`<span
                    >Only
                    ${fields
                      .slice(0, 8)
                      .map(
                        (one) =>
                          html`${link(withQuery({ field: one, id: null }), words.field(one))} `,
                      )}</span
                  >`
                : nothing
          }
          ${
            status === "open" && all.length > 1 && may("editor")
              ? button(`Settle ${format.number(all.length)} at once…`, () =>
                  settleAll(connection, all, { name: nameOf, folder, done: () => list.reload() }),
                )
              : nothing
          }
          ${asOf(list)}
        </div>
        ${loaded(list, () =>
          all.length === 0
            ? html`<p class="empty">
                ${
                  settling.size > 0
                    ? "Nothing else. What was decided can still be taken back."
                    : status === "open"
                      ? "No conflict is open."
                      : "No conflict."
                }
              </p>`
            : html`<div class="split">
                ${rows(place, "Conflicts", all, ROW_PIXELS, row)}
                ${conflict ? card(conflict) : nothing}
              </div>`,
        )}
        ${
          status === "open" && may("editor")
            ? html`<p class="quiet keys">
                <kbd>j</kbd> next <kbd>k</kbd> previous <kbd>1</kbd> <kbd>2</kbd>
                <kbd>3</kbd> decide <kbd>u</kbd> take back
              </p>`
            : nothing
        }
      `;
    },
  };

  /** @param {Conflict} conflict */
  function nameOf(conflict) {
    const { field, base, app: ours } = conflict;
    if (field === "name") return String(base ?? ours ?? "") || conflict.file_id;
    const known = files.get(conflict.file_id)?.name || names.get(conflict.file_id);
    if (known === undefined) {
      names.set(conflict.file_id, conflict.file_id);
      const path = "/v1/connections/{connection}/files/{file}";
      api.get(path, { connection, file: conflict.file_id }, undefined, true).then(
        (file) => (names.set(conflict.file_id, file.fields.name), update()),
        () => {},
      );
    }
    return known || conflict.file_id;
  }

  /** @param {Conflict} conflict */
  function row(conflict) {
    const isCurrent = conflict.id === current()?.id;
    return html`<button
      type="button"
      class="pick ${isCurrent ? "current" : ""}"
      aria-current=${isCurrent ? "true" : nothing}
      @click=${() => select(conflict.id)}
    >
      <span class="line">${foreign(nameOf(conflict))}</span>
      <span class="line quiet"
        >${words.field(conflict.field)} · ${time(conflict.opened_at)}
        ${conflict.unsure ? badge("warn", "unsure") : nothing}</span
      >
    </button>`;
  }

  /** @param {Conflict} conflict */
  function card(conflict) {
    const context = contextOf(connection, conflict, files);
    const value = (/** @type {unknown} */ v) => valueOf(conflict.field, v, folder);
    const before = String(value(conflict.base));
    const name = foreign(context.name || nameOf(conflict));
    return html`<article class="conflict" aria-label="Conflict">
      <div class="head">
        <h2>${link(at(connection, "files", conflict.file_id), name)}</h2>
        <span>${words.field(conflict.field)}</span>
        <span class="quiet">open since ${time(conflict.opened_at, { clock: true })}</span>
      </div>
      ${context.path ? html`<p class="quiet">${foreign(context.path)}</p>` : nothing}
      ${
        conflict.unsure
          ? html`<p class="note warn">
              Perhaps there is no conflict: an answer of Drive’s was lost, and what Drive has may be
              our own write. Compare the two sides; if they say the same, keep Drive’s.
            </p>`
          : nothing
      }
      ${
        conflict.held
          ? html`<p class="note">
              The rules leave the file out: it can be settled once it is in scope again.
            </p>`
          : nothing
      }
      ${resolver(conflict)}
      <div class="sides">
        ${side("Before", "What both agreed on", html`${foreign(before)}`, nothing)}
        ${side(
          "Application",
          nothing,
          changes(before, String(value(conflict.app))),
          context.app ?? html`<span class="quiet">who is no longer known</span>`,
        )}
        ${side(
          "Drive",
          nothing,
          changes(before, String(value(conflict.drive))),
          context.drive ?? html`<span class="quiet">who is no longer known</span>`,
        )}
      </div>
      ${
        Object.keys(conflict.owed ?? {}).length > 0
          ? html`<p class="quiet">
              The application had also set
              ${Object.keys(conflict.owed ?? {})
                .map(words.field)
                .join(", ")}.
            </p>`
          : nothing
      }
      ${isOpen(conflict) ? decisions(conflict) : html`<p>${decided(conflict, folder)}</p>`}
    </article>`;
  }

  /** @param {Conflict} conflict */
  function decisions(conflict) {
    if (conflict.status === "resolving") {
      return html`<p>Both are being kept; the second file is not in Drive yet.</p>`;
    }
    if (!may("editor")) return html`<p class="quiet">An editor can settle it.</p>`;
    const disabled = conflict.held ?? false;
    return html`<div class="outcomes">
      ${outcomes(conflict, folder).map(
        ({ choose, key, keep, effect }) =>
          html`<div>
            ${button(html`${keep}`, () => decide(conflict, { choose }, keep), {
              disabled,
              key,
            })}
            <p class="quiet">${effect}</p>
          </div>`,
      )}
      ${
        ["content", "existence", "parent"].includes(conflict.field)
          ? nothing
          : html`<div>
              ${button("Another value…", () => another(conflict), { disabled })}
              <p class="quiet">Both sides will get it.</p>
            </div>`
      }
    </div>`;
  }

  /** @param {Conflict} conflict */
  async function another(conflict) {
    const isFlag = conflict.field === "starred" || conflict.field === "trashed";
    const isRole = conflict.field.startsWith("permissions.");
    let text = conflict.app === null || conflict.app === undefined ? "" : String(conflict.app);
    const typed = (/** @type {Event} */ event) => {
      text = /** @type {HTMLInputElement} */ (event.target).value;
    };
    const options = isFlag
      ? ["true", "false"]
      : isRole
        ? ["", "reader", "commenter", "writer", "fileOrganizer", "organizer"]
        : null;
    const body = () =>
      html`<label
        >${words.field(conflict.field)}
        ${
          options
            ? html`<select @change=${typed}>
                ${options.map(
                  (one) =>
                    html`<option value=${one} ?selected=${one === text}>
                      ${isFlag ? (one === "true" ? "yes" : "no") : one || "no role"}
                    </option>`,
                )}
              </select>`
            : html`<textarea @input=${typed} .value=${text}></textarea>`
        }
      </label>`;
    const yes = await ask({ title: "Another value", body, yes: "Set it on both sides" });
    if (!yes) return;
    const value = isFlag ? text === "true" : isRole && text === "" ? null : text;
    decide(conflict, { value }, html`Set <b>${format.shown(value)}</b>`);
  }
}

/** @param {Conflict} conflict */
const isOpen = (conflict) => conflict.status === "open" || conflict.status === "resolving";

/**
 * Returns what came of asking the server that decides such conflicts.
 * @param {Conflict} conflict
 */
function resolver({ resolver }) {
  if (!resolver || resolver.status === "decided") return nothing;
  const webhook = may("operator")
    ? link(`/console/webhooks/${encodeURIComponent(resolver.endpoint)}`, "webhook")
    : "webhook";
  if (resolver.status === "waiting") {
    return html`<p class="note">
      It waits for a resolver: a ${webhook} was asked ${time(resolver.asked_at)}. If it does not
      decide it, a person has to, ${time(resolver.until)}; you can do so now.
    </p>`;
  }
  return html`<p class="note warn">
    ${foreign(resolver.detail ?? "The resolver did not decide it.")}
    <span class="quiet">Asked through a ${webhook} ${time(resolver.asked_at)}.</span>
  </p>`;
}

/**
 * @param {string} title
 * @param {unknown} sub
 * @param {unknown} value
 * @param {unknown} who
 */
const side = (title, sub, value, who) =>
  html`<section class="side">
    <h3>${title}</h3>
    ${sub === nothing ? nothing : html`<p class="quiet">${sub}</p>`}
    <p class="value">${value}</p>
    ${who === nothing ? nothing : html`<p class="by">${who}</p>`}
  </section>`;

/**
 * Returns a value with what differs from the one before, if anything of it is the same.
 * @param {string} before
 * @param {string} after
 */
function changes(before, after) {
  const parts = diff(before, after);
  if (!parts.some(({ kind, text }) => kind === "same" && text.trim() !== "")) return foreign(after);
  return html`<bdi class="foreign diff"
    >${parts.map(({ kind, text }) =>
      kind === "same"
        ? text
        : kind === "added"
          ? html`<ins>${text}</ins>`
          : html`<del>${text}</del>`,
    )}</bdi
  >`;
}

/**
 * @typedef {{ name: string, path: string, app?: unknown, drive?: unknown,
 *   isOld: boolean }} Context
 */

/**
 * Returns what is known of the file of a conflict, and who changed each side, when and through
 * what. It is asked for once somebody looks.
 * @param {string} connection
 * @param {Conflict} conflict
 * @param {Map<string, Context>} files
 */
function contextOf(connection, conflict, files) {
  const id = conflict.file_id;
  const known = files.get(id);
  if (known && !known.isOld) return known;
  /** @type {Context} */
  const context = { name: "", path: "", ...known, isOld: false };
  files.set(id, context);
  const within = { connection, file: id };
  const asked = { file: id, limit: 500 };
  const page = app.page;
  Promise.all([
    api.get("/v1/connections/{connection}/files/{file}", within),
    api.get("/v1/connections/{connection}/events", { connection }, asked).catch(() => null),
  ]).then(
    ([file, log]) => {
      context.name = file.fields.name;
      context.path = file.path ?? "";
      const about = (log?.items ?? []).filter((one) => one.data.fields?.includes(conflict.field));
      const ours = about.findLast(
        (one) => one.data.by !== "drive" && one.type !== "conflict:detected",
      );
      const theirs = about.findLast((one) => one.data.by === "drive");
      const by = file.fields.modified_by;
      if (ours) {
        context.app = html`${foreign(words.person(ours.data.by))}, ${time(ours.time)}, through the
        API`;
      }
      const when = file.fields.modified_at ?? theirs?.time;
      if (by || theirs) {
        context.drive = html`${foreign(by ?? "somebody")}, ${time(when)}, in Drive`;
      }
      if (app.page === page) update();
    },
    () => {},
  );
  return context;
}
