// Webhook endpoints: where events are posted to, and what came of it.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import * as api from "../api.js";
import { act, ask, Resource, update } from "../app.js";
import * as format from "../format.js";
import { at, go } from "../router.js";
import { may } from "../session.js";
import { asOf, badge, button, facts, foreign, link, loaded, table, time } from "../ui.js";
import * as words from "../words.js";

/** @import { Schemas } from "../../types.js" */
/** @typedef {Schemas["Webhook"]} Webhook */

/** No event tells of deliveries. */
const EVERY_MILLIS = 3_000;

/** @returns {import("../app.js").Page} */
export function webhooks() {
  const list = new Resource(() => api.get("/v1/webhooks", {}));
  return {
    title: "Webhooks",
    resources: [list],
    view: () => html`
      ${may("operator") ? html`<p>${button("Add an endpoint…", add)}</p>` : nothing}
      ${loaded(list, ({ items }) =>
        table(
          "Webhook endpoints",
          ["Name", "Address", "State", "Connections", "Events", "Made by"],
          items.map((one) => [
            link(`/console/webhooks/${encodeURIComponent(one.id)}`, foreign(one.name)),
            foreign(one.url),
            stateOf(one),
            one.connections ? format.number(one.connections.length) : "all",
            one.types.length ? one.types.join(", ") : "all",
            foreign(words.person(one.made_by)),
          ]),
          "Events are posted to nobody.",
        ),
      )}
      <p>${asOf(list)}</p>
    `,
  };
}

/**
 * @param {Record<string, string>} within
 * @returns {import("../app.js").Page}
 */
export function webhook({ webhook: id = "" }) {
  const within = { webhook: id };
  const one = new Resource(() => api.get("/v1/webhooks/{webhook}", within));
  const path = "/v1/webhooks/{webhook}/deliveries";
  const deliveries = new Resource(() => api.get(path, within, { limit: 100 }));
  const timer = setInterval(() => {
    if (document.hidden) return;
    one.reload();
    deliveries.reload();
  }, EVERY_MILLIS);
  return {
    title: "Webhook",
    resources: [one, deliveries],
    leave: () => clearInterval(timer),
    view: () => html`
      ${loaded(one, summary)}
      <section>
        <h2>Deliveries of the last 7 days</h2>
        ${loaded(deliveries, ({ items }) =>
          table(
            "Deliveries",
            ["When", "What", "Outcome", "Attempt", "Took", "Again"],
            items.map((delivery) => [
              time(delivery.at, { clock: true }),
              html`${
                delivery.kind === "events"
                  ? format.counted(delivery.events, "event")
                  : words.plain(delivery.kind)
              }
              ${
                delivery.connection
                  ? link(at(delivery.connection), html`<code>${delivery.connection}</code>`)
                  : nothing
              }`,
              html`${outcomeOf(delivery)} ${delivery.status ?? nothing}`,
              format.number(delivery.attempt),
              `${format.number(delivery.duration_ms)} ms`,
              delivery.head && delivery.connection && may("operator")
                ? button(
                    "What follows",
                    () => replay(id, delivery.connection ?? "", delivery.head ?? ""),
                    { small: true, title: "Delivers all events after this place again" },
                  )
                : nothing,
            ]),
            "Nothing was delivered yet.",
          ),
        )}
      </section>
      <p>${asOf(one)}</p>
    `,
  };
}

/** @param {Schemas["WebhookDelivery"]} delivery */
const outcomeOf = ({ outcome }) =>
  badge(outcome === "accepted" ? "good" : "bad", words.plain(outcome));

/** @param {Webhook} one */
function stateOf(one) {
  if (one.disabled) {
    return html`${badge("bad", "disabled")}
      <span class="quiet">${words.plain(one.disabled.reason)}, ${time(one.disabled.since)}</span>`;
  }
  if (one.failing) {
    return html`${badge("warn", "failing")}
      <span class="quiet"
        >${format.counted(one.failing.attempts, "attempt")} since ${time(one.failing.since)}, next
        ${time(one.failing.next_attempt_at)}</span
      >`;
  }
  return badge("good", "delivered to");
}

