/**
 * A passage as blocks: headings, paragraphs, list items, quotes, tables, and lines with their numbers.
 *
 * The kinds of the units decide; nothing is parsed, and texts are only ever added as text.
 */

import { cellsOf, element, mark, write } from "./inline.js";

/** Format a probability so that small ones still differ. */
export const shown = (score) => (score >= 0.01 || score === 0 ? score.toFixed(2) : score.toFixed(4));

const LINE_BREAK = /\r\n?|\n/;
const LINE = /[^\r\n]*(?:\r\n?|\n|$)/g;
const BLANK_LINE = /(?:\r\n?|\n)[ \t>]*(?:\r\n?|\n)\s*$/;
const BULLET = /^\s*(?:[-*+•–]|(\d{1,9}[.)]))\s/;
const HEADING_MARK = /^[ \t]*(#{1,6})[ \t]+/;
const HEADING_END = /(?:[ \t]+#+[ \t]*|(?:\r\n?|\n)[ \t]*(=+|-+)[ \t]*)$/;
const LINE_KINDS = ["code", "line", "entry"];
const FLOW_TAGS = { heading: "h4", quote: "blockquote", list_item: "div" };

/** Return a function that slices a text by code points, by which the server counts. */
function slicer(text) {
  if (!/[\ud800-\udfff]/.test(text)) return (start, end) => text.slice(start, end);
  const points = Array.from(text);
  return (start, end) => points.slice(start, end).join("");
}

function pieceOf(tag, unit) {
  const piece = element(tag, { className: "piece", tabIndex: -1 });
  piece.style.setProperty("--p", unit.score);
  piece.dataset.score = unit.score;
  piece.dataset.kind = unit.kind;
  return piece;
}

const body = () => element("span", { className: "unit" });
const value = (unit) => element("span", { className: "value", textContent: shown(unit.score) });

/** Builds the blocks of one passage, unit after unit. */
class Builder {
  constructor(format) {
    this.format = format;
    this.blocks = [];
    this.pieces = [];
    this.open = null; // the block that the next unit may continue, and its kind
    this.line = 1; // at the start of the next unit
    this.before = ""; // text of the unit before
    this.level = 2; // of the last HTML heading
    this.lists = 0; // open HTML lists
  }

  add(unit, text) {
    if (LINE_KINDS.includes(unit.kind) || ["lines", "json"].includes(this.format)) this.addLines(unit, text);
    else if (unit.kind.startsWith("table_")) this.addRow(unit, text);
    else if (unit.kind === "markup") this.addMarkup(unit, text);
    else this.addFlow(unit, text);
    this.line += text.split(LINE_BREAK).length - 1;
    this.before = text;
  }

  /** Return the open block of a kind; otherwise begin one. */
  block(kind, tag, className) {
    if (this.open?.kind !== kind) {
      this.open = { kind, box: element(tag, { className: `block ${className}` }) };
      this.blocks.push(this.open.box);
    }
    return this.open.box;
  }

  put(box, piece) {
    box.append(piece);
    this.pieces.push(piece);
  }

  /** Add lines with their numbers and a score. Blank lines around them are counted, but not shown. */
  addLines(unit, text) {
    const box = this.block("lines", "div", "lines");
    const piece = pieceOf("div", unit);
    const lines = body();
    const found = text.match(LINE);
    const filled = found.map((line) => line.trim() !== "");
    const [first, last] = [filled.indexOf(true), filled.lastIndexOf(true)];
    found.slice(Math.max(0, first), last + 1).forEach((line, index) => {
      const row = element("span", { className: "numbered" });
      row.dataset.line = this.line + first + index;
      write(row, line, this.format === "html" ? "html" : "");
      lines.append(row);
    });
    piece.append(lines, value(unit));
    this.put(box, piece);
  }

  addRow(unit, text) {
    const box = this.block("table", "table", "table");
    const piece = pieceOf("tr", unit);
    for (const { before, text: content, after } of cellsOf(text, this.format)) {
      const cell = element(unit.kind === "table_header" && content.trim() ? "th" : "td", { className: "cell" });
      const inside = body();
      inside.append(mark(before));
      write(inside, content, this.format);
      inside.append(mark(after));
      cell.append(inside);
      piece.append(cell);
    }
    const note = element("td", { className: "note" });
    note.append(value(unit));
    piece.append(note);
    this.put(box, piece);
  }

  addMarkup(unit, text) {
    const level = [...text.matchAll(/<h([1-6])\b/gi)].at(-1)?.[1];
    if (level) this.level = Number(level);
    for (const [tag] of text.matchAll(/<\/?[uo]l\b/gi)) this.lists += tag[1] === "/" ? -1 : 1;
    const inside = body();
    inside.textContent = text.trimEnd();
    if (this.open?.kind === "table" && !/<\/table\b/i.test(text)) {
      const piece = pieceOf("tr", unit);
      const cell = element("td", { className: "cell note", colSpan: 99 });
      cell.append(inside);
      piece.append(cell);
      this.put(this.open.box, piece);
      return;
    }
    const piece = pieceOf("div", unit);
    piece.append(inside);
    this.put(this.block("markup", "div", "markup"), piece);
  }

  /** Add text that flows. A heading, a marker of a list item and a blank line begin a block. */
  addFlow(unit, text) {
    const bullet = unit.kind === "list_item" && this.format !== "html" ? BULLET.exec(text) : null;
    if (unit.kind === "heading" || bullet || BLANK_LINE.test(this.before)) this.open = null;
    const isNew = this.open?.kind !== unit.kind;
    const box = this.block(unit.kind, FLOW_TAGS[unit.kind] ?? "p", `flow ${unit.kind}`);
    const piece = pieceOf("span", unit);
    const inside = body();
    const words = text.trimEnd();
    if (unit.kind === "heading") this.writeHeading(box, inside, words);
    else {
      const hides = bullet && !bullet[1] ? bullet[0].length : 0;
      if (isNew && unit.kind === "list_item") this.placeItem(box, text, hides > 0 || this.format === "html");
      if (hides) inside.append(mark(words.slice(0, hides)));
      write(inside, words.slice(hides), this.format);
    }
    piece.append(inside);
    const space = text.slice(words.length);
    if (!BLANK_LINE.test(space)) piece.append(space);
    this.put(box, piece);
  }

  writeHeading(box, inside, words) {
    const start = this.format === "markdown" ? HEADING_MARK.exec(words) : null;
    const end = this.format === "markdown" ? HEADING_END.exec(words) : null;
    const level = start?.[1].length ?? { "=": 1, "-": 2 }[end?.[1]?.[0]];
    box.dataset.level = level ?? (this.format === "html" ? this.level : 2);
    const [from, to] = [start?.[0].length ?? 0, end?.index ?? words.length];
    inside.append(mark(words.slice(0, from)));
    write(inside, words.slice(from, to), this.format);
    inside.append(mark(words.slice(to)));
  }

  placeItem(box, text, hasDot) {
    const [lead] = /[^\r\n]*$/.exec(this.before);
    const indent = (lead.trim() ? "" : lead) + /^\s*/.exec(text)[0];
    const depth = this.format === "html" ? this.lists - 1 : Math.floor(indent.replaceAll("\t", "    ").length / 2);
    box.style.setProperty("--depth", Math.min(6, Math.max(0, depth)));
    box.dataset.dot = hasDot;
  }
}

/**
 * Draw the units of a passage.
 * @param {string} text of the passage.
 * @param {string} format by which it was cut.
 * @param {object[]} units of the response.
 * @returns {{blocks: Element[], pieces: Element[]}} the blocks, and in them an element for each unit.
 */
export function blocksOf(text, format, units) {
  const slice = slicer(text);
  const builder = new Builder(format);
  for (const unit of units) builder.add(unit, slice(unit.start, unit.end));
  return builder;
}
