// The words of the API as sentences for people.

/** @import { Schemas } from "../types.js" */

/** @type {Record<string, string>} */
const EVENTS = {
  "file:created": "created",
  "file:modified": "changed",
  "file:moved": "moved",
  "file:deleted": "deleted",
  "file:restored": "restored",
  "file:access_lost": "access lost",
  "file:shared": "sharing changed",
  "content:stored": "content stored",
  "content:failed": "content could not be stored",
  "conflict:detected": "conflict opened",
  "conflict:changed": "conflict changed",
  "conflict:resolved": "conflict settled",
  "intent:failed": "Drive refused an edit",
  "intent:confirmed": "Drive has the edit",
  "sync:started": "sync began",
  "sync:progress": "sync goes on",
  "sync:completed": "sync ended",
  "sync:failed": "sync failed",
  "sync:heartbeat": "nothing changed",
  "sync:reset": "events were lost: everything is loaded again",
  "operation:awaiting_confirmation": "an operation asks for a confirmation",
  "connection:suspended": "connection suspended",
  "connection:resumed": "connection resumed",
  "dead_letter:parked": "a message was set aside",
};

/** @param {string} type */
export const event = (type) => EVENTS[type] ?? plain(type);

/** All types of events. */
export const EVENT_TYPES = Object.keys(EVENTS);

/**
 * Returns a word of the API without its underscores.
 * @param {string} word
 */
export const plain = (word) => word.replaceAll("_", " ").replaceAll(":", ": ");

/** @type {Record<string, string>} */
const KINDS = {
  initial_sync: "First sync",
  delta: "Reading changes",
  resync: "Full sync",
  audit: "Audit",
  leave: "Leaving a drive",
  mirror: "Content scan",
  erase: "Erasure",
  export: "Export",
  erase_person: "Erasure of a person",
  erase_tenant: "Erasure of the tenant",
  restore: "Restore",
};

/** @param {string} kind */
export const kind = (kind) => KINDS[kind] ?? plain(kind);

/** @type {Record<string, string>} */
const STATES = {
  examining: "looking at what there is",
  listing: "listing Drive",
  listed: "listed; waiting for records",
  comparing: "comparing both sides",
  verifying: "checking differences again",
  awaiting_confirmation: "waits for a confirmation",
  repairing: "repairing",
  restoring: "setting files back",
  waiting: "waiting for its turn",
  erasing: "erasing",
  draining: "letting earlier work end",
  exporting: "writing files",
  ready: "ready",
  cancelling: "being cancelled",
  done: "done",
  cancelled: "cancelled",
  failed: "failed",
};

/** @param {string} state */
export const state = (state) => STATES[state] ?? plain(state);

/** Whether an operation has ended. @param {string} state */
export const ended = (state) => ["done", "cancelled", "failed", "ready"].includes(state);

/** @type {Record<string, string>} */
const FINDINGS = {
  intent_not_due: "An owed edit had no time for its next attempt",
  intent_overdue: "An owed edit was not attempted when it was due",
  file_misplaced: "A file's record was in the wrong list",
  conflict_unrecorded: "A file names a conflict that has no record",
  conflict_stray: "A conflict is open that its file does not name",
  conflict_of_nobody: "A conflict is open on a file that is gone",
  log_not_due: "A change log had no time for its next reading",
  log_not_read: "A change log was not read when it was due",
  cursor_ahead: "A cursor was ahead of what is stored",
  channel_lapsed: "A channel for notifications had ended",
  channel_missing: "A channel for notifications was missing",
  operation_stalled: "An operation made no progress",
  operation_abandoned: "An operation was left by its connection",
};

/** @param {string} kind */
export const finding = (kind) => FINDINGS[kind] ?? plain(kind);

/** Why a restore leaves something as it is. @type {Record<string, string>} */
const LEFT = {
  made_since: "made since",
  state_not_known: "what they were is not known",
  purged: "deleted for good",
  access_lost: "out of reach",
  moved_away: "moved to a drive that is not connected",
  out_of_scope: "left out by the rules",
  deleting: "being deleted by the application",
  conflict: "held by an open conflict",
  changed_meanwhile: "changed after they were listed",
  widens_sharing: "somebody would get more access",
  permissions_not_known: "Drive does not show who has access",
  content_not_held: "the content of that time is not stored",
  content_not_mirrored: "content is not mirrored",
  document: "the content of Google’s documents can’t be written",
  folder_gone: "their folder is gone",
  not_writable: "Drive would refuse it",
};