/** @param {Webhook} one */
function summary(one) {
  const within = { webhook: one.id };
  const set = (/** @type {Schemas["WebhookPatch"]} */ body, /** @type {string} */ said) => () =>
    act(said, () => api.patch("/v1/webhooks/{webhook}", within, body, "*"));
  const test = () =>
    act("A test is being posted.", () => api.post("/v1/webhooks/{webhook}/test", within));
  return html`<section>
    <div class="head">
      <h2>${foreign(one.name)}</h2>
      ${stateOf(one)}
      <span class="actions">
        ${
          may("operator")
            ? html`${button("Post a test", test, { small: true })}
              ${button("Give it another secret…", () => rotate(one), { small: true })}
              ${
                one.disabled
                  ? button("Deliver again", set({ state: "active" }, "It is delivered to again."), {
                      small: true,
                    })
                  : button("Disable", set({ state: "disabled" }, "It is disabled."), {
                      small: true,
                    })
              }
              ${button("Delete…", () => remove(one), { small: true, danger: true })}`
            : nothing
        }
      </span>
    </div>
    ${facts([
      ["Address", foreign(one.url)],
      [
        "Connections",
        one.connections
          ? one.connections.map((id) => link(at(id), html`<code>${id}</code> `))
          : "all that its maker may read",
      ],
      ["Events", one.types.length ? one.types.join(", ") : "all"],
      ["Rights of", foreign(words.person(one.made_by))],
      ["Made", time(one.created_at)],
      [
        "Secret",
        html`number
        ${one.secret_generation}${
          one.previous_secret_until
            ? html`; the one before signs too, ${time(one.previous_secret_until)}`
            : nothing
        }`,
      ],
    ])}
  </section>`;
}

/** Asks for an endpoint, and shows its secret once. */
async function add() {
  const wanted = { name: "", url: "" };
  const typed = (/** @type {keyof typeof wanted} */ name) => (/** @type {Event} */ event) => {
    wanted[name] = /** @type {HTMLInputElement} */ (event.target).value.trim();
    update();
  };
  const yes = await ask({
    title: "Add an endpoint",
    yes: "Add it",
    ready: () => wanted.name !== "" && wanted.url !== "",
    body: () =>
      html`<label>Name <input @input=${typed("name")} /></label>
        <label>Address <input type="url" placeholder="https://" @input=${typed("url")} /></label>
        <p class="quiet">
          All events of all connections that you may read are posted there from now on, signed as
          Standard Webhooks 1.0.0 says. They name ids and fields, and no names or values.
        </p>`,
  });
  if (!yes) return;
  await act(null, async () => {
    const made = await api.post("/v1/webhooks", {}, wanted);
    await showSecret(made);
    go(`/console/webhooks/${encodeURIComponent(made.id)}`);
  });
}

/** @param {Webhook} one */
async function rotate(one) {
  const yes = await ask({
    title: "Another secret",
    yes: "Make it",
    body: () =>
      html`<p>For a day the present secret signs as well, so that the receiver can be changed.</p>`,
  });
  if (!yes) return;
  const path = "/v1/webhooks/{webhook}/rotate";
  await act(null, async () => showSecret(await api.post(path, { webhook: one.id })));
}

/** @param {Webhook} one */
const showSecret = (one) =>
  ask({
    title: "Its secret",
    yes: "I have it",
    body: () =>
      html`<p>It is shown once, and signs what is delivered from now on:</p>
        <pre><code>${one.secret ?? "It was shown before."}</code></pre>`,
  });

/** @param {Webhook} one */
async function remove(one) {
  const yes = await ask({
    title: "Delete the endpoint",
    danger: true,
    yes: "Delete it",
    body: () => html`<p>Nothing is posted to <b>${foreign(one.url)}</b> any more.</p>`,
  });
  if (!yes) return;
  await act("Deleted.", () => api.remove("/v1/webhooks/{webhook}", { webhook: one.id }, "*"));
  go("/console/webhooks");
}

/**
 * @param {string} webhook
 * @param {string} connection
 * @param {string} after
 */
const replay = (webhook, connection, after) =>
  act("What follows is delivered again.", () =>
    api.post("/v1/webhooks/{webhook}/replay", { webhook }, { connection, after }),
  );
