// What all pages share: the page that is shown, what it has loaded, and what waits to be done.

import { Problem } from "./api.js";

/** @import { Schemas } from "../types.js" */

/** A page's data is loaded again at most this often. */
const RELOAD_MILLIS = 800;
/** How long a decision can be taken back. */
export const TAKE_BACK_SECONDS = 10;

/**
 * @typedef {object} Page
 * @property {string} title
 * @property {() => unknown} view
 * @property {string} [connection] the connection that the page is about
 * @property {() => string[]} [follows] the connections whose events the page wants
 * @property {Resource<any>[]} [resources] what events load again
 * @property {(connection: string, events: Schemas["Event"][]) => boolean} [onEvents] takes events;
 *   false: the resources are loaded again
 * @property {(event: KeyboardEvent) => void} [onKey]
 * @property {() => void} [leave]
 */

/**
 * @typedef {{ text: unknown, until: number, run: () => Promise<unknown>,
 *   undo: () => void }} Pending
 */
/** @typedef {{ title: string, body: () => unknown, yes: string, danger: boolean,
 *   ready: () => boolean, done: (confirmed: boolean) => void }} Question */

/** @type {{ page: Page | null, pending: Set<Pending>, question: Question | null,
 *   notice: { text: unknown, tone: string } | null, ticker: [string, Schemas["Event"]][] }} */
export const app = { page: null, pending: new Set(), question: null, notice: null, ticker: [] };

/** @type {() => void} */
let draw = () => {};
let drawing = false;

/** @param {() => void} how */
export const drawWith = (how) => (draw = how);

/** Shows what has changed, with the next frame. */
export function update() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

/**
 * Something that is loaded, and as of when.
 * @template T
 */
export class Resource {
  /** @param {(old: T | undefined) => Promise<T>} load */
  constructor(load) {
    this.load = load;
    /** @type {T | undefined} */
    this.value = undefined;
    /** @type {unknown} */
    this.error = null;
    /** When what is shown was asked for. */
    this.at = 0;
    this.isLoading = false;
    this.isWanted = false;
    this.reload();
  }

  /** True if what is shown may have changed since, and can't be had now. */
  get isOld() {
    return this.error instanceof Problem && this.error.isUnreachable;
  }

  /** Loads it now, and once more if that was asked for meanwhile. */
  async reload() {
    if (this.isLoading) {
      this.isWanted = true;
      return;
    }
    this.isLoading = true;
    const asked = Date.now();
    try {
      this.value = await this.load(this.value);
      this.error = null;
      this.at = asked;
    } catch (error) {
      this.error = error;
      if (!(error instanceof Problem)) console.error(error);
    }
    this.isLoading = false;
    update();
    if (this.isWanted) {
      this.isWanted = false;
      setTimeout(() => this.reload(), RELOAD_MILLIS);
    }
  }
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let reloading;

/** Loads what the page shows again, soon and once. */
export function reloadPage() {
  reloading ??= setTimeout(() => {
    reloading = undefined;
    for (const resource of app.page?.resources ?? []) resource.reload();
  }, RELOAD_MILLIS / 2);
}

/**
 * Does what a person asked for, and says what became of it.
 * @param {unknown} done what is said afterwards
 * @param {() => Promise<unknown>} run
 */
export async function act(done, run) {
  try {
    await run();
    if (done) notify(done, "good");
    reloadPage();
    return true;
  } catch (error) {
    notify(error instanceof Error ? error.message : String(error), "bad");
    reloadPage();
    return false;
  }
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let fading;

/**
 * @param {unknown} text
 * @param {"good" | "bad"} tone
 */
export function notify(text, tone) {
  app.notice = { text, tone };
  clearTimeout(fading);
  fading = setTimeout(
    () => {
      app.notice = null;
      update();
    },
    tone === "bad" ? 15_000 : 5_000,
  );
  update();
}

/**
 * Does something after ten seconds, within which it can be taken back.
 * @param {unknown} text
 * @param {() => Promise<unknown>} run
 * @param {() => void} undo
 */
export function soon(text, run, undo) {
  /** @type {Pending} */
  const pending = { text, until: Date.now() + TAKE_BACK_SECONDS * 1_000, run, undo };
  app.pending.add(pending);
  setTimeout(() => finish(pending), TAKE_BACK_SECONDS * 1_000);
  update();
}

/** @param {Pending} pending */
function finish(pending) {
  if (!app.pending.delete(pending)) return;
  act(null, pending.run).then((done) => {
    if (!done) pending.undo();
  });
  update();
}

/**
 * Takes back what was decided last, or this.
 * @param {Pending} [pending]
 */
export function takeBack(pending = [...app.pending].at(-1)) {
  if (!pending || !app.pending.delete(pending)) return;
  pending.undo();
  update();
}

/** Does at once what still waits: the page is closed. */
export function finishAll() {
  for (const pending of [...app.pending]) finish(pending);
}

/**
 * Asks for a confirmation.
 * @param {{ title: string, body: () => unknown, yes: string, danger?: boolean,
 *   ready?: () => boolean }} question
 * @returns {Promise<boolean>}
 */
export function ask({ title, body, yes, danger = false, ready = () => true }) {
  return new Promise((resolve) => {
    const done = (/** @type {boolean} */ confirmed) => {
      app.question = null;
      update();
      resolve(confirmed);
    };
    app.question = { title, body, yes, danger, ready, done };
    update();
  });
}
