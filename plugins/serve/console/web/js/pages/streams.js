// Streams: the way of an event from the gate to the stores, with what flows.
import { html, useStore, useMemo } from "../h.js";
import { get } from "../api.js";
import { usePoll } from "../poll.js";
import { count, figure, span, zone } from "../format.js";
import { Fresh, Problem, Section, Table, Unknown } from "../ui.js";

const boxWidth = 158, boxHeight = 42, gapX = 76, gapY = 14;

// place gives each node a column by what it is - sources, the streams that read
// them, topics, the streams that read those, and where it ends - and a row in it,
// near what it is joined to.
function place(nodes, edges) {
  const kind = new Map(nodes.map((n) => [n.id, n.kind]));
  const reads = new Set(edges.filter((e) => kind.get(e.from) === "topic").map((e) => e.to));
  const columns = [[], [], [], [], []];
  for (const n of nodes) {
    const at = { source: 0, topic: 2, stream: reads.has(n.id) ? 3 : 1 }[n.kind] ?? 4;
    columns[at].push(n.id);
  }
  const row = new Map();
  const settle = (column) => column.forEach((id, i) => row.set(id, i - column.length / 2));
  columns.forEach(settle);
  const joined = (id) => edges.flatMap((e) => (e.from === id ? [e.to] : e.to === id ? [e.from] : [])).filter((other) => row.has(other));
  for (let round = 0; round < 8; round++) {
    for (const column of columns) {
      const wish = new Map(column.map((id) => {
        const near = joined(id).map((other) => row.get(other));
        return [id, near.length ? near.reduce((a, b) => a + b, 0) / near.length : row.get(id)];
      }));
      column.sort((a, b) => wish.get(a) - wish.get(b));
      settle(column);
    }
  }
  const most = Math.max(1, ...columns.map((c) => c.length)), at = new Map();
  const used = columns.filter((c) => c.length);
  used.forEach((column, x) => column.forEach((id, i) => at.set(id, {
    x: 4 + x * (boxWidth + gapX), y: 4 + (i + (most - column.length) / 2) * (boxHeight + gapY) })));
  return { at, width: used.length * (boxWidth + gapX) - gapX + 8, height: most * (boxHeight + gapY) - gapY + 8 };
}

const known = (v, show) => (v === null || v === undefined ? html`<${Unknown} />` : show(v));

export default function Streams() {
  useStore(zone);
  const poll = usePoll((signal) => get("/v1/topology", {}, { signal }), [], 2000);
  const t = poll.data;
  const shape = t ? JSON.stringify([t.nodes.map((n) => n.id), t.edges.map((e) => [e.from, e.to])]) : "";
  const placed = useMemo(() => (t ? place(t.nodes, t.edges) : null), [shape]);
  return html`<div class="title"><h1>Streams</h1><span class="side"><${Fresh} poll=${poll} every=${2000} /></span></div>
    <${Problem} error=${poll.error} at=${poll.at} what="The streams" />
    ${t ? html`<${Section} id="picture" title="The way of an event"><div class="scroll" role="region" tabindex="0" aria-label="Picture of the streams">
      <svg class="topology" viewBox=${`0 0 ${placed.width} ${placed.height}`} role="img" aria-label=${words(t)}>
        ${t.edges.map((e) => line(e, placed.at))}
        ${t.nodes.map((n) => { const p = placed.at.get(n.id); return html`<g class=${`node ${n.kind}`} transform=${`translate(${p.x} ${p.y})`} key=${n.id}><title>${n.kind} ${n.name}</title>
          <rect width=${boxWidth} height=${boxHeight} rx="8" /><text x="12" y="19">${n.name.length > 20 ? `${n.name.slice(0, 19)}…` : n.name}</text><text class="sub" x="12" y="34">${n.kind}${n.processes?.length > 1 ? `, ${n.processes.length} processes` : ""}</text></g>`; })}
      </svg></div></${Section}>
    <${Section} id="edges" title="What flows">${Object.entries(t.unknown ?? {}).map(([part, why]) => html`<p class="dim">${part}: ${why}.</p>`)}
      <p class="dim">Where several ways are counted together, each is at most what is told.</p>
      <${Table} caption="What flows" rows=${[...t.edges].sort((a, b) => (b.per_second ?? 0) - (a.per_second ?? 0))} keyOf=${(e) => `${e.from} ${e.to} ${e.label}`} columns=${[
        { name: "from", cell: (e) => e.from.replace("/", " ") }, { name: "to", cell: (e) => e.to.replace("/", " ") },
        { name: "per second", kind: "num", cell: (e) => html`${e.shared ? "≤ " : ""}${known(e.per_second, figure)}` },
        { name: "in all", kind: "num", cell: (e) => html`${e.shared ? "≤ " : ""}${known(e.total, count)}` },
        { name: "errors", kind: "num", cell: (e) => known(e.errors, (n) => (n ? html`<b class="bad">${count(n)}</b>` : "0")) },
        { name: "behind", kind: "num", cell: (e) => (e.group ? html`${known(e.records, count)}${e.lag_seconds ? html` <span class="dim">${span(e.lag_seconds)}</span>` : null}` : "") }]} /></${Section}>` : null}`;
}

function line(e, at) {
  const a = at.get(e.from), b = at.get(e.to);
  if (!a || !b) return null;
  const back = b.x <= a.x, x1 = back ? a.x : a.x + boxWidth, x2 = back ? b.x + boxWidth : b.x;
  const y1 = a.y + boxHeight / 2, y2 = b.y + boxHeight / 2, mid = (x1 + x2) / 2;
  const rate = e.per_second ? `${e.shared ? "≤ " : ""}${figure(e.per_second)}/s` : null;
  return html`<g key=${`${e.from} ${e.to} ${e.group}`}><path class=${`${e.errors ? "bad" : ""} ${back ? "back" : ""}`}
      d=${`M${x1} ${y1}C${mid} ${y1} ${mid} ${y2} ${x2} ${y2}`} />
    ${rate ? html`<text class="sub" x=${back ? x2 + 6 : x2 - 6} y=${y2 - 6} text-anchor=${back ? "start" : "end"}>${rate}</text>` : null}</g>`;
}

const words = (t) => `${t.nodes.length} boxes and ${t.edges.length} ways between them; the table below says the same. ${t.edges.map((e) => `${e.from} to ${e.to}`).join(", ")}`;
