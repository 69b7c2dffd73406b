// Analytics: who is there, what they do, what comes of it, and what was sent last.
import { html, useStore, useMemo } from "../h.js";
import { get } from "../api.js";
import { usePoll } from "../poll.js";
import { now } from "../health.js";
import { session } from "../session.js";
import { link, route } from "../router.js";
import { count, figure, span, zone } from "../format.js";
import { Choice, Device, Figure, Fresh, Problem, Section, Table, Unknown, When } from "../ui.js";
import { Chart } from "../chart.js";
import { Range, rangeOf, rfc, seconds } from "../range.js";
import { csv, save } from "../csv.js";

const every = 5000;
const share = (part, whole) => (whole ? `${figure((100 * part) / whole)} %` : undefined);

// money is an amount of minor units as its currency writes it; as it is where no
// browser knows the currency.
function money(minor, currency) {
  try {
    const format = new Intl.NumberFormat("en", { style: "currency", currency });
    return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
  } catch {
    return `${count(minor)} minor units of ${currency}`;
  }
}

// stepOf is how wide the windows of a range are.
const stepOf = ({ from, to }) => (to - from <= 6 * 3600 ? "1m" : to - from <= 31 * 86400 ? "1h" : "1d");

// rowsOf asks for the pages of a series; beyond 50,000 rows it gives up.
async function rowsOf(kind, query, signal) {
  const rows = [];
  let page, cursor;
  do {
    page = await get(`/v1/analytics/${kind}`, { ...query, limit: 10000, cursor }, { signal });
    rows.push(...page[kind]);
    cursor = page.next;
  } while (cursor && rows.length < 50000);
  return { ...page, rows };
}

export default function Analytics() {
  const { query } = useStore(route), { who } = useStore(session);
  useStore(zone);
  const { fleet } = query;
  if (who?.all && !fleet) return html`<h1>Analytics</h1><p class="note">Analytics are of one fleet: choose one.</p>`;
  const range = rangeOf(query, "1h");
  return html`<div class="title"><h1>Analytics</h1></div><${Now} fleet=${fleet} /><${Range} range=${range} />
    ${range.why ? html`<p class="note bad" role="alert">${range.why}</p>` : html`<${Ranged} fleet=${fleet} query=${query} key=${`${fleet} ${query.range} ${query.from} ${query.to}`} />`}
    <${Stream} fleet=${fleet} />`;
}

// Now is the last five minutes.
function Now({ fleet }) {
  const poll = usePoll(async (signal) => {
    const to = now() / 1000, minute = Math.floor(to / 60) * 60;
    const users = await get("/v1/analytics/users", { fleet, from: rfc(minute - 240), to: rfc(to) }, { signal });
    const events = await rowsOf("events", { fleet, from: rfc(minute - 60), to: rfc(minute) }, signal);
    const visits = await get("/v1/analytics/sessions", { fleet }, { signal });
    return { users: users.total, rate: events.rows.reduce((sum, r) => sum + r.events, 0) / 60, visits };
  }, [fleet], every);
  const d = poll.data;
  return html`<${Section} id="now" title="Now" side=${html`<${Fresh} poll=${poll} every=${every} />`}><${Problem} error=${poll.error} at=${poll.at} what="What happens now" />
    <dl class="figures"><${Figure} name="people in five minutes" value=${d ? count(d.users) : undefined} />
      <${Figure} name="events in the last whole minute" value=${d ? figure(d.rate) : undefined} unit="/s" />
      <${Figure} name="visits that go on" value=${d ? count(d.visits.open) : undefined} />
      <${Figure} name="visits with an order, in a day" value=${d ? share(d.visits.converted, d.visits.sessions) : undefined} note=${d ? html`of ${count(d.visits.sessions)} that ended` : null} />
      <${Figure} name="length of a visit, in a day" value=${d?.visits.average_seconds == null ? undefined : span(d.visits.average_seconds)} /></dl></${Section}>`;
}

// Ranged is what the chosen range is asked for.
function Ranged({ fleet, query }) {
  const model = ["first", "last", "linear"].includes(query.model) ? query.model : "last";
  const first = rangeOf(query, "1h"), step = stepOf(first), often = first.live ? every * 2 : 0;
  const at = () => { const r = rangeOf(query, "1h"); return { fleet, from: rfc(r.from), to: rfc(r.to) }; };
  const series = usePoll(async (signal) => {
    const of = { ...at(), step };
    return { of, events: await rowsOf("events", of, signal), users: await rowsOf("users", of, signal) };
  }, [fleet], often);
  const sales = usePoll((signal) => rowsOf("revenue", { ...at(), step }, signal), [fleet], often);
  const funnel = usePoll((signal) => get("/v1/analytics/funnels/funnel_checkout", at(), { signal }), [fleet], often);
  const brought = usePoll((signal) => rowsOf("attribution", { ...at(), model }, signal), [fleet, model], often);
  return html`<${Series} poll=${series} step=${step} often=${often} /><${Funnel} poll=${funnel} often=${often} /><${Sales} poll=${sales} often=${often} />
    <${Brought} poll=${brought} often=${often} model=${model} query=${query} />`;
}

