// Numbers, times and names as text.

const NUMBER = new Intl.NumberFormat();
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const BOTH = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** @param {number | null | undefined} value */
export const number = (value) =>
  value === null || value === undefined ? "–" : NUMBER.format(value);

/**
 * Returns a count with its noun.
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export const counted = (count, one, many = `${one}s`) =>
  `${NUMBER.format(count)} ${count === 1 ? one : many}`;

/**
 * Returns how long something is, in its two largest units.
 * @param {number} millis
 */
export function span(millis) {
  const seconds = Math.max(0, Math.round(millis / 1_000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60)
    return seconds % 60 && minutes < 10 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} days`;
}

/**
 * Returns how long ago, or in how long.
 * @param {number} at
 * @param {number} now
 */
export const distance = (at, now) => (at > now ? `in ${span(at - now)}` : `${span(now - at)} ago`);

/**
 * Returns the time of day; with the day, if it is another one.
 * @param {number} at
 */
export function clock(at) {
  const date = new Date(at);
  return date.toDateString() === new Date().toDateString() ? CLOCK.format(date) : BOTH.format(date);
}

/** @param {number} at */
export const day = (at) => DAY.format(new Date(at));

/**
 * Returns the exact time, in UTC.
 * @param {number} at
 */
export const utc = (at) => new Date(at).toISOString().replace("T", " ").replace("Z", " UTC");

/** @param {number | null | undefined} bytes */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  if (bytes < 1_000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = "B";
  for (const next of units) {
    if (value < 1_000) break;
    value /= 1_000;
    unit = next;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** Characters of control, of no width, and of direction. */
const UNSEEN = new RegExp(
  "[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\u200b-\\u200f" +
    "\\u2028-\\u202e\\u2060-\\u2069\\ufeff]",
  "g",
);

/**
 * Returns a text in which what can't be seen, or turns the direction of what follows, is shown.
 * @param {string} text
 */
export const visible = (text) =>
  text.replace(UNSEEN, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);

/**
 * Returns a value of a field as text.
 * @param {unknown} value
 */
export function shown(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return visible(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  return visible(JSON.stringify(value));
}
