// The settings of a connection, edited with a preview of what will follow.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { act, ask, Resource, update } from "../app.js";
import * as format from "../format.js";
import { at } from "../router.js";
import { may } from "../session.js";
import { asOf, badge, button, facts, foreign, link, loaded, preview, table } from "../ui.js";
import * as words from "../words.js";

/** @import { Schemas } from "../../types.js" */
/** @typedef {Schemas["Connection"]} Connection */
/** @typedef {"include" | "exclude"} Which */

/** A preview looks at this many files. */
const PREVIEW_MAX = 2_000;
/** A resolver has so long for its answer if nothing else is said, and at most a day. */
const RESOLVER_SECONDS = 60;
const RESOLVER_SECONDS_MAX = 86_400;
const POLICIES = ["manual", "drive_wins", "app_wins", "most_restrictive", "keep_both"];
/** What a rule asks for, by its kind. @type {Record<string, string>} */
const ASKED = {
  name: "Name, with * and ?",
  folder: "Id of the folder",
  mime_type: "MIME type, with *",
};
const FIELDS = "name description starred trashed parent properties permissions content existence";

/**
 * @param {Record<string, string>} within
 * @returns {import("../app.js").Page}
 */
export function settings({ connection: id = "" }) {
  const within = { connection: id };
  const one = new Resource(() => api.get("/v1/connections/{connection}", within));
  return {
    title: "Settings",
    connection: id,
    resources: [one],
    view: () =>
      html`${loaded(
          one,
          (found) => html`
            ${
              may("operator")
                ? nothing
                : html`<p class="note">An operator can change these settings.</p>`
            }
            ${rules(found)} ${policies(found)} ${removals(found)} ${content(found)}
            ${general(found)}
          `,
        )}
        <p>${asOf(one)}</p>`,
  };
}

/**
 * @param {Connection} of
 * @param {Schemas["ConnectionPatch"]} body
 */
const change = (of, body) =>
  act("Stored.", () =>
    api.patch("/v1/connections/{connection}", { connection: of.id }, body, `"${of.revision}"`),
  );

/** @param {Connection} of */
function rules(of) {
  const include = of.rules.include ?? [];
  const exclude = of.rules.exclude ?? [];
  const all = [
    ...include.map((rule) => ({ which: /** @type {Which} */ ("include"), rule })),
    ...exclude.map((rule) => ({ which: /** @type {Which} */ ("exclude"), rule })),
  ];
  const verb = exclude.length === 1 ? "leaves" : "leave";
  const without = (/** @type {Schemas["Rule"]} */ gone) => ({
    rules: {
      include: include.filter((rule) => rule !== gone),
      exclude: exclude.filter((rule) => rule !== gone),
    },
  });
  return html`<section>
    <div class="head">
      <h2>What it takes in</h2>
      <span class="actions">
        ${
          may("operator")
            ? html`${button("Take in only…", () => addRule(of, "include"), { small: true })}
              ${button("Leave out…", () => addRule(of, "exclude"), { small: true })}`
            : nothing
        }
      </span>
    </div>
    <p>
      ${
        include.length === 0
          ? "Everything that its user sees in Drive"
          : `Only what one of ${format.counted(include.length, "rule")} takes in`
      }${
        exclude.length === 0
          ? "."
          : `, but for what ${format.counted(exclude.length, "rule")} ${verb} out.`
      }
    </p>
    ${
      all.length === 0
        ? nothing
        : table(
            "Rules",
            ["Effect", "What", "Change"],
            all.map(({ which, rule }) => [
              which === "include" ? badge("info", "take in") : badge("quiet", "leave out"),
              foreign(words.rule(rule)),
              may("operator")
                ? button("Remove", () => change(of, without(rule)), { small: true })
                : nothing,
            ]),
          )
    }
  </section>`;
}

/**
 * Asks for a rule, and shows what it matches before it is stored.
 * @param {Connection} of
 * @param {Which} which
 */
