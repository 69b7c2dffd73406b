// One device: its newest values, its last five minutes as they were sent, its
// history, and its events.
import { html, useStore, useMemo, useState } from "../h.js";
import { get } from "../api.js";
import { usePoll } from "../poll.js";
import { now } from "../health.js";
import { logOf } from "../log.js";
import { Link, route, setQuery, to } from "../router.js";
import { figure, instant, zone } from "../format.js";
import { Age, Back, Fresh, More, Problem, Section, State, Table, When } from "../ui.js";
import { Chart } from "../chart.js";
import { Range, rangeOf, rfc, windowFor } from "../range.js";
import { bandOf, inWords, readRollups, saveRollups } from "../series.js";
import { csv, save } from "../csv.js";
import { Lineage } from "../lineage.js";

// latest asks for a device's newest values. A browser resolves the ids "." and
// ".." within a path, so those are read from the rollups.
async function latest(fleet, id, signal) {
  if (id !== "." && id !== "..") return get(`/v1/devices/${encodeURIComponent(id)}/latest`, { fleet }, { signal });
  const to = now() / 1000;
  const page = await get("/v1/rollups", { device: id, fleet, from: rfc(to - 3600), to: rfc(to), resolution: "1m", limit: 10000 }, { signal });
  const metrics = {};
  for (const r of page.rollups) metrics[r.metric] = { value: r.p50, at: r.bucket };
  return { device_id: id, metrics, rollups: page.rollups };
}

export default function Device() {
  const { query } = useStore(route);
  const { fleet, id } = query;
  if (!id) return html`<h1>Device</h1><p class="note">The address names no device: it has none in <code>id</code>.</p>`;
  if (logOf(query)) return html`<${Sent} fleet=${fleet} id=${id} />`;
  return html`<${One} fleet=${fleet} id=${id} query=${query} key=${`${fleet} ${id}`} />`;
}

// Sent is a device of a log of which no rollups are made: what it sent.
function Sent({ fleet, id }) {
  return html`<div class="title"><h1 class="id"><bdi>${id}</bdi></h1>${fleet ? html`<span class="dim">${fleet}</span>` : null}
      <span class="side"><${Link} path="/dead-letters" query=${{ device: id }}>dead letters</${Link}></span></div>
    <p class="note">Newest values and history are made of telemetry alone.</p><${Events} fleet=${fleet} id=${id} />`;
}

