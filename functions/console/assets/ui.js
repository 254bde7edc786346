// Parts that several pages share.

import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { asCurl, callsMade, Problem } from "./api.js";
import { update } from "./app.js";
import * as format from "./format.js";

/** @typedef {"good" | "warn" | "bad" | "info" | "quiet"} Tone */

/**
 * Returns a time: how long ago, with the clock's time on hover; or the clock's time first.
 * @param {string | number | null | undefined} at
 * @param {{ clock?: boolean }} [options]
 */
export function time(at, { clock = false } = {}) {
  if (at === null || at === undefined) return html`<span class="quiet">never</span>`;
  const millis = typeof at === "number" ? at : Date.parse(at);
  const near = format.distance(millis, Date.now());
  const exact = `${format.clock(millis)} · ${format.utc(millis)}`;
  return html`<time datetime=${new Date(millis).toISOString()} title=${exact}
    >${clock ? format.clock(millis) : near}</time
  >`;
}

/**
 * @param {Tone} tone
 * @param {unknown} text
 * @param {string} [title]
 */
export const badge = (tone, text, title) =>
  html`<span class="badge ${tone}" title=${title ?? nothing}>${text}</span>`;

/**
 * Returns a link within the console.
 * @param {string} to
 * @param {unknown} text
 * @param {string} [className]
 */
export const link = (to, text, className) =>
  html`<a href=${to} class=${className ?? nothing}>${text}</a>`;

/**
 * Returns text of strangers: as text, with its direction kept to itself.
 * @param {unknown} value
 */
export const foreign = (value) => html`<bdi class="foreign">${format.shown(value)}</bdi>`;

/**
 * Returns what went wrong, in words.
 * @param {unknown} error
 */
export function problem(error) {
  if (error === null || error === undefined) return nothing;
  const text = error instanceof Error ? error.message : String(error);
  const cause = error instanceof Problem ? error.problem.cause : null;
  return html`<p class="problem" role="alert">
    ${text}${cause ? html` <span class="quiet">Cause ${cause}</span>` : nothing}
  </p>`;
}

/**
 * Returns what a resource shows once it is there.
 * @template T
 * @param {import("./app.js").Resource<T>} resource
 * @param {(value: T) => unknown} view
 */
export function loaded(resource, view) {
  if (resource.value === undefined) {
    return resource.error
      ? problem(resource.error)
      : html`<p class="loading" aria-busy="true">Loading…</p>`;
  }
  return html`${resource.error ? problem(resource.error) : nothing}${view(resource.value)}`;
}

/**
 * Returns as of when something is known.
 * @param {import("./app.js").Resource<any>} resource
 */
export const asOf = (resource) =>
  resource.at
    ? html`<span class="as-of ${resource.isOld ? "old" : ""}"
        >as of ${time(resource.at, { clock: true })}</span
      >`
    : nothing;

/**
 * Returns why something is as it is, and what a person can do.
 * @param {{ value?: import("../types.js").Schemas["Why"] }} resource
 */
export function why({ value }) {
  if (!value) return nothing;
  const reasons = [value, ...value.also];
  return reasons.map(
    ({ group, sentence, what_to_do, next_try_at: next }) =>
      html`<p class="note ${group === "needs_person" ? "warn" : ""}">
        ${foreign(sentence)}
        ${what_to_do ? html`<span class="quiet">${foreign(what_to_do)}</span>` : nothing}
        ${next ? html`<span class="quiet">Tried again ${time(next)}.</span>` : nothing}
      </p>`,
  );
}

/**
 * Returns a button.
 * @param {unknown} text
 * @param {() => unknown} onClick
 * @param {{ disabled?: boolean, primary?: boolean, danger?: boolean, title?: string,
 *   small?: boolean, key?: string }} [options]
 */
export function button(text, onClick, options = {}) {
  const kind = [
    options.primary ? "primary" : "",
    options.danger ? "danger" : "",
    options.small ? "small" : "",
  ];
  return html`<button
    type="button"
    class=${kind.join(" ")}
    ?disabled=${options.disabled ?? false}
    title=${options.title ?? nothing}
    aria-keyshortcuts=${options.key ?? nothing}
    @click=${onClick}
  >
    <span>${text}</span>${options.key ? html`<kbd>${options.key}</kbd>` : nothing}
  </button>`;
}

/**
 * Returns the calls behind a page.
 */
