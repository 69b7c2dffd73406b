// The overview: that every event is accounted for, and how weir is.
import { html, useStore } from "../h.js";
import { get } from "../api.js";
import { useLive } from "../live.js";
import { usePoll } from "../poll.js";
import { clock } from "../health.js";
import { logOf } from "../log.js";
import { Link, route, to } from "../router.js";
import { bytes, count, figure, span, zone } from "../format.js";
import { Age, Figure, Fresh, Problem, Section, State, Table, Unknown } from "../ui.js";
import { alertColumns } from "./alerts.js";

export default function Overview() {
  const { query } = useStore(route);
  useStore(zone);
  const live = useLive(query.fleet, logOf(query));
  const o = live.data;
  return html`<div class="title"><h1>Overview</h1>${o?.fleet ? html`<span class="dim">${o.fleet}</span>` : null}<span class="side">${live.how === "asking" ? `asked every five seconds, for ${live.why || "no stream comes through"} · ` : null}<${Fresh} poll=${live} every=${live.how === "asking" ? 5000 : 2000} /></span></div>
    <${Problem} error=${live.error} at=${live.at} what="The overview" />
    ${o ? o.fleet ? html`<${OfFleet} o=${o} /><${Alerts} fleet=${query.fleet} />` : html`<${Equation} o=${o} />
      <div class="pair"><${Traffic} o=${o} /><${Now} o=${o} /></div>
      ${o.groups.length || o.unknown?.groups ? html`<${Groups} o=${o} />` : null}
      <${Alerts} fleet=${query.fleet} />
      ${o.stores.length || o.unknown?.stores ? html`<${Stores} o=${o} />` : null}
      ${o.processes.length || o.unknown?.processes ? html`<${Processes} o=${o} />` : null}` : live.error ? null : html`<div class="card hole"></div>`}`;
}

const terms = [["stored", "stored"], ["duplicates", "duplicate"], ["dead_lettered", "dead-lettered", "/dead-letters"], ["erased", "erased"], ["in_flight", "in flight"]];
const rest = [["other", "other records"], ["markers", "markers"], ["false_duplicates", "false duplicates"], ["unexplained", "unexplained"]];
const wrong = (name) => name === "unexplained" || name === "false_duplicates";

// Verdict says what the last proof found, and how long ago.
export function Verdict({ proof, unknown }) {
  if (!proof?.verdict) return html`<span>Proof: <${Unknown} why=${unknown} /> <span class="dim">${unknown ?? "it has not run yet"}</span></span>`;
  const words = { explained: ["Proved", "good"], loss: ["Events are missing", "bad"], failed: ["The proof could not be done", "warn"] }[proof.verdict] ?? [proof.verdict, "dim"];
  return html`<span><a class=${words[1]} href=${to("/proof")}>${words[0]}</a> <span class="dim"><${Age} at=${proof.at} />${proof.deep ? ", every byte" : ""}</span></span>`;
}

// OfFleet is what a fleet sees: the proof holds for all of them together.
function OfFleet({ o }) {
  return html`<${Section} id="proof" title="What became of every event"><p class="verdict"><${Verdict} proof=${o.proof} unknown=${o.unknown?.proof} /></p>
      <p class="dim">The proof and its figures are of all fleets together.</p></${Section}><${Now} o=${o} />`;
}

