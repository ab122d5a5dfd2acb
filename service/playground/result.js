/** The passages as the server ranked them, each unit coloured by its keep probability. */

import { blocksOf, shown } from "./blocks.js";
import { element } from "./inline.js";
import { explained, noted } from "./reasons.js";

const find = (id) => document.getElementById(id);

/** Position of a probability on the slider, which is wider near 0, and back. */
export const toDial = (score) => Math.sqrt(score);
export const fromDial = (position) => Math.round(position ** 2 * 1e4) / 1e4;

const TICKS = 200; // places for marks above the slider

const drawn = new Map(); // of each passage that is shown: its element, and the pieces of its units
const unitOf = new WeakMap(); // of each piece: its unit in the last answer

/** Return the pieces of a passage that are shown. The browser would need the layout of everything to say so. */
function shownPieces(list) {
  const { dataset, classList } = find("ranking");
  const kept = dataset.view === "kept" ? '[data-kept="true"]' : "";
  const read = classList.contains("marks") ? "" : ':not([data-kind="markup"])';
  return list.querySelectorAll(`.piece${kept}${read}`);
}

/** Move through the units of a passage with the arrow keys; the passage is one stop of the Tab key. */
function walk(event) {
  const items = [...shownPieces(event.currentTarget)];
  const here = items.indexOf(document.activeElement);
  const [back, on] = [here - 1, here + 1];
  const keys = { ArrowRight: on, ArrowDown: on, ArrowLeft: back, ArrowUp: back, Home: 0, End: items.length - 1 };
  const next = items[keys[event.key]];
  if (here < 0 || !next) return;
  event.preventDefault();
  stopAt(event.currentTarget, next);
  next.focus();
}

/** Make a piece the one that the Tab key gets to. */
function stopAt(list, piece) {
  const former = list.querySelector('[tabindex="0"]');
  if (former) former.tabIndex = -1;
  if (piece) piece.tabIndex = 0;
}

/** Let the Tab key get to every passage after other parts of it are shown: to where it got so far, or to the start. */
export function placeStops() {
  for (const list of document.querySelectorAll("#ranking .units")) {
    const items = [...shownPieces(list)];
    stopAt(list, items.find((item) => item.tabIndex === 0) ?? items[0]);
  }
}

function rankedItem(result, passage) {
  const item = find("ranked").content.firstElementChild.cloneNode(true);
  item.querySelector(".name").textContent = passage.title || `Passage ${result.index + 1}`;
  item.querySelector(".format").textContent = result.format;
  item.querySelector(".relevance").style.setProperty("--p", result.score);
  item.querySelector(".score").textContent = shown(result.score);
  const list = item.querySelector(".units");
  const { blocks, pieces } = blocksOf(passage.text, result.format, result.units);
  list.append(...blocks);
  list.dataset.format = result.format;
  list.setAttribute("aria-label", `Units of ${item.querySelector(".name").textContent}`);
  list.addEventListener("keydown", walk);
  if (!pieces.length) list.remove();
  drawn.set(result.index, { item, pieces });
  return item;
}

function drawTicks(results) {
  const best = new Map();
  for (const { score } of results.flatMap((result) => result.units)) {
    const place = Math.round(toDial(score) * TICKS);
    best.set(place, Math.max(score, best.get(place) ?? 0));
  }
  find("ticks").replaceChildren(
    ...[...best].map(([place, score]) => {
      const tick = element("i", {});
      tick.style.setProperty("--at", place / TICKS);
      tick.dataset.score = score;
      return tick;
    }),
  );
}

/** Draw passages and the marks above the slider; `mark` then shows what is kept. */
export function draw(results, passages) {
  drawn.clear();
  find("ranking").replaceChildren(...results.map((result) => rankedItem(result, passages[result.index])));
  drawTicks(results);
}

/** Mark the scores above the slider that reach a threshold. */
export function markTicks(threshold) {
  for (const tick of find("ticks").children) tick.dataset.kept = Number(tick.dataset.score) >= threshold;
}

function markPiece(piece, unit) {
  unitOf.set(piece, unit);
  piece.dataset.kept = unit.kept;
  const note = noted(unit);
  if (piece.dataset.reason === note) return;
  piece.dataset.reason = note;
  piece.querySelector(".why")?.remove();
  const why = element("span", { className: "why", textContent: note });
  if (note) (piece.querySelector(".note") ?? piece).querySelector(":scope > .unit, :scope > .value").after(why);
}

/** Show which units a threshold keeps by their score alone, until the server says what else is kept with them. */
export function preview(threshold) {
  for (const piece of [...drawn.values()].flatMap(({ pieces }) => pieces)) {
    const unit = unitOf.get(piece);
    if (unit.kind === "markup" || noted(unit)) continue;
    const kept = unit.score >= threshold;
    if (kept !== unit.kept) markPiece(piece, { ...unit, kept, reason: kept ? "score" : null });
  }
}

const lineSpan = ([first, last]) => (first === last ? `${first}` : `${first}–${last}`);

function markPassage(result) {
  const { item, pieces } = drawn.get(result.index);
  pieces.forEach((piece, index) => markPiece(piece, result.units[index]));
  item.dataset.empty = result.empty;
  item.querySelector(".kept-count").textContent = `${result.kept_units} of ${result.total_units}`;
  item.querySelector(".returned").textContent = result.text;
  const [word, spans] = [result.line_spans.length === 1 ? "Line" : "Lines", result.line_spans.map(lineSpan)];
  item.querySelector(".line-spans").textContent = result.empty ? "Nothing is kept." : `${word} ${spans.join(", ")}`;
}

/** Show what an answer keeps of the passages that are drawn, and why. */
export function mark(results) {
  results.forEach(markPassage);
  placeStops();
}

/** Show the score of a unit, and why it is kept or dropped, beside it while it is pointed at or focused. */
export function installTip() {
  const tip = find("tip");
  const ranking = find("ranking");
  let over = null;

  function show(event) {
    const piece = event.target.closest(".piece");
    if (!piece) return hide();
    over = piece;
    const unit = unitOf.get(piece);
    tip.textContent = `${shown(unit.score)} · ${explained(unit)} · ${unit.kind.replace("_", " ")}`;
    tip.hidden = false;
    piece.setAttribute("aria-describedby", "tip");
    const box = piece.querySelector(".unit").getClientRects()[0] ?? piece.getBoundingClientRect();
    const left = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
    const above = box.top - tip.offsetHeight - 6;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${above < 4 ? box.bottom + 6 : above}px`;
  }

  function hide() {
    over?.removeAttribute("aria-describedby");
    over = null;
    tip.hidden = true;
  }

  ranking.addEventListener("mouseover", show);
  ranking.addEventListener("mouseleave", hide);
  ranking.addEventListener("focusin", show);
  ranking.addEventListener("focusout", hide);
  document.addEventListener("scroll", hide, { passive: true });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
}
