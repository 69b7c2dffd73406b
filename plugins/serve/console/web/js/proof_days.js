// What the proofs of thirty days came to: a column a day, a cell an hour, in the
// zone that is shown. An hour in which nothing was proven stays empty.
import { html } from "./h.js";
import { count, instant, minute, zoneName } from "./format.js";
import { Table } from "./ui.js";

const hour = 3600000;

// cells puts hours at their places: {days, cells: [{day, hour, kind}]}, the worst
// last, so that of two at one place, where clocks are put back, it is seen.
export function cells(from, to, hours) {
  const days = [], place = new Map();
  for (let t = Math.floor(from / hour) * hour; t < to; t += hour) {
    const day = minute(t).slice(0, 10);
    if (!place.has(day)) place.set(day, days.push(day) - 1);
  }
  const rank = { explained: 0, failed: 1, loss: 2 };
  const list = hours.map((h) => {
    const text = minute(h.hour);
    return { day: place.get(text.slice(0, 10)), hour: Number(text.slice(11, 13)), kind: h.loss ? "loss" : h.failed ? "failed" : "explained" };
  }).filter((c) => c.day !== undefined);
  return { days, cells: list.sort((a, b) => rank[a.kind] - rank[b.kind]) };
}

// inWords says what the picture shows.
export function inWords(from, to, hours) {
  const sum = (name) => hours.reduce((n, h) => n + h[name], 0);
  const runs = sum("explained") + sum("loss") + sum("failed");
  const silent = Math.max(0, Math.round((to - from) / hour) - hours.length);
  const missing = sum("loss"), undone = sum("failed");
  return `${count(runs)} proofs in thirty days: ${count(sum("explained"))} explained every record${missing ? `, ${count(missing)} found events missing` : ""}${
    undone ? `, ${count(undone)} could not be done` : ""}. ${silent ? `Nothing was proven in ${count(silent)} of the hours.` : "No hour went by without one."}`;
}

// Days is the picture, and the hours that were not as they should be.
export function Days({ from, to, hours }) {
  const { days, cells: list } = cells(from, to, hours), words = inWords(from, to, hours);
  const odd = hours.filter((h) => h.loss || h.failed).reverse();
  return html`<figure class="days"><svg role="img" aria-label=${words} viewBox=${`0 0 ${days.length * 10} 96`} preserveAspectRatio="none">
      <rect class="d-none" width=${days.length * 10} height="96" />
      ${list.map((c) => html`<rect class=${`d-${c.kind}`} x=${c.day * 10} y=${c.hour * 4} width="9" height="3.6" />`)}</svg>
    <div class="ends dim" aria-hidden="true"><span>${days[0]}</span><span class="key d-explained">every record explained</span><span
      class="key d-failed">could not be done</span><span class="key d-loss">events missing</span><span>${days.at(-1)}</span></div>
    <figcaption>${words} A column is a day from midnight down, in ${zoneName()}.</figcaption></figure>
    ${odd.length ? html`<${Table} caption="Hours that were not as they should be" rows=${odd.slice(0, 24)} keyOf=${(h) => h.hour} columns=${[
      { name: "hour from", cell: (h) => html`<time datetime=${h.hour} class="nowrap">${instant(h.hour).slice(0, 16)}</time>` },
      { name: "explained", kind: "num", cell: (h) => count(h.explained) },
      { name: "events missing", kind: "num", cell: (h) => (h.loss ? html`<b class="bad">${count(h.loss)}</b>` : count(h.loss)) },
      { name: "could not be done", kind: "num", cell: (h) => count(h.failed) }]} />
      ${odd.length > 24 ? html`<p class="dim">The newest 24 of ${count(odd.length)} such hours.</p>` : null}` : null}`;
}
