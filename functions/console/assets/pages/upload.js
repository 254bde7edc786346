// The next content of a file, sent from this machine.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { ask, notify, reloadPage, update } from "../app.js";
import * as format from "../format.js";
import { foreign, progress } from "../ui.js";
import * as words from "../words.js";

/** @import { Schemas } from "../../types.js" */

/** The API takes no more in one request. */
const BYTES_MAX = 4 * 1024 * 1024;

/**
 * Asks for a file of this machine, and makes what is in it the content of a file of Drive.
 * @param {string} connection
 * @param {Schemas["File"]} file
 */
export async function upload(connection, file) {
  /** @type {File | null} */
  let picked = null;
  const pick = (/** @type {Event} */ event) => {
    picked = /** @type {HTMLInputElement} */ (event.target).files?.[0] ?? null;
    update();
  };
  const yes = await ask({
    title: "Upload content",
    yes: "Upload it",
    ready: () => picked !== null && picked.size <= BYTES_MAX,
    body: () => html`
      <label>File of this machine <input type="file" @change=${pick} /></label>
      ${picked ? effect(file, picked) : nothing}
    `,
  });
  if (yes && picked) await send(connection, file, picked);
}

/**
 * What will be true.
 * @param {Schemas["File"]} file
 * @param {File} picked
 */
function effect({ fields, content }, picked) {
  const size = format.size(picked.size);
  if (picked.size > BYTES_MAX) {
    return html`<p class="note warn">
      It has ${size}: up to ${format.size(BYTES_MAX)} can be sent from here. Put a larger one into
      Drive, from where it is mirrored, or send it in parts through the API.
    </p>`;
  }
  const other = picked.type && picked.type !== fields.mime_type;
  return html`<p>
      <b>${foreign(fields.name)}</b> will have the ${size} of ${foreign(picked.name)} as its
      content, here at once and in Drive as soon as it answers.
      ${content ? `Version ${content.version} stays in the list.` : nothing}
    </p>
    ${
      other
        ? html`<p class="note warn">
            It is of another type: ${foreign(words.mime(picked.type))}, and the file stays
            ${words.mime(fields.mime_type)}.
          </p>`
        : nothing
    }`;
}

/**
 * @param {string} connection
 * @param {Schemas["File"]} file
 * @param {File} picked
 */
async function send(connection, file, picked) {
  const shown = (/** @type {number} */ sent) =>
    notify(
      html`${progress("Sent", sent, picked.size)} ${format.size(sent)} of
      ${format.size(picked.size)} sent`,
      "good",
    );
  try {
    shown(0);
    const bytes = await picked.arrayBuffer();
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const headers = {
      "Content-SHA256": [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
      "Content-Type": file.fields.mime_type,
    };
    const within = { connection, file: file.id };
    const version = { expected_version: file.content?.version ?? 0 };
    const path = "/v1/connections/{connection}/files/{file}/content";
    await api.sendBytes(api.address(path, within, version), new Blob([bytes]), headers, shown);
    notify("It is stored here, and owed to Drive.", "good");
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    notify(html`Nothing was stored: ${foreign(why)}`, "bad");
  }
  reloadPage();
}
