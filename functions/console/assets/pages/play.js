// The system of this machine as a playground: be anybody in Drive, and break things.

import { html } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { act, ask, Resource, update } from "../app.js";
import * as format from "../format.js";
import { at, remember } from "../router.js";
import { may } from "../session.js";
import { asOf, badge, button, facts, foreign, link, loaded, table } from "../ui.js";

/** @typedef {{ now: string, ahead_seconds: number, owner: string,
 *   functions: Record<string, number> }} State */
/** @typedef {{ id: string, name: string, description?: string, starred?: boolean,
 *   trashed?: boolean, mimeType: string }} DriveFile */
/** @typedef {{ match: string }} Fault */

const PATH = "/v1/play";
const FIELDS = "files(id,name,description,starred,trashed,mimeType)";
/** The invocations in progress are asked for this often, since no event tells of them. */
const EVERY_MILLIS = 2_000;
const HOUR_SECONDS = 3_600;

/** People in front of Drive's own pages are not met: only programs name themselves. */
const programs = (/** @type {object} */ fault) => ({ with_header: "user-agent", ...fault });
const minute = (/** @type {object} */ fault) => programs({ times: 0, lasts_seconds: 60, ...fault });

/** What Drive can do wrong, as orders of the simulator. @type {[string, string, object][]} */
const TROUBLES = [
  [
    "Refuse writes for a minute",
    "Drive refuses writes.",
    minute({
      match: "PATCH /drive/v2/files/*",
      respond: { status: 503, reason: "backendError" },
    }),
  ],
  [
    "Limit the rate for a minute",
    "Drive refuses all calls: there are too many.",
    minute({
      match: "* /drive/*",
      respond: { status: 403, reason: "userRateLimitExceeded" },
    }),
  ],
  [
    "Answer in HTML for a minute",
    "Drive answers with pages of HTML.",
    minute({ match: "GET /drive/*", respond: { status: 502, html: true } }),
  ],
  [
    "Lose the answer of the next write",
    "Drive makes the next change and does not say so.",
    programs({ match: "PATCH /drive/v2/files/*", applied: true, respond: { status: 503 } }),
  ],
];

/**
 * @param {string} method
 * @param {string} rest
 * @param {unknown} [body]
 * @returns {Promise<any>}
 */
const call = (method, rest, body) => api.send(method, PATH + rest, body, {});

/**
 * @param {Record<string, string>} _
 * @param {URLSearchParams} query
 * @returns {import("../app.js").Page}
 */
export function play(_, query) {
  if (!may("admin")) {
    return {
      title: "Play",
      view: () => html`<p>Who plays can be anybody in Drive: that needs the role admin.</p>`,
    };
  }
  const at = { as: query.get("as") ?? "alice", named: query.get("named") ?? "" };
  const state = new Resource(() => /** @type {Promise<State>} */ (call("GET", "")));
  const faults = new Resource(
    async () => /** @type {Fault[]} */ ((await call("GET", "/control/faults")).faults),
  );
  const files = new Resource(() => filesOf(at));
  const connections = new Resource(() => api.all("/v1/connections", {}));
  const timer = setInterval(() => document.hidden || state.reload(), EVERY_MILLIS);
  return {
    title: "Play",
    resources: [state, faults, files],
    follows: () => (connections.value?.items ?? []).map((one) => one.id),
    leave: () => clearInterval(timer),
    view: () => html`
      <p class="lead">
        This Drive is simulated, and so is everything around it. Break it: nothing may be lost.
      </p>
      ${loaded(state, (state) => person(at, state, files, connections.value?.items[0]?.id))}
      ${trouble(faults)} ${loaded(state, (state) => machine(state))}
      <p>${asOf(state)}</p>
    `,
  };
}

/**
 * Returns the files that a person sees in Drive, the last changed first.
 * @param {{ as: string, named: string }} at
 * @returns {Promise<DriveFile[]>}
 */