function Equation({ o }) {
  const e = o.equation, proof = html`<${Verdict} proof=${o.proof} unknown=${o.unknown?.proof} />`;
  if (!e) {
    return html`<${Section} id="equation" title="What became of every event" side=${proof}><p class="dim">The equation is <${Unknown} />: ${o.unknown?.equation ?? "nothing tells it yet"}.</p></${Section}>`;
  }
  const shown = [...terms, ...rest.filter(([name]) => e[name])];
  const parts = [...terms, ...rest].map(([name]) => [name, e[name] ?? 0]).filter(([, n]) => n > 0);
  const words = `Accepted ${count(e.accepted)} = ${shown.map(([name, text]) => `${text} ${count(e[name])}`).join(" + ")}`;
  const log = (e.topics ?? []).filter((t) => t.accepted);
  let x = 0;
  return html`<${Section} id="equation" title="What became of every event" side=${proof} bad=${!e.balanced}>
    <div class="equation"><div class="sum" role="group" aria-label=${words}>
      <div class="term whole"><span class="value" data-name="accepted">${count(e.accepted)}</span><span class="name">accepted</span></div>
      ${shown.map(([name, text, path], i) => html`<div class="signed"><span class="sign" aria-hidden="true">${i ? "+" : "="}</span><div class=${`term${wrong(name) ? " bad" : ""}`}><span class="value"
        data-name=${name}>${count(e[name])}</span><span class="name">${path ? html`<${Link} path=${path}>${text}</${Link}>` : text}</span></div></div>`)}</div>
      <div class="parts" aria-hidden="true"><svg viewBox="0 0 1000 10" preserveAspectRatio="none">${parts.map(([name, n]) => {
        const width = (n / (e.accepted || 1)) * 1000, at = x;
        x += width;
        return html`<rect class=${`p-${wrong(name) ? "bad" : name}`} x=${at} width=${Math.max(width, 1)} height="10" />`;
      })}</svg></div>
      <p class=${`verdict ${e.balanced ? "good" : "bad"}`} role="status">${e.balanced ? "It adds up." : `It does not add up: ${count(e.unexplained)} unexplained, ${count(e.false_duplicates)} false duplicates.`}
        <span class="fresh">as of <${Age} at=${e.at} /></span></p>
      ${log.length ? html`<p class="dim">Counted are the records of the log: ${log.map((t, i) => html`${i ? ", " : ""}<span class="nowrap">${t.topic} <b>${count(t.accepted)}</b></span>`)}. A dead letter is one too, stored where dead letters are.</p>` : null}
      ${e.problems?.length ? html`<ul class="bad">${e.problems.map((p) => html`<li>${p}</li>`)}</ul>` : null}</div></${Section}>`;
}

const known = (v, show) => (v === null || v === undefined ? undefined : show(v));

function Traffic({ o }) {
  const r = o.rates, l = o.latency;
  return html`<${Section} id="traffic" title="Coming in" side=${r ? html`<span class="fresh">over ${span(r.over_seconds)}, <${Age} at=${r.at} /></span>` : null}>
    ${r ? null : html`<p class="dim">Rates are <${Unknown} />: ${o.unknown?.rates ?? "nothing tells them yet"}.</p>`}
    <dl class="figures"><${Figure} name="accepted" value=${known(r?.accepted_per_second, figure)} unit="/s" />
      <${Figure} name="rejected" value=${known(r?.rejected_per_second, figure)} unit="/s" />
      <${Figure} name="p50 to the verdict" value=${known(l?.p50_seconds, span)} /><${Figure} name="p99 to the verdict" value=${known(l?.p99_seconds, span)} /></dl>
    ${!l && r ? html`<p class="dim">Latency is <${Unknown} />: ${o.unknown?.latency ?? "nothing tells it yet"}.</p>` : null}
    ${r ? html`<div class="row">${Object.entries(r.requests_per_second ?? {}).map(([code, rate]) => html`<span class="dim"><${State} of=${code} tone=${code === "207" ? "warn" : code < "300" ? "good" : code === "400" ? "warn" : "bad"} /> ${figure(rate)}/s</span>`)}
      ${Object.entries(r.totals?.rejected_events ?? {}).filter(([, n]) => n > 0).map(([code, n]) => html`<${Link} path="/dead-letters" query=${{ code }}>${code.replaceAll("_", " ")} <b>${count(n)}</b></${Link}>`)}
      ${Object.entries(r.totals?.refusals ?? {}).filter(([, n]) => n > 0).map(([why, n]) => html`<span class="dim">refused: ${why.replaceAll("_", " ")} <b>${count(n)}</b></span>`)}</div>` : null}</${Section}>`;
}

function Now({ o }) {
  const d = o.devices, f = o.freshness, a = o.alerts;
  return html`<${Section} id="now" title="Now"><dl class="figures">
    <${Figure} name="devices" path="/devices" value=${known(d?.known, count)} />
    <${Figure} name=${d ? `silent for ${span(d.silent_for_seconds)}` : "silent"} path="/devices" query=${{ silent_for: d ? `${Math.round(d.silent_for_seconds / 60)}m` : "10m" }} value=${known(d?.silent, count)} tone=${d?.silent ? "warn" : ""} />
    <${Figure} name="open alerts" path="/alerts" value=${known(a?.open, count)} tone=${a?.open ? "bad" : ""} />
    <${Figure} name="rollups are behind" value=${known(f?.behind_seconds, span)} note=${f?.last_event_at ? html`last event <${Age} at=${f.last_event_at} />` : null} /></dl></${Section}>`;
}

