// The next content of a file, sent from this machine.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { ask, notify, reloadPage, update } from "../app.js";
import * as format from "../format.js";
import { settings } from "../session.js";
import { foreign, progress } from "../ui.js";
import * as words from "../words.js";

/** @import { Schemas } from "../../types.js" */

/** The API takes no more in one request. */
const DIRECT_BYTES_MAX = 4 * 1024 * 1024;
/** The API takes no more in parts. */
const PARTS_BYTES_MAX = 1024 * 1024 * 1024;
/** A URL that ends sooner is asked for anew. */
const EARLY_MILLIS = 5 * 60_000;

/** Pages can send parts only if they may call the bucket. */
const bytesMax = () => (settings().content_url ? PARTS_BYTES_MAX : DIRECT_BYTES_MAX);

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
    ready: () => picked !== null && picked.size <= bytesMax(),
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
  if (picked.size > bytesMax()) {
    return html`<p class="note warn">
      It has ${size}: up to ${format.size(bytesMax())} can be sent from here. Put a larger one into
      Drive, from where it is mirrored.
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
    const digest = await crypto.subtle.digest("SHA-256", await picked.arrayBuffer());
    const hash = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0"));
    const how = picked.size > DIRECT_BYTES_MAX ? inParts : atOnce;
    await how(connection, file, picked, hash.join(""), shown);
    notify("It is stored here, and owed to Drive.", "good");
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    notify(html`Nothing was stored: ${foreign(why)}`, "bad");
  }
  reloadPage();
}

/**
 * @param {string} connection
 * @param {Schemas["File"]} file
 * @param {File} picked
 * @param {string} hash
 * @param {(sent: number) => void} onSent
 */
function atOnce(connection, file, picked, hash, onSent) {
  const headers = { "Content-SHA256": hash, "Content-Type": file.fields.mime_type };
  const path = "/v1/connections/{connection}/files/{file}/content";
  const version = { expected_version: file.content?.version ?? 0 };
  const url = api.address(path, { connection, file: file.id }, version);
  return api.sendBytes(url, picked.slice(), headers, onSent);
}

/**
 * Sends one part after the other to the bucket, and has them joined.
 * @param {string} connection
 * @param {Schemas["File"]} file
 * @param {File} picked
 * @param {string} hash
 * @param {(sent: number) => void} onSent
 */
async function inParts(connection, file, picked, hash, onSent) {
  const within = { connection, file: file.id };
  const base = "/v1/connections/{connection}/files/{file}/uploads";
  const expected_version = file.content?.version ?? 0;
  const size_bytes = picked.size;
  let upload = await api.post(base, within, { size_bytes, content_hash: hash, expected_version });
  const on = { ...within, upload: upload.id };
  try {
    let sent = 0;
    for (let number = 1; number <= upload.part_count; number++) {
      const ends = Date.parse(upload.urls_expire_at) - EARLY_MILLIS;
      let part = upload.parts.find((part) => part.number === number);
      if (!part || Date.now() > ends) {
        upload = await api.get("/v1/connections/{connection}/files/{file}/uploads/{upload}", on, {
          from: number,
        });
        part = upload.parts.find((part) => part.number === number);
      }
      if (!part) throw new Error(`there is no URL of part ${number}`);
      const before = sent;
      const bytes = picked.slice(before, before + part.size_bytes);
      await api.sendPart(part.url, bytes, (more) => onSent(before + more));
      sent += part.size_bytes;
    }
    await api.post("/v1/connections/{connection}/files/{file}/uploads/{upload}/commit", on);
  } catch (error) {
    // It would expire by itself, after a day.
    await api.send("DELETE", api.address(`${base}/{upload}`, on), undefined, {}).catch(() => {});
    throw error;
  }
}
