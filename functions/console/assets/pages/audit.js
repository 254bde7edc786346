// Who did what: the acts of the audit trail.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { Resource } from "../app.js";
import { at, go, withQuery } from "../router.js";
import { asOf, button, foreign, link, loaded, table, time } from "../ui.js";
import * as words from "../words.js";

/** @import { Schemas } from "../../types.js" */
/** @typedef {Schemas["Act"] & Record<string, unknown>} Act */

/** Members that every act has, or that are shown in a column of their own. */
const SHOWN = new Set(
  "at by cause chain connection file from hash number previous role subject tenant what".split(" "),
);

/**
 * @param {Record<string, string>} _
 * @param {URLSearchParams} query
 * @returns {import("../app.js").Page}
 */
export function audit(_, query) {
  const asked = {
    what: query.get("what") ?? undefined,
    connection: query.get("connection") ?? undefined,
    by: query.get("by") ?? undefined,
    after: query.get("after") ?? undefined,
  };
  const acts = new Resource(() => api.all("/v1/audit", {}, asked, { max: 5_000 }));
  return {
    title: "Audit trail",
    resources: [acts],
    view: () => html`
      ${filters(query)}
      ${loaded(
        acts,
        ({ items, next_cursor }) =>
          html`${
            next_cursor
              ? html`<p class="note">
                  Only the oldest 5,000 acts are shown. Give a time to see later ones.
                </p>`
              : nothing
          }${list(items.toReversed())}`,
      )}
      <p class="bar">
        ${asOf(acts)} ${button("Load again", () => acts.reload(), { small: true })}
        ${button("Save as JSON lines", () => save(acts.value?.items ?? []), { small: true })}
      </p>
    `,
  };
}

/** @param {URLSearchParams} query */
function filters(query) {
  const change = (/** @type {Event} */ event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    const after = String(form.get("after") ?? "");
    go(
      withQuery({
        what: String(form.get("what") ?? ""),
        by: String(form.get("by") ?? ""),
        after: after ? new Date(after).toISOString() : null,
      }),
      { replace: true },
    );
  };
  return html`<form class="bar" @submit=${change}>
    <label
      >What <input name="what" .value=${query.get("what") ?? ""} placeholder="update_file"
    /></label>
    <label>By <input name="by" .value=${query.get("by") ?? ""} placeholder="p_…" /></label>
    <label>After <input name="after" type="datetime-local" /></label>
    <button>Show</button>
  </form>`;
}

/** @param {Schemas["Act"][]} acts */
const list = (acts) =>
  table(
    "Acts",
    ["When", "Who", "What", "On", "Details"],
    acts.map((act) => () => {
      const more = /** @type {Act} */ (act);
      const file = typeof more["file"] === "string" ? more["file"] : "";
      const { connection } = act;
      return [
        time(act.at, { clock: true }),
        html`${foreign(act.subject ?? act.by)} <span class="quiet">${act.role ?? ""}</span>`,
        words.plain(act.what),
        html`${connection ? link(at(connection), html`<code>${connection}</code>`) : nothing}
        ${
          act.connection && file
            ? link(at(act.connection, "files", file), html`<code>${file.slice(0, 12)}</code>`)
            : nothing
        }`,
        details(more),
      ];
    }),
    "No act is selected.",
  );

/** @param {Act} act */
function details(act) {
  const rest = Object.entries(act).filter(([name]) => !SHOWN.has(name));
  if (rest.length === 0) return nothing;
  const text = rest.map(([name, value]) => `${name}: ${JSON.stringify(value)}`).join("\n");
  const line = text.replaceAll("\n", " · ");
  if (line.length <= 90) return foreign(line);
  return html`<details>
    <summary>${foreign(`${line.slice(0, 90)}…`)}</summary>
    <pre>${foreign(text)}</pre>
  </details>`;
}

/** @param {unknown[]} acts */
function save(acts) {
  const lines = acts.map((act) => `${JSON.stringify(act)}\n`);
  const url = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = "acts.jsonl";
  anchor.click();
  URL.revokeObjectURL(url);
}