const missing = (o, part, what) => (o.unknown?.[part] ? html`<p class="dim">${what} <${Unknown} />: ${o.unknown[part]}.</p>` : null);

function Groups({ o }) {
  return html`<${Section} id="groups" title="Who reads the log" side=${html`<${Link} path="/streams">streams</${Link}>`}>${missing(o, "groups", "Some of it is")}
    ${o.groups.length ? html`<${Table} caption="Consumer groups" rows=${o.groups} keyOf=${(g) => g.group} columns=${[
      { name: "group", cell: (g) => g.group }, { name: "behind, records", kind: "num", cell: (g) => known(g.records, count) ?? html`<${Unknown} />` },
      { name: "behind, time", kind: "num", cell: (g) => known(g.lag_seconds, span) ?? html`<${Unknown} />` },
      { name: "", cell: (g) => (g.never_committed?.length ? html`<span class="dim">never committed: ${g.never_committed.join(", ")}</span>` : "") },
      { name: "as of", cell: (g) => html`<${Age} at=${g.at} />` }]} />` : null}</${Section}>`;
}

function Alerts({ fleet }) {
  const poll = usePoll((signal) => get("/v1/alerts", { fleet, state: "open", limit: 5 }, { signal }), [fleet], 5000);
  if (!poll.error && !poll.data?.alerts.length) return null;
  return html`<${Section} id="alerts" title="Open alerts" side=${html`<a href=${to("/alerts")}>all alerts</a>`}><${Problem} error=${poll.error} at=${poll.at} what="Alerts" />
    ${poll.data ? html`<${Table} caption="Open alerts" columns=${alertColumns(fleet)} rows=${poll.data.alerts} keyOf=${(a) => a.alert_id} />` : null}</${Section}>`;
}

function Stores({ o }) {
  return html`<${Section} id="stores" title="Stores">${missing(o, "stores", "Some of it is")}
    ${o.stores.length ? html`<${Table} caption="Stores" rows=${o.stores} keyOf=${(s) => s.name} columns=${[
      { name: "store", cell: (s) => html`${s.name.replaceAll("_", " ")} <span class="dim">${s.kind}</span>` },
      { name: "state", cell: (s) => (s.up === null || s.up === undefined ? html`<${Unknown} />` : html`<${State} of=${s.up ? "up" : "down"} /> ${s.detail ?? ""}`) },
      { name: "disk free", kind: "num", cell: (s) => (s.disk ? html`${bytes(s.disk.free_bytes)} <span class="dim">of ${bytes(s.disk.total_bytes)}</span>${full(s.disk)}` : html`<span class="dim">not on this disk</span>`) },
      { name: "as of", cell: (s) => html`<${Age} at=${s.at} />` }]} />` : null}</${Section}>`;
}

function Processes({ o }) {
  const now = useStore(clock);
  return html`<${Section} id="processes" title="Who runs">${missing(o, "processes", "Some of it is")}
    ${o.processes.length ? html`<${Table} caption="Processes" rows=${o.processes} keyOf=${(p) => p.id} rowClass=${(p) => (p.state === "gone" ? "gone" : "")} columns=${[
      { name: "process", cell: (p) => html`${p.host} <span class="dim">${p.pid}</span>` }, { name: "state", cell: (p) => html`<${State} of=${p.state} />` },
      { name: "role", cell: (p) => p.role }, { name: "version", cell: (p) => p.version || "unknown" },
      { name: "up for", cell: (p) => (p.state === "gone" ? "" : span(Math.max(0, (now - Date.parse(p.started_at)) / 1000))) },
      { name: "seen", cell: (p) => html`<${Age} at=${p.seen_at} />` }, { name: "streams", cell: (p) => html`<span class="dim">${(p.streams ?? []).join(", ")}</span>` }]} />` : null}</${Section}>`;
}

// full says when a disk will be full, if that is to be seen and within a year.
const full = (disk) => (disk.days_left == null || disk.days_left > 365 ? "" : html` <span class=${disk.days_left < 7 ? "state warn" : "dim"}>full in about ${span(disk.days_left * 86400)}</span>`);
