// JSON with the places marked that errors point at, made as elements from the
// parsed value: nothing of it is ever taken for markup.
import { html } from "./h.js";

const escape = (name) => String(name).replaceAll("~", "~0").replaceAll("/", "~1");

// Marked shows a value; errors are [{pointer, message}].
export function Marked({ value, errors }) {
  const by = new Map();
  for (const e of errors ?? []) by.set(e.pointer ?? "", [...(by.get(e.pointer ?? "") ?? []), e.message]);
  return html`<pre tabindex="0">${part(value, "", 0, by)}</pre>`;
}

function part(value, pointer, depth, by) {
  const indent = "  ".repeat(depth + 1);
  let text;
  if (value === null || typeof value !== "object") text = JSON.stringify(value);
  else {
    const list = Array.isArray(value), entries = list ? value.map((v, i) => [i, v]) : Object.entries(value);
    const [open, close] = list ? "[]" : "{}";
    text = entries.length ? html`${open}\n${entries.map(([k, v], i) => html`${indent}${list ? "" : `${JSON.stringify(k)}: `}${part(v, `${pointer}/${escape(k)}`, depth + 1, by)}${
      i < entries.length - 1 ? "," : ""}\n`)}${"  ".repeat(depth)}${close}` : `${open}${close}`;
  }
  const why = by.get(pointer);
  return why && pointer ? html`<mark title=${why.join("; ")}>${text}</mark><span class="bad">  ← ${why.join("; ")}</span>` : text;
}
