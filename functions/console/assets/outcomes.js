// What will be true after a decision of a conflict, in words.

import { html, nothing } from "./vendor/lit-html/lit-html.js";
import * as format from "./format.js";
import * as words from "./words.js";

/** @import { Schemas } from "../types.js" */
/** @typedef {Schemas["Conflict"]} Conflict */
/** @typedef {"app" | "drive" | "base"} Side */
/** @typedef {{ choose: Schemas["Choose"], key: string, keep: unknown, effect: string }} Outcome */

/**
 * Returns a value of a field as people say it.
 * @param {string} field
 * @param {unknown} value
 * @param {(id: string) => string} folder the name of a folder
 */
export function valueOf(field, value, folder) {
  const [, property] = /^(properties|permissions)\./.exec(field) ?? [];
  if (field === "starred") return value ? "with a star" : "without a star";
  if (field === "trashed") return value ? "in the trash" : "not in the trash";
  if (field === "existence") return existence(value);
  if (value === null || value === undefined) {
    return property === "permissions" ? "no role" : property ? "not set" : "nothing";
  }
  if (field === "description" && value === "") return "no description";
  if (field === "parent") return folder(String(value));
  if (field === "content" && typeof value === "string") return `content ${value.slice(0, 10)}`;
  return format.shown(value);
}

/** @param {unknown} value */
function existence(value) {
  if (value === "removed" || value === "deleted" || value === null) return "deleted";
  if (value === "present") return "it exists";
  return format.shown(value);
}

/**
 * Returns the decisions of a conflict, each with what follows from it.
 * @param {Conflict} conflict
 * @param {(id: string) => string} folder
 * @returns {Outcome[]}
 */
export function outcomes(conflict, folder) {
  const { field } = conflict;
  const value = (/** @type {Side} */ side) => valueOf(field, conflict[side], folder);
  const isContent = field === "content";
  /** @type {Outcome[]} */
  const all = [
    {
      choose: "app",
      key: "1",
      keep: html`Keep <b>${value("app")}</b>`,
      effect: ofDrive(field, conflict.app),
    },
    {
      choose: "drive",
      key: "2",
      keep: html`Keep <b>${value("drive")}</b>`,
      effect: ofApp(field, conflict.drive),
    },
    {
      choose: "base",
      key: "3",
      keep: html`Back to <b>${value("base")}</b>`,
      effect: "Both sides get what they agreed on before.",
    },
  ];
  if (field === "existence") return all.slice(0, 2);
  if (!isContent) return all;
  return [
    ...all,
    {
      choose: "both",
      key: "4",
      keep: html`Keep <b>both</b>`,
      effect: "Drive’s stays, and the application’s becomes a second file beside it.",
    },
    {
      choose: "merge",
      key: "5",
      keep: html`<b>Merge</b> the texts`,
      effect: "Only if they changed different lines.",
    },
  ];
}

/**
 * What Drive will have if the application's value is kept.
 * @param {string} field
 * @param {unknown} value
 */
function ofDrive(field, value) {
  if (field === "name") return "Drive will be renamed to it.";
  if (field === "parent") return "It will be moved there in Drive.";
  if (field === "trashed") {
    return value ? "It will go to Drive’s trash." : "It will be taken out of Drive’s trash.";
  }
  if (field === "existence") {
    return existence(value) === "deleted"
      ? "It will be deleted in Drive for good."
      : "What is owed is kept; Drive does not have the file.";
  }
  if (field === "content") return "Drive’s content will be replaced.";
  if (field.startsWith("permissions.")) {
    const who = words.person(field.slice("permissions.".length));
    return value === null ? `${who} will lose the role in Drive.` : `${who} will have it in Drive.`;
  }
  return "Drive will get it.";
}

/**
 * What the application will see if Drive's value is kept.
 * @param {string} field
 * @param {unknown} value
 */
function ofApp(field, value) {
  if (field === "existence") {
    return existence(value) === "deleted"
      ? "The application’s edits are given up."
      : "Nothing is deleted.";
  }
  if (field === "content") return "The application’s content stays as an older version.";
  return "Your application will see it; its own value is dropped.";
}

/**
 * Returns what was decided.
 * @param {Conflict} conflict
 * @param {(id: string) => string} folder
 */
export function decided(conflict, folder) {
  const { resolution, field } = conflict;
  if (conflict.status === "closed") return html`The sides agreed again without a decision.`;
  if (!resolution) return nothing;
  const value = valueOf(field, resolution.value, folder);
  const lost =
    resolution.choose === "app"
      ? valueOf(field, conflict.drive, folder)
      : resolution.choose === "drive"
        ? valueOf(field, conflict.app, folder)
        : null;
  const why = resolution.reason ? words.reason(resolution.reason) : "";
  const isResolved = conflict.resolver?.status === "decided";
  const by = isResolved ? "the resolver" : words.person(resolution.by);
  return html`Settled by ${by}: <b>${value}</b>${
      lost === null ? nothing : html`; <s>${lost}</s> was dropped`
    }. <span class="quiet">${why}</span>`;
}
