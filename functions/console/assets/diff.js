// The difference of two texts: by words, and by characters within words that are alike.

/** @typedef {{ kind: "same" | "removed" | "added", text: string }} Part */

/** Longer texts are not compared. */
const CELLS_MAX = 1_000_000;
/** Of two words, this share must be the same for their characters to be compared. */
const ALIKE = 0.6;

/**
 * Returns what was removed from one text and added to get the other.
 * @param {string} before
 * @param {string} after
 * @returns {Part[]}
 */
export function diff(before, after) {
  const parts = compareBy(/[\p{L}\p{N}\p{M}]+|\s+|[^\p{L}\p{N}\p{M}\s]/gu, before, after);
  return joined(parts).flatMap((part, n, all) => {
    const next = all[n + 1];
    if (part.kind === "removed" && next?.kind === "added") return refined(part.text, next.text);
    if (part.kind === "added" && all[n - 1]?.kind === "removed") return [];
    return [part];
  });
}

/**
 * Compares the characters of what was replaced, if much of it is the same.
 * @param {string} before
 * @param {string} after
 * @returns {Part[]}
 */
function refined(before, after) {
  const parts = compareBy(/\P{M}\p{M}*/gsu, before, after);
  const same = parts.reduce((sum, one) => sum + (one.kind === "same" ? one.text.length : 0), 0);
  if (same >= ALIKE * Math.max(before.length, after.length)) return parts;
  return [
    { kind: "removed", text: before },
    { kind: "added", text: after },
  ];
}

/**
 * @param {RegExp} what
 * @param {string} before
 * @param {string} after
 * @returns {Part[]}
 */
function compareBy(what, before, after) {
  const left = before.match(what) ?? [];
  const right = after.match(what) ?? [];
  if (left.length * right.length <= CELLS_MAX) return compare(left, right);
  return [
    { kind: "removed", text: before },
    { kind: "added", text: after },
  ];
}

/**
 * Compares by the longest common subsequence.
 * @param {string[]} left
 * @param {string[]} right
 * @returns {Part[]}
 */
function compare(left, right) {
  const width = right.length + 1;
  const lengths = new Uint32Array((left.length + 1) * width);
  const length = (/** @type {number} */ i, /** @type {number} */ j) => lengths[i * width + j] ?? 0;
  for (let i = left.length - 1; i >= 0; i--) {
    for (let j = right.length - 1; j >= 0; j--) {
      const equal = left[i] === right[j];
      lengths[i * width + j] = equal
        ? length(i + 1, j + 1) + 1
        : Math.max(length(i + 1, j), length(i, j + 1));
    }
  }
  /** @type {Part[]} */
  const parts = [];
  let [i, j] = [0, 0];
  while (i < left.length || j < right.length) {
    if (i < left.length && j < right.length && left[i] === right[j]) {
      push(parts, "same", left[i] ?? "");
      i++;
      j++;
    } else if (i < left.length && (j >= right.length || length(i + 1, j) >= length(i, j + 1))) {
      push(parts, "removed", left[i] ?? "");
      i++;
    } else {
      push(parts, "added", right[j] ?? "");
      j++;
    }
  }
  return parts;
}

/**
 * @param {Part[]} parts
 * @param {Part["kind"]} kind
 * @param {string} text
 */
function push(parts, kind, text) {
  const last = parts.at(-1);
  if (last?.kind === kind) last.text += text;
  else parts.push({ kind, text });
}

/**
 * Joins changes with nothing but a space between them, so that they are read as one.
 * @param {Part[]} parts
 * @returns {Part[]}
 */
function joined(parts) {
  /** @type {Part[]} */
  const found = [];
  let [removed, added] = ["", ""];
  const flush = () => {
    if (removed) found.push({ kind: "removed", text: removed });
    if (added) found.push({ kind: "added", text: added });
    [removed, added] = ["", ""];
  };
  for (const [n, { kind, text }] of parts.entries()) {
    const isBetween = removed !== "" && added !== "" && n < parts.length - 1;
    if (kind === "removed") removed += text;
    else if (kind === "added") added += text;
    else if (isBetween && text.trim() === "") {
      removed += text;
      added += text;
    } else {
      flush();
      found.push({ kind, text });
    }
  }
  flush();
  return found;
}
