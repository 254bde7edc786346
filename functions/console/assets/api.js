// Calls of the HTTP API, typed by its description.

import { bearer, renew } from "./session.js";

/** @import { Answer, Body, InPath, InQuery, Schemas, With } from "../types.js" */

/** What follows the number in each tag of a table that was restored. */
let restored = "";

/**
 * Returns the tag of a state by its number.
 * @param {number} number
 */
export const tagOf = (number) => `"${number}${restored}"`;

/** How often a request that got no answer is sent again, under the same key. */
const REPEATS = 3;

/** What the API, or the network, has refused. */
export class Problem extends Error {
  /**
   * @param {number} status 0: there was no answer
   * @param {Partial<Schemas["Problem"]>} problem
   */
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `the API answered ${status}`);
    this.status = status;
    this.kind = (problem.type ?? "").replace("urn:drivesync:problem:", "");
    this.problem = problem;
  }

  /** True if there was no answer. */
  get isUnreachable() {
    return this.status === 0 || this.status === 502 || this.status === 503;
  }
}

/**
 * @typedef {{ method: string, url: string, body?: unknown,
 *   headers: Record<string, string> }} Call
 */

/** The calls behind the page that is shown, newest last. @type {Map<string, Call>} */
const calls = new Map();

/** Returns the calls behind the page that is shown. */
export const callsMade = () => [...calls.values()];

/** Forgets the calls of the page before. */
export const forgetCalls = () => calls.clear();

/**
 * Reads.
 * @template {With<"get">} P
 * @param {P} path
 * @param {InPath<P>} within
 * @param {InQuery<P, "get">} [query]
 * @param {boolean} [quiet] true if the call is not one behind the page that is shown
 * @returns {Promise<Answer<P, "get">>}
 */
export const get = (path, within, query, quiet = false) =>
  send("GET", address(path, within, query), undefined, {}, quiet);

/**
 * Reads the pages of a list, one after the other.
 * @template {With<"get">} P
 * @param {P} path
 * @param {InPath<P>} within
 * @param {InQuery<P, "get">} [query]
 * @returns {AsyncGenerator<Answer<P, "get">, void>}
 */
export async function* pages(path, within, query) {
  /** @type {any} */
  const asked = { limit: 1_000, .../** @type {any} */ (query) };
  do {
    /** @type {any} */
    const page = await get(path, within, asked);
    asked.cursor = page.next_cursor ?? undefined;
    yield page;
  } while (asked.cursor);
}

/**
 * Reads a list, up to a number of items.
 * @template {With<"get">} P
 * @param {P} path
 * @param {InPath<P>} within
 * @param {InQuery<P, "get">} [query]
 * @param {{ max?: number }} [options]
 * @returns {Promise<Answer<P, "get">>}
 */
export async function all(path, within, query, { max = 1_000 } = {}) {
  /** @type {any[]} */
  const items = [];
  /** @type {any} */
  let last;
  const asked = /** @type {any} */ ({ limit: Math.min(max, 1_000), .../** @type {any} */ (query) });
  for await (const page of pages(path, within, asked)) {
    last = page;
    items.push(...last.items);
    if (items.length >= max) break;
  }
  return { ...last, items };
}

/**
 * Writes, under a key of its own: a repeat changes nothing more.
 * @template {With<"post">} P
 * @param {P} path
 * @param {InPath<P>} within
 * @param {Body<P, "post">} [body]
 * @param {{ query?: InQuery<P, "post">, headers?: Record<string, string>,
 *   quiet?: boolean }} [options]
 * @returns {Promise<Answer<P, "post">>}
 */
export const post = (path, within, body, options = {}) =>
  send("POST", address(path, within, options.query), body, options.headers ?? {}, options.quiet);

/**
 * Changes members, if the thing is still what `tag` stands for.
 * @template {With<"patch">} P
 * @param {P} path
 * @param {InPath<P>} within
 * @param {Body<P, "patch">} body
 * @param {string} tag
 * @returns {Promise<Answer<P, "patch">>}
 */
export const patch = (path, within, body, tag) =>
  send("PATCH", address(path, within), body, { "If-Match": tag });

/**
 * Deletes, if the thing is still what `tag` stands for.
 * @template {With<"delete">} P
 * @param {P} path
 * @param {InPath<P>} within
 * @param {string} tag
 * @param {InQuery<P, "delete">} [query]
 * @returns {Promise<Answer<P, "delete">>}
 */
export const remove = (path, within, tag, query) =>
  send("DELETE", address(path, within, query), undefined, { "If-Match": tag });

/**
 * Returns the URL of a route.
 * @param {string} path
 * @param {Record<string, string>} within
 * @param {any} [query]
 */
