/** Selection of sentences by a threshold, as the server does it, but without a request. */

/** Fold case as far as comparing a heading with a title needs. */
const folded = (text) => text.trim().toUpperCase().toLowerCase();

/** Return the code points of a text, by which the server counts. */
export const codePoints = (text) => Array.from(text);

/** Whether the first unit is a heading or repeats the title: it is kept with whatever it heads. */
function startsWithTitle(units, passage) {
  if (units.length < 2) return false;
  if (units[0].kind === "heading") return true;
  if (!passage.title) return false;
  const first = codePoints(passage.text).slice(units[0].start, units[0].end).join("");
  return folded(first) === folded(passage.title);
}

/**
 * Return for each unit of a passage whether it is kept.
 * @param {object[]} units of the response.
 * @param {{title: string, text: string}} passage they are of.
 * @param {number} threshold the least score that is kept.
 */
export function keptAt(units, passage, threshold) {
  const kept = units.map((unit) => unit.score >= threshold);
  if (kept.includes(true) && startsWithTitle(units, passage)) kept[0] = true;
  return kept;
}

/**
 * Count units and tokens.
 * @param {object[][]} units of every passage.
 * @param {boolean[][]} kept whether each is kept.
 */
export function count(units, kept) {
  const all = units.flat();
  const flags = kept.flat();
  const left = all.filter((_, index) => flags[index]);
  const tokens = (some) => some.reduce((sum, unit) => sum + unit.tokens, 0);
  return { units: all.length, keptUnits: left.length, tokens: tokens(all), keptTokens: tokens(left) };
}
