// A range of time in the address: from and to as instants, or range as a length
// that ends now; and the windows that fit it.
import { html, useStore, useState } from "./h.js";
import { now } from "./health.js";
import { instant, minute, offset, zone, zoneName } from "./format.js";
import { link, route, setQuery } from "./router.js";
import { Choice } from "./ui.js";

const lengths = { "15m": 900, "1h": 3600, "6h": 21600, "24h": 86400, "7d": 604800, "30d": 2592000, "1y": 31536000 };
const windows = { "1m": 60, "1h": 3600, "1d": 86400 };
const mostPoints = 2000;

// rangeOf reads a range, in seconds; wrong ones come back with why.
export function rangeOf(query, length = "1h") {
  if (query.from || query.to) {
    const from = Date.parse(query.from) / 1000, to = query.to ? Date.parse(query.to) / 1000 : now() / 1000;
    if (Number.isNaN(from) || Number.isNaN(to)) return { why: "The range in the address is no range: from and to are RFC 3339 times." };
    if (from >= to) return { why: "The range in the address is reversed: it ends before it begins." };
    if ((to - from) / windows["1d"] > mostPoints) return { why: `The range in the address is longer than ${mostPoints.toLocaleString("en")} days, which is the most that a page draws.` };
    return { from, to, live: false };
  }
  const name = Object.hasOwn(lengths, query.range) ? query.range : length;
  const to = now() / 1000;
  return { from: to - lengths[name], to, live: true, name };
}

// windowFor is the finest window of which at most so many points are in the range.
export function windowFor(from, to, asked) {
  const fits = (w) => (to - from) / windows[w] <= mostPoints;
  const known = Object.hasOwn(windows, asked);
  if (known && fits(asked)) return { window: asked };
  const window = Object.keys(windows).find((w) => fits(w) && (w !== "1m" || to - from <= 31 * 86400)) ?? "1d";
  return { window, cut: known };
}

export const seconds = (window) => windows[window];
export const rfc = (s) => new Date(s * 1000).toISOString();

// toLocal and fromLocal translate between instants and what a field for a date and
// a time holds, in the zone that is shown.
const toLocal = (s) => minute(s * 1000).replace(" ", "T");
function fromLocal(text) {
  if (!text) return NaN;
  const guess = Date.parse(`${text}Z`);
  const shift = (at) => {
    const m = /^([+-])(\d\d):(\d\d)/.exec(offset(at)) ?? [0, "+", 0, 0];
    return (m[1] === "-" ? -1 : 1) * (m[2] * 60 + Number(m[3])) * 60000;
  };
  const first = guess - shift(guess);
  return (guess - shift(first)) / 1000;
}

// Range is the picker, with the zone beside it.
export function Range({ range, windowing }) {
  useStore(zone);
  const { path, query } = useStore(route);
  const [own, setOwn] = useState(false), [why, setWhy] = useState("");
  const plain = ({ from, to, range, ...rest }) => rest;
  const apply = (e) => {
    e.preventDefault();
    const data = new FormData(e.target), from = fromLocal(data.get("from")), to = fromLocal(data.get("to"));
    if (Number.isNaN(from) || Number.isNaN(to)) return setWhy("Give a beginning and an end.");
    if (from >= to) return setWhy("The end must be after the beginning.");
    if ((to - from) / windows["1d"] > mostPoints) return setWhy(`A page draws ${mostPoints.toLocaleString("en")} days at most.`);
    setWhy("");
    setOwn(false);
    return setQuery({ from: rfc(from), to: rfc(to), range: undefined }, { replace: false });
  };
  return html`<div class="range"><${Choice} label="Range" chosen=${range.name} values=${Object.keys(lengths).map((n) => [n])}
      href=${(n) => link(path, { ...plain(query), range: n })} />
    <button type="button" class="quiet small" aria-expanded=${own} onClick=${() => setOwn(!own)}>Other…</button>
    ${range.from ? html`<span class="dim">${instant(range.from * 1000)} to ${range.live ? "now" : instant(range.to * 1000)}, ${zoneName()} ${offset(range.to * 1000)}${
      windowing ? html` · windows of ${windowing.window}${windowing.cut ? " (finer ones are too many for the page)" : ""}` : null}</span>` : null}
    ${own ? html`<form class="row" onSubmit=${apply}><label>From <input type="datetime-local" name="from" defaultValue=${toLocal(range.from)} /></label>
      <label>to <input type="datetime-local" name="to" defaultValue=${toLocal(range.to)} /></label>
      <button type="submit" class="primary small">Show</button>${why ? html`<span class="bad" role="alert">${why}</span>` : null}</form>` : null}</div>`;
}