async function addRule(of, which) {
  let kind = "name";
  let text = "";
  /** @type {Schemas["File"][] | null} */
  let sample = null;
  let isWhole = true;
  loadSample(of.id).then((found) => {
    sample = found.items;
    isWhole = !found.next_cursor;
    update();
  });
  const rule = () =>
    /** @type {Schemas["Rule"]} */ (/** @type {unknown} */ ({ [kind]: text.trim() }));
  const picked = (/** @type {Event} */ event) => {
    kind = /** @type {HTMLSelectElement} */ (event.target).value;
    update();
  };
  const typed = (/** @type {Event} */ event) => {
    text = /** @type {HTMLInputElement} */ (event.target).value;
    update();
  };
  const effect = () => {
    if (text.trim() === "") return nothing;
    if (sample === null) return html`<p class="loading">Looking at the files…</p>`;
    const found = sample.filter((file) => matches(rule(), file));
    const below = kind === "mime_type" ? "" : ", and takes with it what lies below";
    return html`<p>
        It matches <b>${format.counted(found.length, "file")}</b> of
        ${isWhole ? "all" : "the first"} ${format.number(sample.length)}${below}.
        ${found.length === 0 ? badge("warn", "matches nothing there") : nothing}
      </p>
      ${preview("Preview", found, (file) => foreign(file.fields.name))}`;
  };
  const yes = await ask({
    title: which === "include" ? "Take in only what a rule names" : "Leave out what a rule names",
    yes: which === "include" ? "Take it in" : "Leave it out",
    ready: () => text.trim() !== "",
    body: () => html`
      <div class="bar">
        <label
          >By
          <select @change=${picked}>
            <option value="name">name</option>
            <option value="mime_type">type</option>
            <option value="folder">folder</option>
          </select>
        </label>
        <label
          >${ASKED[kind]}
          <input
            @input=${typed}
            placeholder=${kind === "name" ? "*.tmp" : kind === "folder" ? "1TeamFolder" : "video/*"}
          />
        </label>
      </div>
      <p>
        ${
          text.trim() === ""
            ? `Nothing is deleted: what is left out is neither shown nor edited, and keeps following
                Drive.`
            : html`From now on
              ${which === "include" ? "only this is taken in" : "this is left out"}:
              ${foreign(words.rule(rule()))}.`
        }
      </p>
      ${effect()}
    `,
  });
  if (!yes) return;
  const include = of.rules.include ?? [];
  const exclude = of.rules.exclude ?? [];
  await change(of, {
    rules: {
      include: which === "include" ? [...include, rule()] : include,
      exclude: which === "exclude" ? [...exclude, rule()] : exclude,
    },
  });
}

/** @param {string} connection */
const loadSample = (connection) =>
  api.all("/v1/connections/{connection}/files", { connection }, {}, { max: PREVIEW_MAX });

/**
 * Returns whether a rule matches a file itself, as the API would.
 * @param {Schemas["Rule"]} rule
 * @param {Schemas["File"]} file
 */
export function matches(rule, file) {
  if ("folder" in rule) return file.id === rule.folder || file.fields.parent === rule.folder;
  if ("mime_type" in rule) return glob(rule.mime_type).test(file.fields.mime_type);
  return glob(rule.name).test(file.fields.name.normalize("NFC"));
}

/** @param {string} pattern */
function glob(pattern) {
  const parts = pattern.normalize("NFC").match(/\\.|[\s\S]/gu) ?? [];
  const escaped = parts.map((part) => {
    if (part === "*") return "[\\s\\S]*";
    if (part === "?") return "[\\s\\S]";
    const plain = part.length > 1 && part.startsWith("\\") ? part.slice(1) : part;
    return plain.replace(/[.*+?^${}()|[\]\\\/]/g, "\\$&");
  });
  return new RegExp(`^${escaped.join("")}$`, "iu");
}

/** @param {boolean} isChosen */
const asEvery = (isChosen) =>
  html`<option value="" ?selected=${isChosen}>as for every field</option>`;

