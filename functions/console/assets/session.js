// Who is signed in. The ID token is in memory alone; what renews it is in the tab's own storage.

/** @import { Config } from "../types.js" */

const REFRESH = "drivesync.refresh";
const PENDING = "drivesync.sign-in";
/** A token is renewed this long before it ends. */
const EARLY_MILLIS = 5 * 60_000;
const ROLES = ["viewer", "editor", "operator", "admin"];

/** @typedef {{ id_token?: string, refresh_token?: string, expires_in?: number }} Tokens */
/** @typedef {{ subject: string, name: string, role: string }} Person */

/** @type {Config} */
let config;
let token = "";
let endsAt = 0;
/** @type {Person | null} */
let person = null;
/** @type {Promise<boolean> | null} */
let renewing = null;
/** @type {() => void} */
let changed = () => {};
/** Why nobody is signed in, in words. */
export let refusal = "";

/** Returns what the pages know of their system. */
export const settings = () => config;

/** Returns who is signed in. */
export const who = () => person;

/**
 * Returns whether the person who is signed in has a role, or a higher one.
 * @param {string} role
 */
export const may = (role) => person !== null && ROLES.indexOf(person.role) >= ROLES.indexOf(role);

/**
 * Signs in with what the address has, or with what the tab still knows.
 * @param {Config} given
 * @param {() => void} onChange
 */
export async function start(given, onChange) {
  config = given;
  changed = onChange;
  const login = new URLSearchParams(location.hash.slice(1)).get("login");
  const query = new URLSearchParams(location.search);
  if (login !== null && config.token_path) {
    history.replaceState(null, "", location.pathname + location.search);
    const done = await exchange({ grant_type: "authorization_code", code: login });
    if (done !== "refused") return;
    refusal = "The link was used before, or is older than ten minutes.";
  } else if (query.has("code") && query.has("state")) {
    await comeBack(query);
    return;
  } else if (query.has("error")) {
    refusal = query.get("error_description") ?? query.get("error") ?? "";
    history.replaceState(null, "", "/console");
  }
  if (sessionStorage.getItem(REFRESH)) await renew();
}

/** Returns a token that is valid for a while, or null. */
export async function bearer() {
  if (token && Date.now() > endsAt - EARLY_MILLIS) {
    // One that still lasts is used while the next is on its way.
    const next = renew();
    if (Date.now() > endsAt - 10_000) await next;
  }
  return token || null;
}

/** Asks for the next token. Returns whether there is one. */
export function renew() {
  const refresh = sessionStorage.getItem(REFRESH);
  if (!refresh) return Promise.resolve(false);
  renewing ??= exchange({ grant_type: "refresh_token", refresh_token: refresh })
    .then((outcome) => {
      if (outcome === "refused") {
        signOut();
        refusal = "The session has ended.";
      }
      return outcome === "done";
    })
    .finally(() => (renewing = null));
  return renewing;
}

/** Forgets who is signed in, in this tab. */
export function signOut() {
  sessionStorage.removeItem(REFRESH);
  token = "";
  person = null;
  refusal = "";
  changed();
}

/** Leads to where the issuer asks for a password (OpenID Connect, code flow with PKCE). */
export async function signIn() {
  const endpoints = await discover();
  const verifier = random();
  const state = random();
  const here = location.pathname + location.search;
  sessionStorage.setItem(PENDING, JSON.stringify({ verifier, state, here }));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const to = new URL(endpoints.authorization_endpoint);
  const query = {
    response_type: "code",
    client_id: config.client_id,
    redirect_uri: `${location.origin}/console`,
    scope: "openid email profile",
    state,
    code_challenge_method: "S256",
    code_challenge: base64url(new Uint8Array(digest)),
  };
  for (const [name, value] of Object.entries(query)) to.searchParams.set(name, value);
  location.assign(to);
}

/** @param {URLSearchParams} query */
async function comeBack(query) {
  const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? "null");
  sessionStorage.removeItem(PENDING);
  const isOurs = pending !== null && pending.state === query.get("state");
  history.replaceState(null, "", isOurs ? pending.here : "/console");
  if (!isOurs) {
    refusal = "The sign-in was not begun in this tab.";
    return;
  }
  const outcome = await exchange({
    grant_type: "authorization_code",
    code: query.get("code") ?? "",
    redirect_uri: `${location.origin}/console`,
    code_verifier: pending.verifier,
  });
  if (outcome !== "done") refusal = "The issuer gave no token.";
}

/** @returns {Promise<{ authorization_endpoint: string, token_endpoint: string }>} */
async function discover() {
  const issuer = (config.issuer ?? "").replace(/\/$/, "");
  const response = await fetch(`${issuer}/.well-known/openid-configuration`);
  if (!response.ok) throw new Error(`the issuer answered ${response.status}`);
  return response.json();
}

/**
 * Asks for tokens. An issuer that does not answer is asked again later.
 * @param {Record<string, string>} form
 * @returns {Promise<"done" | "refused" | "unreachable">}
 */
async function exchange(form) {
  try {
    const url = config.token_path ?? (await discover()).token_endpoint;
    const body = new URLSearchParams({ ...form, client_id: config.client_id });
    const response = await fetch(url, { method: "POST", body });
    if (response.status >= 500 || response.status === 429) return "unreachable";
    if (!response.ok) return "refused";
    keep(await response.json());
    return "done";
  } catch {
    return "unreachable";
  }
}

/** @param {Tokens} tokens */
function keep(tokens) {
  const claims = claimsOf(tokens.id_token ?? "");
  token = tokens.id_token ?? "";
  endsAt = Number(claims.exp ?? 0) * 1_000;
  if (tokens.refresh_token) sessionStorage.setItem(REFRESH, tokens.refresh_token);
  const role = String(claims[config.role_claim] ?? "");
  const subject = String(claims.sub ?? "");
  const name = String(claims.email ?? claims.name ?? subject);
  person = { subject, name, role: ROLES.includes(role) ? role : "viewer" };
  refusal = "";
  changed();
}

/**
 * @param {string} jwt
 * @returns {Record<string, unknown>}
 */
function claimsOf(jwt) {
  const part = (jwt.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(part), (c) => c.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/** @param {Uint8Array} bytes */
const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "");