// Csv is a button that saves rows.
const Csv = ({ name, names, rows }) => html`<button type="button" class="quiet small" disabled=${!rows.length}
  onClick=${() => save(`${name}.csv`, csv(names, rows.map((r) => names.map((n) => r[n]))))}>CSV</button>`;

// Series draws events and people by window. A window of which nothing is told had none.
function Series({ poll, step, often }) {
  const d = poll.data;
  const drawn = useMemo(() => {
    if (!d) return null;
    const wide = seconds(step), from = Math.floor(Date.parse(d.of.from) / 1000 / wide) * wide, to = Date.parse(d.of.to) / 1000;
    const times = [], events = new Map(), users = new Map();
    const put = (to, r, n) => { const t = Date.parse(r.at) / 1000; to.set(t, (to.get(t) ?? 0) + n); };
    for (const r of d.events.rows) put(events, r, r.events);
    for (const r of d.users.rows) put(users, r, r.users);
    if (events.size) for (let t = from; t < to; t += wide) times.push(t);
    const kinds = new Map();
    for (const r of d.events.rows) kinds.set(r.type, (kinds.get(r.type) ?? 0) + r.events);
    return { from, to, times, events: times.map((t) => events.get(t) ?? 0), users: times.map((t) => users.get(t) ?? 0),
      kinds: [...kinds].map(([type, n]) => ({ type, events: n })).sort((a, b) => b.events - a.events) };
  }, [d]);
  const of = (label, values, colour) => [{ label, values, colour }];
  const charts = useMemo(() => drawn && { events: of("events", drawn.events, "accent"), users: of("people", drawn.users, "second") }, [drawn]);
  return html`<${Section} id="series" title="Events and people" side=${html`<${Fresh} poll=${poll} every=${often} />
      <${Csv} name="analytics events" names=${["at", "to", "type", "events", "users"]} rows=${d?.events.rows ?? []} />`}>
    <${Problem} error=${poll.error} at=${poll.at} what="The events" />
    ${drawn ? html`<${Chart} label="Events" times=${drawn.times} series=${charts.events} from=${drawn.from} to=${drawn.to} height=${180} words=${`Events in windows of ${step}.`} />
      <${Chart} label="People" times=${drawn.times} series=${charts.users} from=${drawn.from} to=${drawn.to} height=${180}
        words=${`People in windows of ${step}: ${count(d.users.total)} in all, each counted once; more than 256 within ${figure(100 * d.users.error)} % or so.`} />
      <${Table} caption="Events by type" rows=${drawn.kinds} keyOf=${(r) => r.type} empty="No events in this range, or the rules of analytics are not in force." columns=${[
        { name: "type", cell: (r) => html`<bdi>${r.type}</bdi>` }, { name: "events", kind: "num", cell: (r) => count(r.events) }]} />` : null}</${Section}>`;
}

function Funnel({ poll, often }) {
  const d = poll.data;
  return html`<${Section} id="funnel" title="From a product to its order" side=${html`<${Fresh} poll=${poll} every=${often} /><${Csv} name="funnel" names=${["name", "devices", "share", "drop_off"]} rows=${d?.steps ?? []} />`}>
    <${Problem} error=${poll.error} at=${poll.at} what="The funnel" />
    ${d ? html`<${Table} caption="Steps of the funnel" rows=${d.steps} keyOf=${(r) => r.name} empty="Nobody's way was decided in this range." columns=${[
      { name: "step", cell: (r) => r.name.replaceAll("_", " ") }, { name: "devices", kind: "num", cell: (r) => count(r.devices) },
      { name: "of those that began", kind: "num", cell: (r) => `${figure(100 * r.share)} %` }, { name: "went no further than before", kind: "num", cell: (r) => count(r.drop_off) }]} />` : null}
    ${d && !d.exact ? html`<p class="note">Devices are estimated, within ${figure(100 * d.error)} % or so, from <${When} at=${d.from} /> to <${When} at=${d.to} />.</p>` : null}</${Section}>`;
}

