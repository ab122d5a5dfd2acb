/** The playground: sends requests on demand, and shortly after an option has changed. */

import { ask, BASE, Failure } from "./api.js";
import { addPassage, addPasted, passages, setPassages } from "./editor.js";
import { EXAMPLES } from "./examples.js";
import { shown } from "./blocks.js";
import { element } from "./inline.js";
import { countOptions, moreOptions, resetOptions } from "./options.js";
import { draw, fromDial, installTip, mark, markTicks, placeStops, preview, toDial } from "./result.js";
import { SNIPPETS } from "./snippets.js";

const find = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;

const state = {
  threshold: null, // chosen by the user; null for the model's own
  own: null, // the model's own, once it is known
  drawn: null, // what the passages in the page are about: query, passages and model
  running: null, // aborts the last request
  models: [],
};

let waiting = null; // the timer of the next request
let announcing; // the timer of the next announcement

/* The request */

const wellFormed = (text) => text.toWellFormed?.() ?? text;

function options() {
  const mode = chosen("mode");
  if (mode !== "threshold") return { [mode]: Number(find(mode).value), ...moreOptions() };
  return { ...(state.threshold !== null && { threshold: state.threshold }), ...moreOptions() };
}

function body(sent) {
  const model = state.models.length > 1 ? { model: find("model").value } : {};
  return {
    query: wellFormed(find("query").value),
    passages: sent.map(({ title, text, format }) => {
      if (!title && format === "auto") return wellFormed(text);
      return {
        ...(title && { title: wellFormed(title) }),
        text: wellFormed(text),
        ...(format !== "auto" && { format }),
      };
    }),
    ...options(),
    ...model,
  };
}

async function prune({ explicit = false } = {}) {
  clearTimeout(waiting);
  waiting = null;
  state.running?.abort();
  const running = (state.running = new AbortController());
  const sent = passages();
  const request = body(sent);
  clearProblems();
  find("recall-note").textContent = "";
  setBusy(true, explicit);
  try {
    const key = find("key").value.trim();
    const answer = await ask("v1/prune", {
      method: "POST",
      headers: { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) },
      body: JSON.stringify({ ...request, return_units: true }),
      signal: running.signal,
    });
    show(answer, sent, request);
    if (explicit) reveal();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Failure)) throw error;
    showProblems(error, sent, explicit);
  } finally {
    if (state.running === running && !waiting) setBusy(false);
  }
}

/** Bring the result into view where it lies below the form. */
function reveal() {
  if (find("result").getBoundingClientRect().top > innerHeight / 2) find("result").scrollIntoView();
}

function setBusy(busy, explicit = false) {
  find("result").setAttribute("aria-busy", busy);
  find("prune").textContent = busy && explicit ? "Pruning…" : "Prune";
}

/* The result */

function show(answer, sent, request) {
  if (!("threshold" in request || "target_recall" in request)) state.own = answer.threshold;
  find("empty").hidden = true;
  find("found").hidden = false;
  find("stale").hidden = true;
  for (const id of ["slider", "threshold", "own"]) find(id).disabled = false;
  const { query, passages, model } = request;
  const subject = JSON.stringify([query, passages, model]);
  if (subject !== state.drawn) draw(answer.results, sent);
  state.drawn = subject;
  mark(answer.results);
  find("warnings").replaceChildren(...answer.warnings.map((textContent) => element("li", { textContent })));
  find("warnings").hidden = answer.warnings.length === 0;
  const time = answer.timings.total_ms.toFixed(0);
  const { query_tokens, input_tokens } = answer.usage;
  find("cost").textContent = `${answer.model} · ${time} ms · ${query_tokens} + ${input_tokens} tokens read`;
  find("recall-note").textContent = "target_recall" in request ? `threshold ${shown(answer.threshold)}` : "";
  if (chosen("mode") === "threshold" && state.threshold === null) moveDial(answer.threshold);
  showFigures(answer);
}

function showFigures({ results, usage }) {
  const sum = (name) => results.reduce((total, result) => total + result[name], 0);
  const kept = `${sum("kept_units")} of ${sum("total_units")}`;
  const saved = usage.input_tokens ? `${Math.round(usage.compression * 100)}%` : "–";
  find("kept").textContent = kept;
  find("tokens").textContent = `${usage.input_tokens} → ${usage.output_tokens}`;
  find("saved").textContent = saved;
  announce(`${kept} units kept, ${usage.output_tokens} of ${usage.input_tokens} tokens, ${saved} saved.`);
}

/** Announce the result to screen readers once the slider rests. */
function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => (find("status").textContent = text), 300);
}

function moveDial(value, except) {
  if (except !== "slider") find("slider").value = toDial(value);
  if (except !== "threshold") find("threshold").value = value;
  find("slider").setAttribute("aria-valuetext", shown(value));
  markTicks(value);
}

/* Errors */

