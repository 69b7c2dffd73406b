// The lines in which two texts differ.
import { html } from "./h.js";

// diff returns [kind, line]: " " in both, "-" in the first, "+" in the second.
export function diff(before, after) {
  const a = before.split("\n"), b = after.split("\n");
  const common = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const out = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) out.push([" ", a[i++]]), j++;
    else if (i < a.length && (j === b.length || common[i + 1][j] >= common[i][j + 1])) out.push(["-", a[i++]]);
    else out.push(["+", b[j++]]);
  }
  return out;
}

const kinds = { "-": "del", "+": "add", " ": "same" };

// Diff shows the lines that differ, with some of those around them.
export function Diff({ before, after, around = 3 }) {
  if (before.split("\n").length * after.split("\n").length > 4e6) return html`<p class="note">The texts are too long to compare here.</p>`;
  const lines = diff(before, after);
  const near = lines.map((_, i) => lines.slice(Math.max(0, i - around), i + around + 1).some(([k]) => k !== " "));
  if (!near.includes(true)) return html`<p class="empty">They do not differ.</p>`;
  return html`<pre tabindex="0" class="diff">${lines.map(([k, line], i) => (near[i] ? html`<span class=${kinds[k]}>${k} ${line}</span>`
    : near[i - 1] ? html`<span class="same dim">…</span>` : null))}</pre>`;
}
