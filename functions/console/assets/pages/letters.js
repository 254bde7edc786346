// Dead letters: what was set aside with its reason, and what becomes of it.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { act, ask, Resource, update } from "../app.js";
import * as format from "../format.js";
import { at, withQuery } from "../router.js";
import { may } from "../session.js";
import { asOf, badge, button, choices, foreign, link, loaded, time } from "../ui.js";
import * as words from "../words.js";

/** @import { Schemas } from "../../types.js" */
/** @typedef {Schemas["DeadLetter"]} Letter */

const AT_ONCE = 100;

/**
 * @param {Record<string, string>} _
 * @param {URLSearchParams} query
 * @returns {import("../app.js").Page}
 */
export function letters(_, query) {
  const status = query.get("status") ?? "parked";
  const connection = query.get("connection") ?? "";
  const list = new Resource(() => {
    const asked = /** @type {any} */ ({ status, connection: connection || undefined });
    return api.all("/v1/dead-letters", {}, asked, { max: 1_000 });
  });
  const follows = () =>
    connection
      ? [connection]
      : [...new Set((list.value?.items ?? []).map((one) => one.connection))];
  return {
    title: "Dead letters",
    follows,
    resources: [list],
    view: () => html`
      <div class="bar">
        ${choices(
          "Which dead letters",
          [
            ["parked", "Waiting"],
            ["redriven", "Sent again"],
            ["dropped", "Dropped"],
            ["all", "All"],
          ],
          status,
          (value) => withQuery({ status: value === "parked" ? null : value }),
        )}
        ${
          connection
            ? html`<span
                >Only of
                <code>${connection}</code> ${link(withQuery({ connection: null }), "All")}</span
              >`
            : nothing
        }
        ${asOf(list)}
      </div>
      ${loaded(list, ({ items }) =>
        items.length === 0
          ? html`<p class="empty">
              ${status === "parked" ? "Nothing was set aside." : "No such dead letter."}
            </p>`
          : html`${groups(items)}
              <ul class="cards">
                ${items.map(card)}
              </ul>`,
      )}
    `,
  };
}

/** By reason, sent again at once. @param {Letter[]} items */
function groups(items) {
  const waiting = items.filter((one) => one.status === "parked");
  if (waiting.length < 2 || !may("operator")) return nothing;
  /** @type {Map<string, Letter[]>} */
  const found = new Map();
  for (const one of waiting) found.set(one.reason, [...(found.get(one.reason) ?? []), one]);
  return html`<div class="bar">
    ${[...found].map(([reason, group]) =>
      button(html`Send ${format.number(group.length)} again: ${foreign(reason)}`, () =>
        redrive(group.map((one) => one.id)),
      ),
    )}
  </div>`;
}

/** @param {string[]} ids */
const redrive = (ids) =>
  act(`${format.counted(ids.length, "message")} sent again.`, async () => {
    for (let start = 0; start < ids.length; start += AT_ONCE) {
      const part = ids.slice(start, start + AT_ONCE);
      const { results } = await api.post("/v1/dead-letters/redrive", {}, { ids: part });
      const refused = results.find((one) => one.problem);
      if (refused?.problem) throw new Error(refused.problem.detail);
    }
  });

/** @param {Letter} letter */
function card(letter) {
  const isWaiting = letter.status === "parked";
  const state = badge("quiet", words.plain(letter.status));
  const { file_id: file } = letter;
  return html`<li class="card">
    <div class="head">
      <h2>${foreign(letter.reason)}</h2>
      ${isWaiting ? badge("warn", "waits for a decision") : state}
      ${
        isWaiting && may("operator")
          ? html`<span class="actions"
              >${button("Send again", () => redrive([letter.id]), { small: true })}
              ${button("Drop…", () => drop(letter), { small: true, danger: true })}</span
            >`
          : nothing
      }
    </div>
    <p>
      ${
        file
          ? html`File ${link(at(letter.connection, "files", file), html`<code>${file}</code>`)} ·`
          : nothing
      }
      <span class="quiet">
        ${letter.queue} · received ${format.counted(letter.receives, "time")} · sent again
        ${format.counted(letter.redrives, "time")} · first seen ${time(letter.first_seen_at)} · set
        aside ${time(letter.parked_at)}
      </span>
    </p>
    <details>
      <summary>Message</summary>
      <pre>${foreign(pretty(letter.body))}</pre>
    </details>
    <details>
      <summary>History</summary>
      <ol class="ticker">
        ${letter.history.map(
          (event) =>
            html`<li>
              ${time(event.at, { clock: true })} <b>${words.plain(event.event)}</b>
              ${event.by ? html`by ${foreign(words.person(event.by))}` : nothing}
              ${event.reason ? foreign(event.reason) : nothing}
            </li>`,
        )}
      </ol>
    </details>
  </li>`;
}

/** @param {Letter} letter */
async function drop(letter) {
  let reason = "";
  const typed = (/** @type {Event} */ event) => {
    reason = /** @type {HTMLInputElement} */ (event.target).value;
    update();
  };
  const yes = await ask({
    title: "Drop the message",
    danger: true,
    yes: "Drop it",
    ready: () => reason.trim() !== "",
    body: () =>
      html`<p>It will not be handled. Who dropped it, when and why is kept.</p>
        <label>Reason <input @input=${typed} maxlength="1000" /></label>`,
  });
  if (!yes) return;
  const path = "/v1/dead-letters/{letter}/drop";
  await act("Dropped.", () => api.post(path, { letter: letter.id }, { reason: reason.trim() }));
}

/** @param {string} body */
function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
