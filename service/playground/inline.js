/**
 * Text inside of a block. What a reader of Markdown or HTML would not see is put into elements of class `mark`. The
 * characters that entities stand for are shown by CSS, so that the text of the page stays that of the passage.
 */

/** Make an element. */
export const element = (tag, properties) => Object.assign(document.createElement(tag), properties);

const ENTITY = "(?<entity>&(?:#\\d{1,7}|#x[\\da-f]{1,6}|[a-z][a-z\\d]{1,31});)";
const MARKDOWN = new RegExp(
  [
    "(?<ticks>`{1,3})(?<code>[^`]+)\\k<ticks>",
    "\\*\\*(?<strong>[^*\\n]+)\\*\\*",
    "(?<open>!?\\[)(?<link>[^[\\]\\n]+)(?<close>\\]\\([^()\\s]*(?:\\s\"[^\"\\n]*\")?\\))",
    "(?<mark>^[ \\t]*(?:>[ \\t]?)+|<(?:!--|/?[a-z])[^<>]*>)",
    ENTITY,
  ].join("|"),
  "gim",
);
const HTML = new RegExp(`(?<mark><(?:!--|/?[a-z])[^<>]*>)|${ENTITY}`, "gi");
const PATTERNS = { markdown: MARKDOWN, html: HTML };

/** Return an element whose text is there but not shown, unless the page shows marks. */
export const mark = (textContent) => element("span", { className: "mark", textContent });

/**
 * Add text to an element. Every character gets there as text, whatever it looks like.
 * @param {Element} parent
 * @param {string} text
 * @param {string} format of the passage.
 */
export function write(parent, text, format) {
  const pattern = PATTERNS[format];
  let end = 0;
  for (const found of pattern ? text.matchAll(pattern) : []) {
    const { ticks, code, strong, open, link, close, entity } = found.groups;
    parent.append(text.slice(end, found.index));
    end = found.index + found[0].length;
    if (code !== undefined) parent.append(mark(ticks), element("code", { textContent: code }), mark(ticks));
    else if (strong !== undefined) parent.append(mark("**"), styled("strong", "", strong, format), mark("**"));
    else if (link !== undefined) parent.append(mark(open), styled("span", "link", link, format), mark(close));
    else if (entity !== undefined) writeEntity(parent, entity);
    else parent.append(mark(found[0]));
  }
  parent.append(text.slice(end));
}

const decoder = document.createElement("textarea");

function writeEntity(parent, entity) {
  decoder.innerHTML = entity; // nothing but an entity, by its pattern
  if (decoder.value === entity) {
    parent.append(entity); // it has no such name
    return;
  }
  const shown = element("span", { className: "entity" });
  shown.dataset.shown = decoder.value;
  parent.append(shown, mark(entity));
}

function styled(tag, className, text, format) {
  const inside = element(tag, { className });
  write(inside, text, format);
  return inside;
}

/**
 * Cut a row of a table into cells.
 * @param {string} row
 * @param {string} format `markdown` or `html`.
 * @returns {{before: string, text: string, after: string}[]} the text of each cell between marks.
 */
export function cellsOf(row, format) {
  if (format === "html") {
    const [first, ...others] = row.split(/(?=<t[dh]\b)/i);
    const texts = others.length ? [first + others[0], ...others.slice(1)] : [first];
    return texts.map((text) => ({ before: "", text, after: "" }));
  }
  const [, lead, middle, end] = /^([\s>]*\|?)(.*?)(\|?[ \t]*(?:[\r\n][^]*)?)$/.exec(row);
  const texts = middle.split(/(?<!\\)\|/);
  return texts.map((text, index) => {
    return { before: index ? "|" : lead, text, after: index === texts.length - 1 ? end : "" };
  });
}
