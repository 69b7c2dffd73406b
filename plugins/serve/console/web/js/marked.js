// JSON with the places marked that errors point at, made as elements from the
// parsed value: nothing of it is ever taken for markup. What is shown is bounded,
// whatever the value is; text between two marks is one node of the page.
import { html } from "./h.js";
import { count } from "./format.js";

const escape = (name) => String(name).replaceAll("~", "~0").replaceAll("/", "~1");
const most = 128 << 10, deepest = 20; // characters, and levels that are indented further

// Marked shows a value; errors are [{pointer, message}].
export function Marked({ value, errors }) {
  const by = new Map();
  for (const e of errors ?? []) by.set(e.pointer ?? "", [...(by.get(e.pointer ?? "") ?? []), e.message]);
  const left = { characters: most };
  const parts = part(value, "", 0, by, left);
  return html`${left.characters > 0 ? null : html`<p class="note">Laid out, only its first ${count(most)} characters are shown: save the file to see all of it.</p>`}
    <pre tabindex="0">${parts}</pre>`;
}

// part is a list of texts and marks.
function part(value, pointer, depth, by, left) {
  const out = [];
  const add = (text) => {
    if (left.characters <= 0) return;
    const shown = text.slice(0, left.characters);
    left.characters -= text.length;
    if (typeof out.at(-1) === "string") out[out.length - 1] += shown;
    else out.push(shown);
  };
  const addAll = (parts) => {
    for (const p of parts) {
      if (typeof p === "string" && typeof out.at(-1) === "string") out[out.length - 1] += p;
      else out.push(p);
    }
  };
  if (value === null || typeof value !== "object") add(JSON.stringify(value));
  else {
    const list = Array.isArray(value), names = Object.keys(value), [open, close] = list ? "[]" : "{}";
    const indent = (level) => `\n${"  ".repeat(Math.min(level, deepest))}`;
    add(open);
    for (let i = 0; i < names.length && left.characters > 0; i++) {
      add(`${i ? "," : ""}${indent(depth + 1)}${list ? "" : `${JSON.stringify(names[i])}: `}`);
      addAll(part(value[names[i]], `${pointer}/${escape(names[i])}`, depth + 1, by, left));
    }
    add(`${names.length ? indent(depth) : ""}${close}`);
  }
  const why = by.get(pointer);
  return why && pointer ? [html`<mark title=${why.join("; ")}>${out}</mark>`, html`<span class="bad">  ← ${why.join("; ")}</span>`] : out;
}