async function filesOf({ as, named }) {
  const name = named.replace(/[\\']/g, "\\$&");
  const query = new URLSearchParams({ pageSize: "12", orderBy: "modifiedTime desc" });
  query.set("fields", FIELDS);
  if (name) query.set("q", `name contains '${name}'`);
  return (await call("GET", `${of(as)}?${query}`)).files;
}

/** @param {string} person */
const of = (person) => `/as/${encodeURIComponent(person)}/drive/v3/files`;

/**
 * @param {{ as: string, named: string }} at
 * @param {State} state
 * @param {Resource<DriveFile[]>} files
 * @param {string | undefined} connection
 */
function person(at, state, files, connection) {
  const people = [...new Set(["alice", "bob", state.owner, at.as])];
  const change = (/** @type {"as" | "named"} */ member) => (/** @type {Event} */ event) => {
    at[member] = /** @type {HTMLInputElement} */ (event.target).value;
    remember({ as: at.as, named: at.named });
    files.reload();
    update();
  };
  return html`<section>
    <h2>Be somebody in Drive</h2>
    <div class="bar">
      <label>
        Who
        <select @change=${change("as")}>
          ${people.map(
            (who) => html`<option value=${who} ?selected=${who === at.as}>${who}</option>`,
          )}
        </select>
      </label>
      <label>
        Name begins with
        <input type="search" .value=${at.named} @change=${change("named")} />
      </label>
      ${button("Make a file", () => make(at.as))}
    </div>
    ${loaded(files, (files) =>
      table(
        `Files that ${at.as} sees in Drive`,
        ["In Drive", "As it is held", "Do"],
        files.map((file) => row(at.as, file, connection)),
        "No such file.",
      ),
    )}
  </section>`;
}

/**
 * @param {string} as
 * @param {DriveFile} file
 * @param {string | undefined} connection
 */
function row(as, file, connection) {
  const edit = (/** @type {string} */ done, /** @type {object} */ body) =>
    act(done, () => call("PATCH", `${of(as)}/${encodeURIComponent(file.id)}`, body));
  const small = { small: true };
  const both = connection
    ? button("Rename on both sides", () => clash(as, file, connection), small)
    : "";
  return [
    html`${foreign(file.name)} ${file.starred ? badge("info", "starred") : ""}
    ${file.trashed ? badge("warn", "in the trash") : ""}
    ${file.description ? html`<br /><span class="quiet">${foreign(file.description)}</span>` : ""}`,
    connection ? link(at(connection, "files", file.id), "Show") : "",
    html`<span class="actions">
      ${button("Rename", () => rename(as, file, edit), small)}
      ${button(
        "Describe",
        () => edit("Described in Drive.", { description: `Seen by ${as} at ${time()}` }),
        small,
      )}
      ${button(
        file.trashed ? "Take from the trash" : "Trash",
        () => edit(file.trashed ? "Taken from the trash." : "Trashed.", { trashed: !file.trashed }),
        small,
      )}
      ${both} ${button("Delete for good", () => destroy(as, file), { ...small, danger: true })}
    </span>`,
  ];
}

const time = () => new Date().toLocaleTimeString();

/**
 * @param {string} as
 * @param {DriveFile} file
 * @param {(done: string, body: object) => void} edit
 */
async function rename(as, file, edit) {
  let name = file.name;
  const wanted = await ask({
    title: `Rename as ${as}`,
    body: () =>
      html`<label>
        Name
        <input
          .value=${name}
          @input=${(/** @type {Event} */ event) => {
            name = /** @type {HTMLInputElement} */ (event.target).value;
            update();
          }}
        />
      </label>`,
    yes: "Rename",
    ready: () => name !== "" && name !== file.name,
  });
  if (wanted) edit("Renamed in Drive.", { name });
}

/**
 * Renames a file through the API and, at the same moment, in Drive: a conflict.
 * @param {string} as
 * @param {DriveFile} file
 * @param {string} connection
 */
function clash(as, file, connection) {
  const [stem, ending] = split(file.name);
  const path = "/v1/connections/{connection}/files/{file}";
  const within = { connection };
  return act("Renamed on both sides: a conflict comes.", async () => {
    const { state } = await api.get("/v1/connections/{connection}", within);
    const isActive = state === "active";
    // Otherwise Drive may have the one before the other is made, and both would agree.
    if (isActive) await api.post("/v1/connections/{connection}/pause", within);
    try {
      const ours = { name: `${stem} (ours)${ending}` };
      await api.patch(path, { connection, file: file.id }, ours, "*");
      const theirs = { name: `${stem} (${as}'s)${ending}` };
      await call("PATCH", `${of(as)}/${encodeURIComponent(file.id)}`, theirs);
    } finally {
      if (isActive) await api.post("/v1/connections/{connection}/resume", within);
    }
  });
}

/**
 * Returns a name without what an earlier clash added, and its ending.
 * @param {string} name
 */
function split(name) {
  const dot = name.lastIndexOf(".");
  const [stem, ending] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
  return [stem.replace(/ \((ours|\w+'s)\)$/, ""), ending];
}

/** @param {string} as */
const make = (as) =>
  act("Made.", () => call("POST", of(as), { name: `Note of ${as} at ${time()}.txt` }));

/**
 * @param {string} as
 * @param {DriveFile} file
 */
async function destroy(as, file) {
  const sure = await ask({
    title: `Delete as ${as}, for good`,
    body: () => html`<p>${foreign(file.name)} is gone from Drive at once, without the trash.</p>`,
    yes: "Delete",
    danger: true,
  });
  if (!sure) return;
  await act("Deleted in Drive.", () => call("DELETE", `${of(as)}/${encodeURIComponent(file.id)}`));
}

/** @param {Resource<Fault[]>} faults */
function trouble(faults) {
  const notifications = (/** @type {object} */ body, /** @type {string} */ said) => () =>
    act(said, () => call("POST", "/control/notifications", body));
  return html`<section>
    <h2>Let Drive misbehave</h2>
    <div class="bar">
      ${button(
        "Drop notifications",
        notifications({ silent: true }, "Drive notifies of nothing: its logs are polled."),
      )}
      ${button("Notify again", notifications({}, "Drive notifies of every change."))}
      ${button("Forget the position in the log", () =>
        act("Drive knows none of its page tokens: a resync comes.", () =>
          call("POST", "/control/invalidate_tokens", { page_tokens: true }),
        ),
      )}
    </div>
    <div class="bar">
      ${TROUBLES.map(([text, said, fault]) =>
        button(text, () => act(said, () => call("POST", "/control/faults", fault))),
      )}
      ${button("End all of it", () =>
        act("Drive behaves.", () => call("DELETE", "/control/faults")),
      )}
    </div>
    ${loaded(faults, (faults) =>
      faults.length === 0
        ? html`<p class="quiet">Drive answers every call.</p>`
        : html`<p class="note warn">
            Drive misbehaves at
            ${faults.map((fault, i) => html`${i ? ", " : ""}<code>${fault.match}</code>`)}.
          </p>`,
    )}
  </section>`;
}

/** @param {State} state */
function machine(state) {
  const advance = (/** @type {number} */ seconds) => () =>
    act("The clock was advanced, here and in Drive.", () =>
      call("POST", "/clock", { advance_seconds: seconds }),
    );
  const kill = (/** @type {string} */ name) => () =>
    act(`${name} was killed: its messages come again after their visibility timeout.`, () =>
      call("POST", "/kill", { function: name }),
    );
  const ahead = state.ahead_seconds;
  return html`<section>
    <h2>Time</h2>
    ${facts([
      [
        "Its clock",
        html`${format.clock(Date.parse(state.now))}
          <span class="quiet"
            >${ahead ? `${format.span(ahead * 1_000)} ahead` : "not ahead"}</span
          >`,
      ],
    ])}
    <div class="bar">
      ${button("An hour later", advance(HOUR_SECONDS))}
      ${button("A day later", advance(24 * HOUR_SECONDS))}
      ${button("Eight days later", advance(8 * 24 * HOUR_SECONDS))}
    </div>
    <h2>Functions</h2>
    ${table(
      "Functions",
      ["Function", "Invocations in progress", "Do"],
      Object.entries(state.functions).map(([name, running]) => [
        html`<code>${name}</code>`,
        format.number(running),
        button(running ? "Kill" : "Kill the next one", kill(name), { small: true, danger: true }),
      ]),
    )}
  </section>`;
}