/** Return the element that shows the problem of a field, and the element to focus. */
function placeOf(field, sent) {
  const [, index] = /^passages\[(\d+)\]/.exec(field) ?? [];
  const passage = sent[index];
  if (passage) return { problem: passage.box.querySelector(".problem"), input: passage.body };
  const [name] = /^[^[.]*/.exec(field);
  const input = find(name || "problem");
  const problem = input && find(`${input.id}-problem`);
  if (!problem) return { problem: find("problem"), lead: field };
  return { problem, input: input.id === "passages" ? input.querySelector(".body") : input };
}

function showProblems(failure, sent, explicit) {
  if (failure.status === 401) find("key-field").hidden = false;
  const places = failure.errors.map(({ field, message }) => {
    const { problem, input, lead } = placeOf(field, sent);
    problem.textContent = [problem.textContent, lead ? `${lead}: ${message}` : message].filter(Boolean).join(" ");
    input?.setAttribute("aria-invalid", "true");
    input?.closest("details")?.setAttribute("open", "");
    return input;
  });
  if (explicit || failure.status === 401) places.find(Boolean)?.focus();
}

function clearProblems() {
  for (const problem of document.querySelectorAll(".problem")) problem.textContent = "";
  for (const input of document.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

/* Code */

function writeSnippet() {
  const snippet = SNIPPETS[chosen("language")];
  const model = find("model").value || state.models[0] || "secateur";
  const hasKey = find("key").value !== "";
  find("code").textContent = snippet.write({ url: BASE, body: body(passages()), model, hasKey });
  find("snippet-note").textContent = snippet.note;
}

async function copySnippet() {
  const selection = getSelection();
  selection.selectAllChildren(find("code"));
  let copied = true;
  try {
    await navigator.clipboard.writeText(find("code").textContent);
  } catch {
    copied = document.execCommand("copy"); // the clipboard's own interface is only for secure origins
  }
  if (copied) selection.removeAllRanges();
  find("copy").textContent = copied ? "Copied" : "Press Ctrl+C";
  announce(copied ? "Code copied." : "The code is selected; press Ctrl+C.");
  setTimeout(() => (find("copy").textContent = "Copy"), 2000);
}

/* Events */

function loadExample({ query, passages }) {
  find("query").value = query;
  setPassages(passages);
  prune({ explicit: true });
}

function chooseThreshold(value, from) {
  const valid = value >= 0 && value <= 1;
  find("threshold-problem").textContent = valid ? "" : "Give a number from 0 to 1.";
  find("threshold").setAttribute("aria-invalid", !valid);
  if (!valid) return;
  state.threshold = value;
  moveDial(value, from);
  preview(value);
  writeSnippet();
  pruneSoon();
}

async function showModels() {
  const { models } = await ask("health/ready").catch(() => ({ models: [] }));
  state.models = models;
  find("model").replaceChildren(...models.map((name) => new Option(name, name)));
  find("model-field").hidden = models.length < 2;
  writeSnippet();
}

/** Repeat the last request once changes rest for a moment, if there was one. */
function pruneSoon() {
  if (!state.running) return;
  clearTimeout(waiting);
  waiting = setTimeout(prune, 150);
  setBusy(true);
}

function sayStale() {
  find("stale").textContent = "The question or the passages have changed. Press Prune.";
  find("stale").hidden = false;
}

function changeOptions() {
  countOptions();
  writeSnippet();
  pruneSoon();
}

function changeMode() {
  const mode = chosen("mode");
  for (const part of document.querySelectorAll(".mode")) part.hidden = part.dataset.mode !== mode;
  writeSnippet();
  pruneSoon();
}

function install() {
  for (const example of EXAMPLES) {
    const button = element("button", { type: "button", className: "chip", textContent: example.name });
    button.addEventListener("click", () => loadExample(example));
    find("examples").append(button);
  }
  find("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    prune({ explicit: true });
  });
  find("ask").addEventListener("input", (event) => {
    writeSnippet();
    if (state.drawn && !event.target.matches("select")) sayStale();
  });
  find("ask").addEventListener("change", (event) => {
    if (event.target.matches("select")) {
      writeSnippet();
      pruneSoon();
    }
  });
  document.addEventListener("keydown", (event) => {
    const asked = event.key === "Enter" && (event.ctrlKey || event.metaKey);
    if (asked && !find("paste-dialog").open) prune({ explicit: true });
  });
  find("add").addEventListener("click", addPassage);
  find("clear").addEventListener("click", () => {
    find("query").value = "";
    setPassages([]);
    find("query").focus();
  });
  find("paste").addEventListener("click", () => {
    find("pasted").value = "";
    find("paste-dialog").returnValue = "";
    find("paste-dialog").showModal();
    find("pasted").focus();
  });
  find("paste-dialog").addEventListener("close", () => {
    if (find("paste-dialog").returnValue === "add") addPasted(find("pasted").value);
  });
  find("slider").addEventListener("input", (event) => chooseThreshold(fromDial(event.target.valueAsNumber), "slider"));
  find("threshold").addEventListener("input", (event) => chooseThreshold(event.target.valueAsNumber, "threshold"));
  find("own").addEventListener("click", () => {
    state.threshold = null;
    writeSnippet();
    if (state.own !== null) moveDial(state.own);
    prune();
  });
  for (const radio of document.querySelectorAll('input[name="mode"]')) radio.addEventListener("change", changeMode);
  for (const radio of document.querySelectorAll('input[name="language"]')) {
    radio.addEventListener("change", writeSnippet);
  }
  for (const id of ["target_recall", "max_tokens"]) {
    find(id).addEventListener("input", () => {
      writeSnippet();
      pruneSoon();
    });
  }
  find("model").addEventListener("change", () => (state.own = null));
  find("more").addEventListener("input", changeOptions);
  find("more").addEventListener("change", changeOptions);
  find("reset").addEventListener("click", () => {
    resetOptions();
    changeOptions();
    find("more").querySelector("summary").focus();
  });
  for (const radio of document.querySelectorAll('input[name="view"]')) {
    radio.addEventListener("change", () => {
      find("ranking").dataset.view = radio.value;
      placeStops();
    });
  }
  find("marks").addEventListener("change", (event) => {
    find("ranking").classList.toggle("marks", event.target.checked);
    placeStops();
  });
  find("copy").addEventListener("click", copySnippet);
  installTip();
  setPassages([]);
  countOptions();
  showModels();
}

install();