/** @param {Connection} of */
function policies(of) {
  const fields = of.policies.fields ?? {};
  const row = (/** @type {string} */ name, /** @type {Schemas["Policy"] | undefined} */ policy) => {
    const store = (/** @type {any} */ value) =>
      name === "default"
        ? change(of, { policies: { default: value } })
        : change(of, { policies: { fields: { ...fields, [name]: value || undefined } } });
    const set = async (/** @type {Event} */ event) => {
      const select = /** @type {HTMLSelectElement} */ (event.target);
      if (select.value !== "webhook") await store(select.value);
      else {
        const asked = await askResolver(of.id);
        if (asked) await store({ webhook: asked });
        // What is stored is what is chosen.
        else select.value = typeof policy === "string" ? policy : policy ? "stays" : "";
      }
    };
    return [
      name === "default" ? "every field" : words.field(name),
      may("operator")
        ? html`<select aria-label=${`Policy for ${name}`} @change=${set}>
            ${
              typeof policy === "object"
                ? html`<option value="stays" selected disabled>${words.policy(policy)}</option>`
                : nothing
            }
            ${name === "default" ? nothing : asEvery(policy === undefined)}
            ${POLICIES.map(
              (one) =>
                html`<option value=${one} ?selected=${one === policy}>
                  ${words.policy(/** @type {any} */ (one))}
                </option>`,
            )}
            <option value="webhook">a server of yours is asked…</option>
          </select>`
        : words.policy(policy),
    ];
  };
  return html`<section>
    <h2>Who decides a conflict</h2>
    ${table(
      "Policies",
      ["Conflict on", "Decision"],
      [
        row("default", of.policies.default ?? "manual"),
        ...FIELDS.split(" ").map((name) => row(name, fields[name])),
      ],
    )}
    ${folderPolicies(of)}
  </section>`;
}

/**
 * Folders with policies of their own, which count for all that is below them.
 * @param {Connection} of
 */
function folderPolicies(of) {
  const folders = Object.entries(of.policies.folders ?? {});
  if (folders.length === 0) return nothing;
  return html`<h3>In folders of their own</h3>
    ${table(
      "Policies of folders",
      ["Folder", "Conflict on", "Decision"],
      folders.flatMap(([folder, policies]) => {
        const all = Object.entries(policies.fields ?? {});
        if (policies.default) all.unshift(["", policies.default]);
        return all.map(([name, policy]) => [
          link(at(of.id, "files", folder), html`<code>${folder}</code>`),
          name ? words.field(name) : "every other field",
          words.policy(policy),
        ]);
      }),
    )}`;
}

/**
 * Asks which webhook decides, and within which time.
 * @param {string} connection
 */
async function askResolver(connection) {
  const { items } = await api.all("/v1/webhooks", {});
  const all = items.filter((one) => !one.connections || one.connections.includes(connection));
  let endpoint = all[0]?.id ?? "";
  let seconds_max = RESOLVER_SECONDS;
  const yes = await ask({
    title: "Let a server of yours decide",
    yes: "Let it decide",
    ready: () =>
      endpoint !== "" &&
      Number.isInteger(seconds_max) &&
      seconds_max >= 1 &&
      seconds_max <= RESOLVER_SECONDS_MAX,
    body: () =>
      all.length === 0
        ? html`<p class="note warn">
            No webhook includes this connection. ${link("/console/webhooks", "Make one")} first.
          </p>`
        : html`
            <label
              >Webhook
              <select
                @change=${(/** @type {Event} */ e) => {
                  endpoint = /** @type {HTMLSelectElement} */ (e.target).value;
                }}
              >
                ${all.map((one) => html`<option value=${one.id}>${one.name}: ${one.url}</option>`)}
              </select>
            </label>
            <label
              >Seconds for its answer
              <input
                type="number"
                min="1"
                max=${RESOLVER_SECONDS_MAX}
                .value=${String(RESOLVER_SECONDS)}
                @input=${(/** @type {Event} */ e) => {
                  seconds_max = Number(/** @type {HTMLInputElement} */ (e.target).value);
                  update();
                }}
              />
            </label>
            <p>
              Each conflict is posted to it, signed, and its answer decides. Without a valid one in
              time a person decides, who can do so all the time.
            </p>
          `,
  });
  return yes ? { endpoint, seconds_max } : null;
}

