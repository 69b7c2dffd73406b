// A chart: lines and bands over time, drawn by uPlot; what it shows stands under
// it in words, and can be read as a table.
import { html, useEffect, useRef, useState, useStore } from "./h.js";
import { figure, instant, offset, zone, zoneName } from "./format.js";
import { Table } from "./ui.js";

const look = store();
function store() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const followers = new Set();
  const tell = () => followers.forEach((f) => f());
  dark.addEventListener("change", tell);
  new MutationObserver(tell).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  return { follow: (f) => (followers.add(f), () => followers.delete(f)) };
}

// colour reads a variable of the style sheet as the page has it now.
function colour(name, el) {
  el.style.color = `var(--${name})`;
  const value = getComputedStyle(el).color;
  el.style.color = "";
  return value;
}

const pad = (n) => String(n).padStart(2, "0");
// tick names the instants of an axis: the time, and the day where it changes.
const ticks = (dateOf) => (u, splits, axis, space, step) => {
  let before = "";
  return splits.map((s) => {
    const d = dateOf(s);
    const day = `${pad(d.getMonth() + 1)}-${pad(d.getDate())}`;
    const time = step < 60 ? `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}` : `${pad(d.getHours())}:${pad(d.getMinutes())}`;
    const text = step >= 86400 ? day : day === before || before === "" && step < 3600 ? time : `${time}\n${day}`;
    before = day;
    return text;
  });
};

// Chart draws series [{label, values, colour, band: [lower, upper], points, dash}]
// over times (seconds). A band fills between two series by their places.
export function Chart({ label, times, series, unit, height = 240, from, to, lines = [], onRange, words, columns }) {
  const box = useRef(), plot = useRef(null), readout = useRef();
  const [width, setWidth] = useState(0), [theme, setTheme] = useState(0), [open, setOpen] = useState(false);
  const z = useStore(zone);
  useEffect(() => look.follow(() => setTheme((n) => n + 1)), []);
  useEffect(() => {
    const watch = new ResizeObserver(([e]) => setWidth(Math.floor(e.contentRect.width)));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const shape = JSON.stringify([series.map((s) => [s.label, s.colour, s.points, s.dash]), lines, unit, Boolean(onRange)]);
  useEffect(() => {
    if (!width) return undefined;
    const el = box.current, c = (name) => colour(name, el);
    const ink = c("muted"), grid = c("grid");
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const bands = [];
    series.forEach((s, i) => { if (s.band) bands.push({ series: [s.band[1] + 1, s.band[0] + 1], fill: c(s.fill) }); });
    const dateOf = (s) => (z === "UTC" ? uPlot.tzDate(new Date(s * 1000), "UTC") : new Date(s * 1000));
    const options = {
      width, height, legend: { show: false }, padding: [8, 22, 0, 0], bands,
      cursor: { y: false, drag: { x: Boolean(onRange), y: false, setScale: false }, points: { size: 7 } },
      tzDate: dateOf,
      scales: { x: { time: true }, y: { range: (u, min, max) => span(min, max, lines) } },
      axes: [{ ...axis, values: ticks(dateOf), space: 72, size: 38 }, { ...axis, size: 56, values: (u, v) => v.map(figure) }],
      series: [{}, ...series.map((s) => ({
        label: s.label, stroke: s.colour ? c(s.colour) : undefined, width: s.colour && !s.points ? 1.75 : 0, dash: s.dash,
        points: { show: Boolean(s.points), filter: s.points ? undefined : alone, size: 4, fill: s.colour ? c(s.colour) : undefined, stroke: s.colour ? c(s.colour) : undefined },
        spanGaps: false,
      }))],
      hooks: {
        setCursor: [(u) => tell(u)],
        setSelect: [(u) => {
          if (u.select.width < 8) return;
          const at = (px) => Math.floor(u.posToVal(px, "x"));
          onRange?.(at(u.select.left), at(u.select.left + u.select.width));
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        }],
        draw: [(u) => {
          for (const line of lines) {
            const y = Math.round(u.valToPos(line.value, "y", true));
            u.ctx.save();
            u.ctx.strokeStyle = c("bad");
            u.ctx.lineWidth = devicePixelRatio;
            u.ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
            u.ctx.beginPath();
            u.ctx.moveTo(u.bbox.left, y);
            u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
            u.ctx.stroke();
            u.ctx.restore();
          }
        }],
      },
    };
    const tell = (u) => {
      const i = u.cursor.idx, out = readout.current;
      if (!out) return;
      out.textContent = i === null || i === undefined ? "" : `${instant(u.data[0][i] * 1000)}  ` +
        u.series.slice(1).map((s, n) => `${s.label} ${u.data[n + 1][i] == null ? "no value" : figure(u.data[n + 1][i])}`).join("  ·  ");
    };
    plot.current = new uPlot(options, data(times, series), el);
    limit(plot.current, from, to);
    return () => { plot.current.destroy(); plot.current = null; };
  }, [width, height, theme, z, shape]);
  useEffect(() => {
    plot.current?.setData(data(times, series), false);
    if (plot.current) limit(plot.current, from, to);
  }, [times, series, from, to]);
  const empty = !times.length;
  const table = columns ?? [{ name: "time", cell: (i) => instant(times[i] * 1000) },
    ...series.map((s) => ({ name: s.label, kind: "num", cell: (i) => (s.values[i] == null ? "no value" : figure(s.values[i])) }))];
  return html`<figure class="chart">
    <div class="legend" aria-hidden="true">${series.filter((s) => s.key !== false).map((s) => html`<span class=${`key ${s.fill ?? s.colour}`}>${s.name ?? s.label}</span>`)}
      ${lines.map((l) => html`<span class="key limit">${l.label}</span>`)}<span class="readout" ref=${readout}></span></div>
    <div class=${`plot${empty ? " is-empty" : ""}`} ref=${box} role="img" aria-label=${`${label}. ${words ?? ""}`} data-height=${height}></div>
    ${empty ? html`<p class="empty over">No readings between ${instant(from * 1000)} and ${instant(to * 1000)}.</p>` : null}
    <figcaption>${words} Times in ${zoneName()}${from ? ` (${offset(from * 1000)})` : ""}.
      ${empty ? null : html` <button type="button" class="link" aria-expanded=${open} onClick=${() => setOpen(!open)}>${open ? "Hide the table" : "As a table"}</button>`}</figcaption>
    ${open && !empty ? html`<${Table} caption=${label} columns=${table} rows=${times.map((_, i) => i).reverse().slice(0, 500)} />
      ${times.length > 500 ? html`<p class="dim">The newest 500 of ${times.length}; all are in the CSV.</p>` : null}` : null}
  </figure>`;
}

// alone finds the values that no line reaches, as they have gaps on both sides: they
// are drawn as points.
function alone(u, i) {
  const v = u.data[i];
  return u.series[i].width ? v.flatMap((one, n) => (one != null && v[n - 1] == null && v[n + 1] == null ? [n] : [])) : [];
}

const data = (times, series) => [times, ...series.map((s) => s.values)];

function limit(u, from, to) {
  if (from && to) u.setScale("x", { min: from, max: to });
}

// span gives the values a little room, and the limits' lines a place.
function span(min, max, lines) {
  for (const { value } of lines) {
    min = Math.min(min ?? value, value);
    max = Math.max(max ?? value, value);
  }
  if (min === null || min === undefined) return [0, 1];
  const room = (max - min || Math.abs(max) || 1) * 0.08;
  return [min >= 0 && min - room < 0 ? 0 : min - room, max + room];
}
