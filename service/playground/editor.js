/** Input fields of the passages. */

const list = document.getElementById("passages");
const template = document.getElementById("passage");

function number() {
  const boxes = [...list.children];
  boxes.forEach((box, index) => {
    const body = box.querySelector(".body");
    const problem = box.querySelector(".problem");
    problem.id = `passage-${index}-problem`;
    body.setAttribute("aria-label", `Passage ${index + 1}`);
    body.setAttribute("aria-describedby", problem.id);
    box.querySelector(".title").setAttribute("aria-label", `Title of passage ${index + 1}`);
    box.querySelector(".format-of").setAttribute("aria-label", `Format of passage ${index + 1}`);
    box.querySelector(".remove").setAttribute("aria-label", `Remove passage ${index + 1}`);
  });
  document.getElementById("passage-count").textContent = boxes.length > 1 ? boxes.length : "";
}

const changed = () => list.dispatchEvent(new Event("input", { bubbles: true }));

function remove(box) {
  const next = box.nextElementSibling ?? box.previousElementSibling;
  box.remove();
  if (!next) append({});
  number();
  (next ?? list.firstElementChild).querySelector(".body").focus();
  changed();
}

function append({ title = "", text = "", format = "auto" }) {
  const box = template.content.firstElementChild.cloneNode(true);
  box.querySelector(".title").value = title;
  box.querySelector(".body").value = text;
  box.querySelector(".format-of").value = format;
  box.querySelector(".remove").addEventListener("click", () => remove(box));
  list.append(box);
  return box;
}

/** Replace all passages; without any, one empty box remains. */
export function setPassages(passages) {
  list.replaceChildren();
  (passages.length ? passages : [{}]).forEach(append);
  number();
  changed();
}

/** Add an empty box and go to it. */
export function addPassage() {
  const box = append({});
  number();
  box.querySelector(".body").focus();
  changed();
}

/** Add the parts of a text between blank lines, in place of boxes that are empty. */
export function addPasted(text) {
  const parts = text.split(/\n\s*\n/).map((part) => part.trim()).filter(Boolean);
  const present = [...list.children].map(read).filter((passage) => passage.text.trim() || passage.title);
  setPassages([...present, ...parts.map((part) => ({ text: part }))]);
}

function read(box) {
  const [title, body, format] = [".title", ".body", ".format-of"].map((part) => box.querySelector(part));
  return { box, body, title: title.value.trim(), text: body.value, format: format.value };
}

/** Return the passages that contain text, each with its box. */
export const passages = () => [...list.children].map(read).filter((passage) => passage.text.trim());