function One({ fleet, id, query }) {
  const newest = usePoll((signal) => latest(fleet, id, signal), [fleet, id], 2000);
  const metrics = Object.entries(newest.data?.metrics ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const metric = query.metric || metrics[0]?.[0];
  const at = metrics.reduce((max, [, m]) => (m.at > max ? m.at : max), "");
  const gone = newest.error?.status === 404 && !newest.at;
  return html`<${Back} path="/devices" />
    <div class="title"><h1 class="id"><bdi>${id}</bdi></h1>${fleet ? html`<span class="dim">${fleet}</span>` : null}
      <span class="side">last reading <${Age} at=${at || null} /> · <a href=${to("/alerts", { device: id })}>alerts</a> · <${Link} path="/dead-letters"
        query=${{ device: id }}>dead letters</${Link}></span></div>
    ${gone ? html`<p class="note">There are no rollups of this device${fleet ? "" : " in your fleet"}: a device appears some seconds after its first
      accepted event.</p>` : html`<${Problem} error=${newest.error} at=${newest.at} what="The newest values" />`}
    <${Section} id="newest" title="Newest values" side=${html`<${Fresh} poll=${newest} every=${2000} />`}>
      ${metrics.length ? html`<div class="tiles" role="list">${metrics.map(([name, m]) => html`<div role="listitem" key=${name}><a
        class=${`tile${name === metric ? " chosen" : ""}`} href="#history" onClick=${(e) => { e.preventDefault(); setQuery({ metric: name }); }}
        aria-current=${name === metric ? "true" : undefined}><span class="name">${name}</span><span class="value">${figure(m.value)}</span><span
        class="dim"><${Age} at=${m.at} /></span></a></div>`)}</div>` : html`<p class="empty">${newest.busy ? "Reading…" : "No reading is known."}</p>`}
    </${Section}>
    ${metric ? html`<${Live} fleet=${fleet} id=${id} metric=${metric} key=${`live ${metric}`} />
      <${History} fleet=${fleet} id=${id} metric=${metric} query=${query} />` : null}
    <${Events} fleet=${fleet} id=${id} />`;
}

// Live shows each reading of the last five minutes.
function Live({ fleet, id, metric }) {
  const poll = usePoll(async (signal) => {
    const to = Math.floor(now() / 1000) + 1, from = to - 300, events = [];
    let cursor;
    do {
      const page = await get("/v1/events", { device: id, fleet, metric, from: rfc(from), to: rfc(to), fields: "timestamp,metrics,flags", limit: 1000, cursor }, { signal });
      events.push(...page.events);
      cursor = page.next;
    } while (cursor && events.length < 2000);
    events.sort((a, b) => (a.timestamp < b.timestamp ? -1 : 1));
    return { from, to, cut: Boolean(cursor), times: events.map((e) => Date.parse(e.timestamp) / 1000), values: events.map((e) => e.metrics?.[metric] ?? null) };
  }, [fleet, id, metric], 3000);
  const d = poll.data ?? { times: [], values: [] };
  const known = d.values.filter((v) => v !== null);
  const words = known.length ? `${metric}, the last five minutes: ${known.length} readings as they were sent, from ${figure(Math.min(...known))} to ${
    figure(Math.max(...known))}, the last ${figure(known.at(-1))}.${d.cut ? " There are more than the page shows." : ""}` : "";
  const series = useMemo(() => [{ label: metric, values: d.values, colour: "accent", points: d.values.length < 400 }], [poll.data, metric]);
  return html`<${Section} id="live" title="Last five minutes" side=${html`<${Fresh} poll=${poll} every=${3000} />`}>
    <${Problem} error=${poll.error} at=${poll.at} what="The last five minutes" />
    ${poll.at ? html`<${Chart} label=${`${metric} of the last five minutes`} times=${d.times} series=${series} from=${d.from} to=${d.to} height=${180} words=${words} />`
      : html`<div class="hole short"></div>`}</${Section}>`;
}

// History shows rollups, with a band from p50 to p95.
function History({ fleet, id, metric, query }) {
  const range = rangeOf(query);
  const windowing = range.why ? null : windowFor(range.from, range.to, query.window);
  const poll = usePoll(async (signal) => {
    if (range.why) return null;
    const now = rangeOf(query);
    return { range: now, rows: await readRollups({ device: id, fleet }, metric, now, windowing.window, signal) };
  }, [fleet, id, metric, query.from, query.to, query.range, query.window], range.live ? 10000 : 0);
  return html`<${Rollups} poll=${poll} metric=${metric} range=${range} windowing=${windowing} query=${query} name=${`${id} ${metric}`} />`;
}

// Rollups is the history of one metric: of a device, or of a group.
export function Rollups({ poll, metric, range, windowing, name }) {
  const d = poll.data;
  const { times, series } = useMemo(() => (d ? bandOf(d.rows, d.range, windowing.window) : { times: [], series: [] }), [d]);
  return html`<${Section} id="history" title=${`History of ${metric}`} side=${html`<${Fresh} poll=${poll} every=${range.live ? 10000 : 0} /> <button
      type="button" class="quiet small" disabled=${!d?.rows.length} onClick=${() => saveRollups(name, d.rows)}>CSV</button>`}>
    <${Range} range=${range} windowing=${windowing} />
    ${range.why ? html`<p class="note bad" role="alert">${range.why}</p>` : null}
    <${Problem} error=${poll.error} at=${poll.at} what="The history" />
    ${d ? html`<${Chart} label=${`${metric}, ${windowing.window} windows`} times=${times} series=${series} from=${d.range.from} to=${d.range.to}
        words=${inWords(d.rows, metric, windowing.window)}
        onRange=${(from, to) => setQuery({ from: rfc(from), to: rfc(to), range: undefined }, { replace: false })} />`
      : html`<div class="hole"></div>`}</${Section}>`;
}

const spans = { "5 min": 300, "1 h": 3600, "24 h": 86400 };

// Events shows what was sent, the newest first.
function Events({ fleet, id }) {
  useStore(zone);
  const [length, setLength] = useState("5 min"), [shown, setShown] = useState(innerWidth < 640 ? 8 : 25), [open, setOpen] = useState(null);
  const poll = usePoll(async (signal) => {
    const to = now() / 1000, events = [];
    let cursor;
    do {
      const page = await get("/v1/events", { device: id, fleet, from: rfc(to - spans[length]), to: rfc(to + 60), limit: 1000, cursor }, { signal });
      events.push(...page.events);
      cursor = page.next;
    } while (cursor && events.length < 5000);
    return { events: events.reverse(), cut: Boolean(cursor) };
  }, [fleet, id, length], length === "5 min" ? 5000 : 0);
  const rows = (poll.data?.events ?? []).slice(0, shown);
  const names = [...new Set((poll.data?.events ?? []).flatMap((e) => Object.keys(e.metrics ?? {})))].sort();
  const plain = ["event_id", "timestamp", "received_at", "device_id", "device_firmware_version", "schema", "flags"];
  const out = () => save(`${id} events.csv`, csv([...plain, ...names], poll.data.events.map((e) => [...plain.map((n) => e[n]), ...names.map((n) => e.metrics?.[n])])));
  const columns = [
    { name: "time", cell: (e) => html`<${When} at=${e.timestamp} />` },
    { name: "received", cell: (e) => html`<${When} at=${e.received_at} short />` },
    { name: "schema", cell: (e) => e.schema ?? "none" },
    { name: "flags", cell: (e) => [e.flags ?? []].flat().map((f) => html`<${State} of=${f} tone="warn" /> `) },
    { name: "readings", cell: (e) => html`<span class="readings">${Object.entries(e.metrics ?? {}).map(([k, v]) => html`<span><span class="dim">${k}</span> ${figure(v)}</span> `)}</span>` },
    { name: "as sent", cell: (e) => html`<button type="button" class="link" aria-expanded=${open === e.event_id}
      onClick=${() => setOpen(open === e.event_id ? null : e.event_id)}>${open === e.event_id ? "hide" : "show"}<span class="hidden"> what was sent at ${instant(e.timestamp)}</span></button>
      ${open === e.event_id ? html`<pre tabindex="0">${JSON.stringify(e, null, 2)}</pre><${Lineage} fleet=${fleet} e=${e} />` : null}` },
  ];
  return html`<${Section} id="events" title="Events" side=${html`<label class="pick"><span class="hidden">Of the last</span><select
      onChange=${(e) => setLength(e.target.value)}>${Object.keys(spans).map((s) => html`<option selected=${s === length}>${s}</option>`)}</select></label>
      <${Fresh} poll=${poll} every=${length === "5 min" ? 5000 : 0} />
      <button type="button" class="quiet small" disabled=${!rows.length} onClick=${out}>CSV</button>`}>
    <${Problem} error=${poll.error} at=${poll.at} what="The events" />
    ${poll.data ? html`<${Table} caption="Events as they were sent" columns=${columns} rows=${rows} keyOf=${(e) => e.event_id}
      empty=${`No event of the last ${length} is stored.`} />
    ${rows.length ? html`<${More} shown=${rows.length} next=${rows.length < poll.data.events.length} onMore=${() => setShown(shown + 50)} />` : null}
    ${poll.data.cut ? html`<p class="dim">The range has more than 5,000 events: these are its first.</p>` : null}` : html`<p class="empty">${poll.busy ? "Reading…" : ""}</p>`}</${Section}>`;
}
