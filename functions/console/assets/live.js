// Live events: a socket says sooner what the log has. The log is the guarantee.
//
// The rule of a reader: a frame that begins where we stand is applied; otherwise the log is read
// from where we stand. So a frame that is lost, doubled or out of order costs one request.

import * as api from "./api.js";

/** @import { Schemas } from "../types.js" */

const PING_MILLIS = 5 * 60_000;
const PAUSE_MIN_MILLIS = 500;
const PAUSE_MAX_MILLIS = 5_000;
/** A socket that is not open by then is given up. */
const OPEN_MILLIS = 8_000;
const SEEN_MAX = 2_000;

/** @typedef {Schemas["Event"]} Event */
/** @typedef {{ begun: boolean, place: string | null, readTo: boolean }} Place */

/** What is known of the socket: since when it is in this state. */
export const state = { status: "connecting", since: Date.now(), missed: 0 };

/** @type {Map<string, Place>} */
const places = new Map();
/** @type {Set<string>} */
const seen = new Set();
/** @type {WebSocket | null} */
let socket = null;
let running = false;
let wakeUp = () => {};
/** @type {(connection: string, events: Event[]) => void} */
let onEvents = () => {};
/** @type {(connection: string) => void} */
let onReset = () => {};
let onState = () => {};

/**
 * Sets who is told.
 * @param {{ onEvents: typeof onEvents, onReset: typeof onReset, onState: typeof onState }} to
 */
export function tell(to) {
  ({ onEvents, onReset, onState } = to);
}

/**
 * Follows the logs of these connections, and of no others.
 * @param {string[]} connections
 */
export function follow(connections) {
  const wanted = connections.slice(0, 20);
  for (const connection of [...places.keys()]) {
    if (wanted.includes(connection)) continue;
    places.delete(connection);
    tellSocket({ action: "unsubscribe", connection });
  }
  for (const connection of wanted) {
    if (places.has(connection)) continue;
    places.set(connection, { begun: false, place: null, readTo: true });
    tellSocket({ action: "subscribe", connection });
  }
  if (wanted.length > 0 && !running) run();
}

/** Tries at once, where the next try would come later. */
export const hurry = () => wakeUp();

/** @param {object} message */
function tellSocket(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

/** @param {"connecting" | "live" | "lost"} status */
function become(status) {
  if (state.status === status) return;
  state.status = status;
  state.since = Date.now();
  if (status === "live") state.missed = 0;
  onState();
}

async function run() {
  running = true;
  let pause = PAUSE_MIN_MILLIS;
  for (;;) {
    const wasLive = await connect().catch(() => false);
    become("lost");
    pause = wasLive ? PAUSE_MIN_MILLIS : Math.min(pause * 2, PAUSE_MAX_MILLIS);
    const later = pause * (0.5 + Math.random());
    await new Promise((done) => {
      wakeUp = () => done(undefined);
      setTimeout(done, later);
    });
  }
}

/** Opens a socket and reads it to its end. Returns whether it was open. */
async function connect() {
  const ticket = await api.post("/v1/live/tickets", {}, undefined, { quiet: true });
  const opened = new WebSocket(ticket?.url ?? "");
  socket = opened;
  let wasOpen = false;
  /** @type {Promise<void>} */
  let queue = Promise.resolve();
  const ping = setInterval(() => tellSocket({ action: "ping" }), PING_MILLIS);
  const late = setTimeout(() => opened.close(), OPEN_MILLIS);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let end;
  opened.onopen = () => {
    wasOpen = true;
    clearTimeout(late);
    for (const connection of places.keys()) tellSocket({ action: "subscribe", connection });
  };
  opened.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.expires_at && end === undefined) {
      end = setTimeout(() => opened.close(), Date.parse(frame.expires_at) - Date.now());
    }
    queue = queue.then(() => take(frame)).catch(() => opened.close());
  };
  await new Promise((closed) => (opened.onclose = closed));
  clearInterval(ping);
  clearTimeout(late);
  clearTimeout(end);
  if (socket === opened) socket = null;
  await queue;
  return wasOpen;
}

/**
 * One frame after the other.
 * @param {{ type: string, connection: string, after?: string | null, head?: string | null,
 *   events?: Event[], reason?: string }} frame
 */
async function take(frame) {
  const at = places.get(frame.connection);
  if (!at) return;
  if (frame.type === "hello") {
    if (at.begun) await readOn(frame.connection, at);
    else {
      at.begun = true;
      at.place = frame.head ?? null;
      // What is shown was perhaps loaded before that place.
      onReset(frame.connection);
    }
    become("live");
  } else if (frame.type === "events" && frame.after === at.place) {
    apply(frame.connection, frame.events ?? []);
    at.place = frame.head ?? at.place;
  } else if ((frame.type === "events" || frame.type === "behind") && frame.head !== at.place) {
    await readOn(frame.connection, at);
  }
}

/**
 * Reads the log from where we stand: nothing is missed.
 * @param {string} connection
 * @param {Place} at
 */
async function readOn(connection, at) {
  for (;;) {
    let page;
    try {
      const after = at.place ?? undefined;
      page = await api.get("/v1/connections/{connection}/events", { connection }, { after }, true);
    } catch (error) {
      if (error instanceof api.Problem && error.status === 410) {
        const newest = { after: "latest" };
        page = await api.get("/v1/connections/{connection}/events", { connection }, newest, true);
        at.place = page?.next_cursor ?? null;
        onReset(connection);
        return;
      }
      throw error;
    }
    apply(connection, page.items);
    const before = at.place;
    at.place = page.next_cursor ?? at.place;
    if (at.place === page.head || at.place === before) return;
  }
}

/**
 * An event may come twice, with the same id.
 * @param {string} connection
 * @param {Event[]} events
 */
function apply(connection, events) {
  const fresh = events.filter((event) => !seen.has(`${connection} ${event.id}`));
  for (const event of fresh) seen.add(`${connection} ${event.id}`);
  for (const id of seen) {
    if (seen.size <= SEEN_MAX) break;
    seen.delete(id);
  }
  if (fresh.some((event) => event.type === "sync:reset")) onReset(connection);
  if (fresh.length > 0) onEvents(connection, fresh);
}
