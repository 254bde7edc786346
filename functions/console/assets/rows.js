// A list of which only the rows in sight are made.

import { html } from "./vendor/lit-html/lit-html.js";
import { update } from "./app.js";

/** Rows made beyond those in sight, above and below. Only after so many are others made. */
const SPARE = 8;

/**
 * What is known of a list on the screen.
 * @typedef {{ top: number, height: number }} Scroll
 */

/** @returns {Scroll} */
export const scroll = () => ({ top: 0, height: 600 });

/**
 * Returns a list whose rows all have the same height, in pixels.
 * @template T
 * @param {Scroll} at
 * @param {string} label
 * @param {readonly T[]} items
 * @param {number} rowHeight
 * @param {(item: T, index: number) => unknown} row
 */
export function rows(at, label, items, rowHeight, row) {
  const block = () => Math.floor(at.top / rowHeight / SPARE);
  const first = Math.max(0, (block() - 1) * SPARE);
  const last = Math.min(items.length, Math.ceil(at.height / rowHeight) + (block() + 2) * SPARE);
  const moved = (/** @type {Event} */ event) => {
    const target = /** @type {HTMLElement} */ (event.currentTarget);
    const [before, height] = [block(), at.height];
    at.top = target.scrollTop;
    at.height = target.clientHeight;
    if (block() !== before || at.height !== height) update();
  };
  const height = `height: ${rowHeight}px`;
  // Elements are used again for other rows: most of the time of scrolling would be making them.
  const seen = items.slice(first, last).map((item, n) => ({ item, index: first + n }));
  return html`<div class="rows" role="region" aria-label=${label} tabindex="0" @scroll=${moved}>
    <div class="space" .style=${`height: ${items.length * rowHeight}px`}>
      <div role="list" class="seen" .style=${`top: ${first * rowHeight}px`}>
        ${seen.map(
          ({ item, index }) =>
            html`<div
              role="listitem"
              class="row"
              aria-setsize=${items.length}
              aria-posinset=${index + 1}
              .style=${height}
            >
              ${row(item, index)}
            </div>`,
        )}
      </div>
    </div>
  </div>`;
}

/**
 * Scrolls a list so that a row is in sight.
 * @param {Scroll} at
 * @param {number} index
 * @param {number} rowHeight
 */
export function reveal(at, index, rowHeight) {
  const list = document.querySelector(".rows");
  if (!list) return;
  const top = index * rowHeight;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + rowHeight > list.scrollTop + list.clientHeight) {
    list.scrollTop = top + rowHeight - list.clientHeight;
  }
  at.top = list.scrollTop;
}
