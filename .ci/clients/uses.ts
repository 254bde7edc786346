// What callers write against the generated types: it must be accepted, or refused, as marked.
import type { components, operations } from "./api";

type Schemas = components["schemas"];

export const patches: Schemas["ConnectionPatch"][] = [
  {},
  { rules: { include: [], exclude: [{ name: "*.tmp" }, { mime_type: "video/*" }] } },
  { name: "Team", limits: null, subject: null },
  { limits: { writes_base_per_minute: 100, quota_per_minute: null } },
  { content: { enabled: true, exports: { "application/vnd.google-apps.document": null } } },
  { policies: { fields: { name: { last_writer_wins: { window_seconds: 5 } }, content: "keep_both", starred: null } } },
  // @ts-expect-error: a connection always has a name
  { name: null },
  // @ts-expect-error: the part of Drive can't be changed
  { scope: { type: "user" } },
];

export const scopes: Schemas["Scope"][] = [
  { type: "user" },
  { type: "shared_drive", drive_id: "0ABC" },
  // @ts-expect-error: a shared drive has an id
  { type: "shared_drive" },
];

export const edits: Schemas["FilePatch"][] = [
  { name: "Plan", description: null, properties: { stage: null }, permissions: { "user:ann@example.com": "writer" } },
  // @ts-expect-error: a file always has a name
  { name: null },
];

// The kind of a union tells its members.
export function reason(content: Schemas["Unstored"]): string {
  switch (content.state) {
    case "unavailable":
      return content.reason;
    case "skipped":
      return content.rule;
    default:
      return content.state;
  }
}

export const query: operations["list_files"]["parameters"]["query"] = { q: "plan", limit: 10, path: true };