function Sales({ poll, often }) {
  const d = poll.data, rows = Object.entries(d?.total ?? {}).map(([currency, s]) => ({ currency, ...s })).sort((a, b) => (a.currency < b.currency ? -1 : 1));
  return html`<${Section} id="revenue" title="Revenue" side=${html`<${Fresh} poll=${poll} every=${often} />
      <${Csv} name="revenue" names=${["at", "to", "currency", "orders", "refunds", "amount_minor", "refunded_minor"]} rows=${d?.rows ?? []} />`}>
    <${Problem} error=${poll.error} at=${poll.at} what="The revenue" />
    ${d ? html`<${Table} caption="Revenue by currency" rows=${rows} keyOf=${(r) => r.currency} empty="Nothing was ordered in this range." columns=${[
      { name: "currency", cell: (r) => html`<bdi>${r.currency}</bdi>` }, { name: "orders", kind: "num", cell: (r) => count(r.orders) },
      { name: "ordered", kind: "num", cell: (r) => money(r.amount_minor, r.currency) }, { name: "refunds", kind: "num", cell: (r) => count(r.refunds) },
      { name: "refunded", kind: "num", cell: (r) => money(r.refunded_minor, r.currency) }]} />` : null}</${Section}>`;
}

function Brought({ poll, often, model, query }) {
  const rows = [...(poll.data?.rows ?? [])].sort((a, b) => b.amount_minor - a.amount_minor);
  return html`<${Section} id="attribution" title="What campaigns brought" side=${html`<${Fresh} poll=${poll} every=${often} /><${Csv} name=${`attribution ${model}`} names=${["campaign", "currency", "orders", "amount_minor"]} rows=${rows} />`}>
    <${Choice} label="Model" chosen=${model} values=${[["first"], ["last"], ["linear"]]} href=${(m) => link("/analytics", { ...query, model: m })} />
    <${Problem} error=${poll.error} at=${poll.at} what="What campaigns brought" />
    ${poll.data ? html`<${Table} caption="Revenue by campaign" rows=${rows.slice(0, 200)} keyOf=${(r) => `${r.currency} ${r.campaign}`} empty="Nothing was ordered in this range." columns=${[
      { name: "campaign", cell: (r) => (r.campaign === null ? html`<span class="dim">none</span>` : html`<bdi>${r.campaign}</bdi>`) },
      { name: "orders", kind: "num", cell: (r) => count(r.orders) }, { name: "ordered", kind: "num", cell: (r) => money(r.amount_minor, r.currency) }]} />
      ${rows.length > 200 ? html`<p class="dim">The first 200 of ${count(rows.length)}; all are in the CSV.</p>` : null}` : null}</${Section}>`;
}

// Stream is what was stored last, as it is stored: without what privacy took out.
function Stream({ fleet }) {
  const poll = usePoll(async (signal) => {
    const to = now() / 1000, events = [];
    let cursor;
    do {
      const page = await get("/v1/events", { fleet, from: rfc(to - 300), to: rfc(to + 60), limit: 1000, cursor }, { signal });
      events.push(...page.events);
      cursor = page.next;
    } while (cursor && events.length < 5000);
    return { events, cut: Boolean(cursor) };
  }, [fleet], every * 2);
  const rows = [...(poll.data?.events ?? [])].sort((a, b) => (a.timestamp < b.timestamp ? 1 : -1)).slice(0, 25);
  return html`<${Section} id="stream" title="Newest events" side=${html`<${Fresh} poll=${poll} every=${every * 2} />`}><${Problem} error=${poll.error} at=${poll.at} what="The newest events" />
    ${poll.data ? html`<${Table} caption="Newest events" rows=${rows} keyOf=${(r) => r.event_id} empty="No event of the last five minutes is stored yet: they are within a minute or so." columns=${[
      { name: "time", cell: (r) => html`<${When} at=${r.timestamp} />` }, { name: "type", cell: (r) => (r.event?.metadata?.type ? html`<bdi>${r.event?.metadata.type}</bdi>` : html`<${Unknown} />`) },
      { name: "device", cell: (r) => html`<${Device} fleet=${fleet} id=${r.device_id} />` },
      { name: "who", cell: (r) => { const who = r.event?.user?.id ?? r.event?.user?.anonymous_id; return who ? html`<bdi>${String(who).slice(0, 60)}</bdi>` : html`<span class="dim">nobody known</span>`; } }]} />
      ${poll.data.cut ? html`<p class="dim">The last five minutes have more than 5,000 events: these are the newest of the first.</p>` : null}` : null}</${Section}>`;
}
