// Rollups as series of a chart, and as CSV.
import { get } from "./api.js";
import { rfc, seconds } from "./range.js";
import { figure } from "./format.js";
import { csv, save } from "./csv.js";

// readRollups asks for all pages of one metric in a range: of a device, of a
// group, or of the fleet.
export async function readRollups(of, metric, range, window, signal) {
  const rows = [];
  let cursor;
  do {
    const page = await get("/v1/rollups", { ...of, metric, from: rfc(range.from), to: rfc(range.to), resolution: window,
      limit: 2500, cursor }, { signal });
    rows.push(...page.rollups);
    cursor = page.next;
  } while (cursor && rows.length < 5000);
  return rows;
}

// bandOf makes the lines and bands of rollups; a window without readings is a gap.
export function bandOf(rows, range, window) {
  const step = seconds(window);
  const begin = Math.floor(range.from / step) * step, end = Math.ceil(range.to / step) * step;
  const at = new Map(rows.map((r) => [Date.parse(r.bucket) / 1000, r]));
  const times = [], lines = { min: [], max: [], p50: [], p95: [] };
  if (rows.length) {
    for (let t = begin; t < end; t += step) {
      const r = at.get(t);
      times.push(t);
      for (const name of Object.keys(lines)) lines[name].push(r ? r[name] : null);
    }
  }
  return {
    times,
    series: [
      { label: "min", values: lines.min, key: false },
      { label: "max", values: lines.max, name: "min to max", fill: "band-wide", band: [0, 1] },
      { label: "p50", values: lines.p50, colour: "accent", name: "p50" },
      { label: "p95", values: lines.p95, colour: "second", name: "p50 to p95", fill: "band", band: [2, 3] },
    ],
  };
}

// inWords says what a chart of rollups shows.
export function inWords(rows, metric, window) {
  if (!rows.length) return "";
  const n = rows.reduce((sum, r) => sum + r.count, 0);
  const low = rows.reduce((a, b) => (b.min < a.min ? b : a)), high = rows.reduce((a, b) => (b.max > a.max ? b : a));
  const last = rows.at(-1);
  return `${metric}: ${n.toLocaleString("en")} readings in ${rows.length} windows of ${window}, from ${figure(low.min)} to ${
    figure(high.max)}; the last window's median is ${figure(last.p50)}, its 95th percentile ${figure(last.p95)}.`;
}

const columns = ["bucket", "metric", "count", "sum", "min", "max", "avg", "p50", "p95"];

// saveRollups gives them as CSV.
export const saveRollups = (name, rows) => save(`${name}.csv`, csv(["device_id", ...columns],
  rows.map((r) => [r.device_id, ...columns.map((c) => r[c])])));
