// Streams: the way of an event from the gate to the stores, with what flows.
import { html, useStore, useMemo } from "../h.js";
import { get } from "../api.js";
import { usePoll } from "../poll.js";
import { count, figure, span, zone } from "../format.js";
import { Age, Fresh, Problem, Section, Table, Unknown } from "../ui.js";

const boxWidth = 168, boxHeight = 44, gapX = 96, gapY = 18;

// place gives each node a column by the longest way to it, and a row in it.
function place(nodes, edges) {
  const column = new Map(nodes.map((n) => [n.id, 0]));
  for (let round = 0; round < nodes.length; round++) {
    let moved = false;
    for (const e of edges) {
      if (!column.has(e.from) || !column.has(e.to) || e.from === e.to) continue;
      const next = column.get(e.from) + 1;
      if (next > column.get(e.to) && next <= 7) {
        column.set(e.to, next);
        moved = true;
      }
    }
    if (!moved) break;
  }
  const rows = new Map(), at = new Map();
  const order = [...nodes].sort((a, b) => column.get(a.id) - column.get(b.id) || (a.name < b.name ? -1 : 1));
  for (const n of order) {
    const c = column.get(n.id), r = rows.get(c) ?? 0;
    rows.set(c, r + 1);
    at.set(n.id, { x: 4 + c * (boxWidth + gapX), y: 4 + r * (boxHeight + gapY) });
  }
  const columns = Math.max(0, ...column.values()) + 1, most = Math.max(1, ...rows.values());
  return { at, width: columns * (boxWidth + gapX) - gapX + 8, height: most * (boxHeight + gapY) - gapY + 8 };
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
      <svg class="topology" viewBox=${`0 0 ${placed.width} ${placed.height}`} width=${placed.width} role="img" aria-label=${words(t)}>
        ${t.edges.map((e) => line(e, placed.at))}
        ${t.nodes.map((n) => { const p = placed.at.get(n.id); return html`<g class=${`node ${n.kind}`} transform=${`translate(${p.x} ${p.y})`} key=${n.id}><title>${n.kind} ${n.name}</title>
          <rect width=${boxWidth} height=${boxHeight} rx="8" /><text x="12" y="19">${n.name.length > 22 ? `${n.name.slice(0, 21)}…` : n.name}</text><text class="sub" x="12" y="34">${n.kind}${n.process?.length ? `, ${n.process.length > 1 ? `${n.process.length} processes` : n.process[0]}` : ""}</text></g>`; })}
      </svg></div></${Section}>
    <${Section} id="edges" title="What flows">${Object.entries(t.unknown ?? {}).map(([part, why]) => html`<p class="dim">${part}: ${why}.</p>`)}<${Table} caption="What flows" rows=${t.edges} keyOf=${(e) => `${e.from} ${e.to} ${e.group}`} columns=${[
      { name: "from", cell: (e) => e.from.replace("/", " ") }, { name: "to", cell: (e) => e.to.replace("/", " ") }, { name: "per second", kind: "num", cell: (e) => known(e.per_second, figure) },
      { name: "in all", kind: "num", cell: (e) => known(e.total, count) }, { name: "errors", kind: "num", cell: (e) => known(e.errors, (n) => (n ? html`<b class="bad">${count(n)}</b>` : "0")) },
      { name: "behind", kind: "num", cell: (e) => (e.group ? html`${known(e.records, count)} <span class="dim">${e.lag_seconds == null ? "" : span(e.lag_seconds)}</span>` : "") },
      { name: "as of", cell: (e) => (e.at ? html`<${Age} at=${e.at} />` : html`<${Unknown} />`) }]} /></${Section}>` : null}`;
}

function line(e, at) {
  const a = at.get(e.from), b = at.get(e.to);
  if (!a || !b) return null;
  const x1 = a.x + boxWidth, y1 = a.y + boxHeight / 2, x2 = b.x, y2 = b.y + boxHeight / 2, mid = (x1 + x2) / 2;
  const rate = e.per_second === null || e.per_second === undefined ? null : `${figure(e.per_second)}/s`;
  return html`<g key=${`${e.from} ${e.to} ${e.group}`}><path class=${e.errors ? "bad" : ""} d=${x2 > x1 ? `M${x1} ${y1}C${mid} ${y1} ${mid} ${y2} ${x2} ${y2}` : `M${x1} ${y1}C${x1 + 60} ${y1} ${x2 - 60} ${y2} ${x2} ${y2}`} />
    ${rate ? html`<text class="sub" x=${x2 - 6} y=${y2 - 6} text-anchor="end">${rate}</text>` : null}</g>`;
}

const words = (t) => `${t.nodes.length} boxes and ${t.edges.length} ways between them; the table below says the same. ${t.edges.map((e) => `${e.from} to ${e.to}`).join(", ")}`;
