// Verifies a signed message (its JSON on standard input) with the `standardwebhooks` of npm.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { Webhook } = createRequire(`${process.cwd()}/`)("standardwebhooks");
const { secrets, headers, body } = JSON.parse(readFileSync(0, "utf8"));
for (const secret of secrets) {
  new Webhook(secret).verify(body, headers);
  let accepted = true;
  try {
    new Webhook(secret).verify(`${body} `, headers);
  } catch {
    accepted = false;
  }
  if (accepted) throw new Error("a changed body was accepted");
}
console.log(`${secrets.length} signatures verified in Node`);