export function address(path, within, query = {}) {
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(within[name] ?? ""));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== "") search.set(name, String(value));
  }
  return search.size ? `${filled}?${search}` : filled;
}

/**
 * Sends a request. One that got no answer is sent again under the same key.
 * @param {string} method
 * @param {string} url
 * @param {unknown} body
 * @param {Record<string, string>} headers
 * @param {boolean} [quiet]
 * @returns {Promise<any>}
 */
export async function send(method, url, body, headers, quiet = false) {
  const own = { ...headers };
  if (body !== undefined) own["Content-Type"] = "application/json";
  if (!quiet) note({ method, url, body, headers: own });
  if (method !== "GET") own["Idempotency-Key"] = crypto.randomUUID();
  const text = body === undefined ? undefined : JSON.stringify(body);
  return repeated(method, () => once(method, url, text, own));
}

/**
 * Sends bytes to the API, and tells how many of them are on their way.
 * @param {string} url
 * @param {Blob} bytes
 * @param {Record<string, string>} headers
 * @param {(sent: number) => void} onSent
 * @returns {Promise<any>}
 */
export function sendBytes(url, bytes, headers, onSent) {
  const own = { ...headers, "Idempotency-Key": crypto.randomUUID() };
  return repeated("POST", async () => {
    const token = await bearer();
    const sent = token ? { ...own, Authorization: `Bearer ${token}` } : own;
    return put("POST", url, bytes, sent, onSent);
  });
}

/**
 * Sends a part of an upload to where its URL leads.
 * @param {string} url
 * @param {Blob} bytes
 * @param {(sent: number) => void} onSent
 * @returns {Promise<any>}
 */
export const sendPart = (url, bytes, onSent) =>
  repeated("PUT", () => put("PUT", url, bytes, {}, onSent));

/**
 * Sends bytes once. `fetch` does not tell how many are on their way.
 * @param {string} method
 * @param {string} url
 * @param {Blob} bytes
 * @param {Record<string, string>} headers
 * @param {(sent: number) => void} onSent
 * @returns {Promise<any>}
 */
const put = (method, url, bytes, headers, onSent) =>
  new Promise((done) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded }) => onSent(loaded);
    request.onerror = () => done(new Problem(0, { detail: "The server does not answer." }));
    request.onload = () => {
      const { status, responseText } = request;
      const isJson = (request.getResponseHeader("Content-Type") ?? "").includes("json");
      const answer = isJson ? JSON.parse(responseText) : null;
      done(status >= 200 && status < 300 ? answer : new Problem(status, answer ?? {}));
    };
    request.send(bytes);
  });

/**
 * Sends a request until it is answered. What got no answer is sent again, and nothing is done
 * twice: it has the same key.
 * @param {string} method
 * @param {() => Promise<any>} once
 */
async function repeated(method, once) {
  let renewed = false;
  for (let turn = 1; ; turn++) {
    const problem = await once();
    if (!(problem instanceof Problem)) return problem;
    if (problem.status === 401 && !renewed && (await renew())) {
      renewed = true;
    } else if (method === "GET" || !problem.isUnreachable || turn >= REPEATS) {
      throw problem;
    } else {
      await new Promise((later) => setTimeout(later, 500 * turn));
    }
  }
}

/**
 * @param {string} method
 * @param {string} url
 * @param {string | undefined} body
 * @param {Record<string, string>} headers
 */
async function once(method, url, body, headers) {
  let response;
  try {
    const token = await bearer();
    const sent = token ? { ...headers, Authorization: `Bearer ${token}` } : headers;
    response = await fetch(url, { method, body, headers: sent });
  } catch {
    return new Problem(0, { detail: "The server does not answer." });
  }
  const at = response.headers.get("Drivesync-Restored");
  restored = at ? `-${at}` : "";
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  const answer = isJson ? await response.json().catch(() => null) : null;
  if (response.ok) return answer;
  return new Problem(response.status, answer ?? {});
}

/** @param {Call} call */
function note(call) {
  const key = `${call.method} ${call.url}`;
  calls.delete(key);
  calls.set(key, call);
  if (calls.size > 12) calls.delete(calls.keys().next().value ?? "");
}

/**
 * Returns a call as a command of curl.
 * @param {Call} call
 */
export function asCurl(call) {
  const quoted = (/** @type {string} */ text) => `'${text.replaceAll("'", "'\\''")}'`;
  const parts = ["curl -s"];
  if (call.method !== "GET") parts.push(`-X ${call.method}`);
  parts.push('-H "Authorization: Bearer $TOKEN"');
  for (const [name, value] of Object.entries(call.headers)) {
    parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  }
  parts.push(quoted(location.origin + call.url));
  if (call.body !== undefined) parts.push(`-d ${quoted(JSON.stringify(call.body))}`);
  return parts.join(" ");
}
