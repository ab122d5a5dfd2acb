/** The passages as the server ranked them, each sentence coloured by its keep probability. */

import { codePoints } from "./selection.js";

const find = (id) => document.getElementById(id);

/** Format a probability so that small ones still differ. */
export const shown = (score) => (score >= 0.01 || score === 0 ? score.toFixed(2) : score.toFixed(4));

/** Position of a probability on the slider, which is wider near 0, and back. */
export const toDial = (score) => Math.sqrt(score);
export const fromDial = (position) => Math.round(position ** 2 * 1e4) / 1e4;

function unitItem(text, unit) {
  const item = document.createElement("li");
  const body = document.createElement("span");
  const words = text.trimEnd();
  body.textContent = words;
  body.className = "unit";
  body.style.setProperty("--p", unit.score);
  item.append(body, text.slice(words.length));
  item.tabIndex = -1;
  item.dataset.score = unit.score;
  return item;
}

/** Move through the sentences of a passage with the arrow keys; the passage is one stop of the Tab key. */
function walk(event) {
  const items = [...event.currentTarget.children];
  const here = items.indexOf(document.activeElement);
  const [back, on] = [here - 1, here + 1];
  const keys = { ArrowRight: on, ArrowDown: on, ArrowLeft: back, ArrowUp: back, Home: 0, End: items.length - 1 };
  const next = items[keys[event.key]];
  if (here < 0 || !next) return;
  event.preventDefault();
  items[here].tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function rankedItem(result, passage) {
  const item = find("ranked").content.firstElementChild.cloneNode(true);
  const text = codePoints(passage.text);
  item.querySelector(".name").textContent = passage.title || `Passage ${result.index + 1}`;
  item.querySelector(".relevance").style.setProperty("--p", result.score);
  item.querySelector(".score").textContent = shown(result.score);
  const list = item.querySelector(".units");
  list.append(...result.units.map((unit) => unitItem(text.slice(unit.start, unit.end).join(""), unit)));
  list.setAttribute("aria-label", `Sentences of ${item.querySelector(".name").textContent}`);
  list.addEventListener("keydown", walk);
  if (list.firstElementChild) list.firstElementChild.tabIndex = 0;
  else list.remove();
  return item;
}

/** Draw passages and the marks above the slider; `mark` then shows what is kept. */
export function draw(results, passages) {
  find("ranking").replaceChildren(...results.map((result) => rankedItem(result, passages[result.index])));
  const ticks = results.flatMap((result) => result.units).map((unit) => {
    const tick = document.createElement("i");
    tick.style.setProperty("--at", toDial(unit.score));
    return tick;
  });
  find("ticks").replaceChildren(...ticks);
}

/**
 * Mark what is kept.
 * @param {boolean[][]} kept for each result, of each of its units.
 */
export function mark(kept) {
  const ranked = [...find("ranking").children];
  ranked.forEach((item, index) => {
    const its = kept[index];
    item.querySelectorAll(".units > li").forEach((unit, at) => {
      unit.dataset.kept = its[at];
    });
    const number = its.filter(Boolean).length;
    item.dataset.empty = number === 0;
    item.querySelector(".kept-count").textContent = `${number} of ${its.length}`;
  });
  const flat = kept.flat();
  [...find("ticks").children].forEach((tick, index) => {
    tick.dataset.kept = flat[index];
  });
}

/** Show a sentence's probability beside it while it is pointed at or focused. */
export function installTip() {
  const tip = find("tip");
  const ranking = find("ranking");
  let over = null;

  function show(event) {
    const item = event.target.closest(".units > li");
    if (!item) return hide();
    over = item;
    tip.textContent = `${shown(Number(item.dataset.score))} · ${item.dataset.kept === "true" ? "kept" : "dropped"}`;
    tip.hidden = false;
    item.setAttribute("aria-describedby", "tip");
    const box = item.firstElementChild.getClientRects()[0] ?? item.getBoundingClientRect();
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
