// Many conflicts at once: what will be true is shown before it is done.

import { html } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { ask, notify, update } from "../app.js";
import * as format from "../format.js";
import { valueOf } from "../outcomes.js";
import { foreign, preview, problem, progress } from "../ui.js";
import * as words from "../words.js";

/** @import { Schemas } from "../../types.js" */
/** @typedef {Schemas["Conflict"]} Conflict */

/** The API decides up to 100 in one request. */
const AT_ONCE = 100;

/**
 * Asks for one decision of many conflicts, and carries it out.
 * @param {string} connection
 * @param {Conflict[]} conflicts
 * @param {{ name: (one: Conflict) => string, folder: (id: string) => string,
 *   done: () => void }} of
 */
export async function settleAll(connection, conflicts, { name, folder, done }) {
  const all = conflicts.filter((one) => one.status === "open" && !one.held);
  /** @type {"app" | "drive" | "base"} */
  let choose = "drive";
  const pick = (/** @type {Event} */ event) => {
    choose = /** @type {any} */ (/** @type {HTMLInputElement} */ (event.target).value);
    update();
  };
  const option = (/** @type {string} */ value, /** @type {string} */ text) =>
    html`<label class="row"
      ><input
        type="radio"
        name="side"
        value=${value}
        ?checked=${value === choose}
        @change=${pick}
      />
      ${text}</label
    >`;
  const becomes = (/** @type {Conflict} */ one) =>
    html`${foreign(name(one))}: ${words.field(one.field)} will be
      <b>${foreign(valueOf(one.field, one[choose], folder))}</b>,
      <s>${foreign(valueOf(one.field, one[choose === "app" ? "drive" : "app"], folder))}</s> is
      dropped`;
  const yes = await ask({
    title: `Settle ${format.counted(all.length, "conflict")}`,
    yes: `Settle ${format.number(all.length)}`,
    body: () => html`
      <fieldset>
        <legend>Keep for all of them</legend>
        ${option("drive", "Drive’s values: the application will see them")}
        ${option("app", "the application’s values: Drive will get them")}
        ${option("base", "what both agreed on before")}
      </fieldset>
      <p>These will be true:</p>
      ${preview("Preview", all, becomes)}
    `,
  });
  if (!yes) return;
  await carryOut(connection, all, choose);
  done();
}

/**
 * @param {string} connection
 * @param {Conflict[]} all
 * @param {"app" | "drive" | "base"} choose
 */
async function carryOut(connection, all, choose) {
  let settled = 0;
  /** @type {string[]} */
  const refusals = [];
  try {
    for (let start = 0; start < all.length; start += AT_ONCE) {
      const resolutions = all.slice(start, start + AT_ONCE).map(({ id }) => ({ id, choose }));
      notify(html`${progress("Settled", settled, all.length)} ${settled} of ${all.length}`, "good");
      const path = "/v1/connections/{connection}/conflicts/resolutions";
      const { results } = await api.post(path, { connection }, { resolutions });
      settled += results.filter((one) => one.status < 300).length;
      refusals.push(...results.flatMap((one) => (one.problem ? [one.problem.detail] : [])));
    }
  } catch (error) {
    notify(html`${format.number(settled)} were settled, then: ${problem(error)}`, "bad");
    return;
  }
  if (refusals.length === 0) notify(`${format.counted(settled, "conflict")} settled.`, "good");
  else {
    const why = [...new Set(refusals)].slice(0, 3).join("; ");
    notify(
      `${format.number(settled)} settled, ${format.number(refusals.length)} refused: ${why}`,
      "bad",
    );
  }
}