/** @param {string} reason */
export const left = (reason) => LEFT[reason] ?? plain(reason);

/** @type {Record<string, string>} */
const DRIFT = {
  missing_here: "in Drive, not here",
  missing_there: "here, not in Drive",
  stale: "older here",
  differing: "differs",
  not_verified: "not verified",
};

/** @param {string} kind */
export const drift = (kind) => DRIFT[kind] ?? plain(kind);

/** @type {Record<string, string>} */
const PRESENCE = {
  present: "present",
  creating: "being created in Drive",
  removed: "deleted",
  access_lost: "out of reach: access was lost",
  moved_away: "moved to a drive that is not connected",
};

/** @param {string} presence */
export const presence = (presence) => PRESENCE[presence] ?? plain(presence);

/** @type {Record<string, string>} */
const FIELDS = {
  name: "name",
  description: "description",
  starred: "star",
  trashed: "trash",
  parent: "folder",
  content: "content",
  existence: "existence",
};

/**
 * Returns a field's name: `permissions.user:ann@example.com` is "role of ann@example.com".
 * @param {string} field
 */
export function field(field) {
  const [, property] = /^properties\.(.*)$/s.exec(field) ?? [];
  if (property !== undefined) return `property ${property}`;
  const [, principal] = /^permissions\.(.*)$/s.exec(field) ?? [];
  if (principal !== undefined) return `role of ${person(principal)}`;
  return FIELDS[field] ?? field;
}

/**
 * Returns a principal or an actor without its kind.
 * @param {string} who
 */
export function person(who) {
  if (who === "drive") return "Drive";
  if (who === "app") return "the application";
  if (who === "anyone") return "anyone with the link";
  const [, kind, name] = /^(user|group|domain|policy):(.*)$/s.exec(who) ?? [];
  if (kind === "group") return `the group ${name}`;
  if (kind === "domain") return `everybody at ${name}`;
  if (kind === "policy") return `the policy ${plain(name ?? "")}`;
  return name ?? who;
}

/** @type {Record<string, string>} */
const REASONS = {
  userRateLimitExceeded: "too many requests of this user",
  rateLimitExceeded: "too many requests",
  storageQuotaExceeded: "the storage is full",
  insufficientFilePermissions: "the connection's user may not edit the file",
  insufficientPermissions: "the connection's user may not do that",
  invalidSharingRequest: "nobody can be given access under that address",
  conditionNotMet: "the file had changed meanwhile",
  notFound: "Drive does not find the file",
  teamDriveFileLimitExceeded: "the shared drive is full",
  cannotShareTeamDriveFile: "the shared drive does not allow it",
  sharingRateLimitExceeded: "too many changes of sharing",
};

/** @param {string | null | undefined} reason */
export const reason = (reason) =>
  reason ? (REASONS[reason] ? `${REASONS[reason]} (${reason})` : reason) : "no reason was given";

/**
 * Returns a policy in words.
 * @param {Schemas["Policy"] | undefined} policy
 */
export function policy(policy) {
  if (policy === undefined) return "a person decides";
  if (typeof policy === "object" && "webhook" in policy) {
    const { seconds_max } = policy.webhook;
    return `a server of yours is asked, and a person if it does not decide within ${seconds_max} s`;
  }
  if (typeof policy === "object") {
    const seconds = policy.last_writer_wins.window_seconds;
    return `the last writer wins within ${seconds} s, otherwise a person decides`;
  }
  return (
    {
      manual: "a person decides",
      drive_wins: "Drive's value wins",
      app_wins: "the application's value wins",
      most_restrictive: "the lower role wins",
      keep_both: "both contents are kept",
    }[policy] ?? plain(policy)
  );
}

/**
 * Returns a rule in words.
 * @param {Schemas["Rule"]} rule
 */
export function rule(rule) {
  if ("folder" in rule) return `everything in the folder ${rule.folder}`;
  if ("name" in rule) return `everything named ${rule.name}, and what lies below it`;
  return `files of the type ${rule.mime_type}`;
}

/**
 * Returns a MIME type in a word.
 * @param {string} type
 */
export function mime(type) {
  const google = type.replace("application/vnd.google-apps.", "");
  if (google !== type) return google === "folder" ? "folder" : `Google ${google}`;
  const [, last] = /([^/.+-]+)$/.exec(type) ?? [];
  if (type === "application/octet-stream") return "file";
  return last === "plain" ? "text" : (last ?? type);
}