export function callsBehind() {
  const calls = callsMade();
  if (calls.length === 0) return nothing;
  const copy = (/** @type {Event} */ event, /** @type {string} */ text) => {
    const target = /** @type {HTMLElement} */ (event.currentTarget);
    navigator.clipboard.writeText(text).then(
      () => (target.textContent = "Copied"),
      () => (target.textContent = "Not allowed: select the text"),
    );
  };
  return html`<details class="calls">
    <summary>${format.counted(calls.length, "call")} behind this page</summary>
    <p class="quiet">
      <code>TOKEN</code> is a token of yours; with the local system,
      <code>export TOKEN=$(local token)</code>.
    </p>
    <ul>
      ${calls.map((call) => {
        const text = asCurl(call);
        return html`<li>
          <button type="button" class="small" @click=${(/** @type {Event} */ e) => copy(e, text)}>
            Copy as curl
          </button>
          <code>${text}</code>
        </li>`;
      })}
    </ul>
  </details>`;
}

/**
 * Returns a progress bar.
 * @param {string} label
 * @param {number} value
 * @param {number} max 0: not known
 */
export const progress = (label, value, max) =>
  max > 0
    ? html`<progress aria-label=${label} max=${max} value=${Math.min(value, max)}></progress>`
    : html`<progress aria-label=${label}></progress>`;

/**
 * Returns a row of choices, each a link that keeps the rest of the address.
 * @param {string} label
 * @param {[string, string][]} choices
 * @param {string} current
 * @param {(value: string) => string} to
 */
export const choices = (label, choices, current, to) =>
  html`<div class="choices" role="group" aria-label=${label}>
    ${choices.map(
      ([value, text]) =>
        html`<a href=${to(value)} aria-current=${value === current ? "true" : nothing}>${text}</a>`,
    )}
  </div>`;

/**
 * Returns terms with what they are.
 * @param {[unknown, unknown][]} rows
 */
export const facts = (rows) =>
  html`<dl class="facts">
    ${rows.map(
      ([term, what]) =>
        html`<div>
          <dt>${term}</dt>
          <dd>${what}</dd>
        </div>`,
    )}
  </dl>`;

/** So many items of a long list are shown, and so many more with each request for more. */
const PORTION = 50;
/** How many items of the long lists of the page are shown, by the lists' names. */
const portions = new Map();

/** Shows the first items of each long list again: there is another page. */
export const forgetPortions = () => portions.clear();

/**
 * Returns the items of a list that are shown, and what shows more of them: making all of them at
 * once would let everything else wait.
 * @template T
 * @param {string} name
 * @param {readonly T[]} items
 * @returns {{ shown: readonly T[], more: unknown }}
 */
export function portion(name, items) {
  const count = portions.get(name) ?? PORTION;
  const rest = items.length - count;
  if (rest <= 0) return { shown: items, more: nothing };
  const show = () => {
    portions.set(name, count + PORTION);
    update();
  };
  const text = `Show ${format.number(Math.min(rest, PORTION))} more`;
  const more = html`<p>
    ${button(text, show, { small: true })}
    <span class="quiet">${format.number(count)} of ${format.number(items.length)} are shown</span>
  </p>`;
  return { shown: items.slice(0, count), more };
}

/**
 * Returns the items of a list as lines of a preview.
 * @template T
 * @param {string} name
 * @param {readonly T[]} items
 * @param {(item: T) => unknown} line
 */
export function preview(name, items, line) {
  const { shown, more } = portion(name, items);
  return html`<ol class="preview">
      ${shown.map((item) => html`<li>${line(item)}</li>`)}
    </ol>
    ${more}`;
}

/**
 * Returns a list as a table. Wide ones scroll by themselves, and long ones are shown in portions.
 * @param {string} caption
 * @param {unknown[]} heads
 * @param {readonly (unknown[] | (() => unknown[]))[]} rows the cells; of a list that may be long,
 *   what makes them
 * @param {unknown} [empty]
 */
export function table(caption, heads, rows, empty = "Nothing.") {
  if (rows.length === 0) return html`<p class="empty">${empty}</p>`;
  const { shown, more } = portion(caption, rows);
  return html`<div class="wide" role="region" aria-label=${caption} tabindex="0">
      <table>
        <caption class="unseen">
          ${caption}
        </caption>
        <thead>
          <tr>
            ${heads.map((head) => html`<th scope="col">${head}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${shown.map((row) => {
            const cells = typeof row === "function" ? row() : row;
            return html`<tr>
              ${cells.map((cell) => html`<td>${cell}</td>`)}
            </tr>`;
          })}
        </tbody>
      </table>
    </div>
    ${more}`;
}
