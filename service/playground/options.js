/** The settings under "More options". Each has the name of its option as id. */

const find = (id) => document.getElementById(id);
const filledLines = (text) => text.split("\n").filter((line) => line.trim());

const flag = (field) => field.checked || undefined;
const number = (field) => field.valueAsNumber || undefined;
const text = (field) => field.value || undefined;
const choice = (field) => (field.value ? field.value === "true" : undefined);
const list = (field) => {
  const entries = [...(find(`${field.id}_errors`)?.checked ? ["errors"] : []), ...filledLines(field.value)];
  return entries.length ? entries : undefined;
};

const READERS = {
  keep_structure: choice,
  always_keep: list,
  never_keep: list,
  neighbours: number,
  head: number,
  tail: number,
  dedupe: flag,
  gap_marker: text,
};

/** Return the options that are set. */
export function moreOptions() {
  const read = Object.entries(READERS).map(([name, value]) => [name, value(find(name))]);
  return Object.fromEntries(read.filter(([, value]) => value !== undefined));
}

/** Say how many options are set, in case they are out of sight. */
export function countOptions() {
  const number = Object.keys(moreOptions()).length;
  find("more-count").textContent = number ? `${number} set` : "";
  find("reset").hidden = number === 0;
}

/** Unset all options. */
export function resetOptions() {
  for (const field of find("more").querySelectorAll("input, select, textarea")) {
    if (field.type === "checkbox") field.checked = false;
    else if (field.tagName === "SELECT") field.selectedIndex = 0;
    else field.value = field.defaultValue;
  }
  countOptions();
}