/** @param {Connection} of */
function removals(of) {
  const set = async () => {
    let share = of.removal_share_percent_max;
    let count = of.removals_unasked_max;
    const body = () => html`
      <label
        >Share of all files, in percent
        <input
          type="number"
          min="0"
          max="100"
          .value=${String(share)}
          @input=${(/** @type {Event} */ e) => {
            share = Number(/** @type {HTMLInputElement} */ (e.target).value);
            update();
          }}
        />
      </label>
      <label
        >Number of files
        <input
          type="number"
          min="0"
          .value=${String(count)}
          @input=${(/** @type {Event} */ e) => {
            count = Number(/** @type {HTMLInputElement} */ (e.target).value);
            update();
          }}
        />
      </label>
      <p>
        An operation that would remove more than ${format.number(share)} % of all files, and more
        than ${format.counted(count, "file")}, waits for a person, who sees the list.
      </p>
    `;
    const yes = await ask({ title: "When a person is asked", yes: "Store it", body });
    if (yes) {
      await change(of, { removal_share_percent_max: share, removals_unasked_max: count });
    }
  };
  return html`<section>
    <div class="head">
      <h2>Mass removals</h2>
      <span class="actions"
        >${may("operator") ? button("Change…", set, { small: true }) : nothing}</span
      >
    </div>
    <p>
      An operation that would remove more than ${format.number(of.removal_share_percent_max)} % of
      all files, and more than ${format.counted(of.removals_unasked_max, "file")}, waits for a
      person.
    </p>
  </section>`;
}

/** @param {Connection} of */
function content(of) {
  const { enabled, size_bytes_max, retention_days, storage_class, compress } = of.content;
  const toggle = () => change(of, { content: { enabled: !enabled } });
  return html`<section>
    <div class="head">
      <h2>Content</h2>
      ${enabled ? badge("good", "mirrored") : badge("quiet", "left in Drive")}
      <span class="actions">
        ${
          may("operator")
            ? button(enabled ? "Stop mirroring" : "Mirror content", toggle, { small: true })
            : nothing
        }
      </span>
    </div>
    ${facts([
      ["Files up to", format.size(size_bytes_max)],
      ["Old versions are kept", format.counted(retention_days ?? 0, "day")],
      ["Stored as", storage_class],
      ["Text is compressed", compress ? "yes" : "no"],
    ])}
  </section>`;
}

/** @param {Connection} of */
function general(of) {
  const { limits } = of;
  return html`<section>
    <h2>General</h2>
    ${facts([
      ["Name", foreign(of.name)],
      ["Id", html`<code>${of.id}</code>`],
      ["Covers", of.scope.type === "user" ? "all that its user sees" : "one shared drive"],
      ["Secret", html`<code>${of.secret}</code>`],
      ["Acts as", foreign(of.subject ?? "the owner of the credentials")],
      [
        "Who may see it",
        of.access
          ? of.access.length === 0
            ? "administrators alone"
            : of.access.map(
                (one) => html`<p>${foreign(words.person(one.principal))}: ${one.role}</p>`,
              )
          : "everybody of the tenant",
      ],
      ["Own domains", of.own_domains?.join(", ") ?? "that of the user it acts as"],
      ["Audited every", format.counted(of.comparison_interval_days, "day")],
      [
        "Drive is asked for",
        `${format.number(limits.quota_per_minute)} ${limits.model} a minute; ${format.number(
          limits.writes_min_per_minute,
        )} to ${format.number(limits.writes_max_per_minute)} writes`,
      ],
    ])}
  </section>`;
}
