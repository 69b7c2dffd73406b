// Alerts: those that are open first.
import { html, useStore } from "../h.js";
import { get } from "../api.js";
import { useList } from "../list.js";
import { session } from "../session.js";
import { Blocks } from "../blocks.js";
import { link, route, setQuery, to } from "../router.js";
import { figure, zone } from "../format.js";
import { Age, Choice, Device, Fresh, More, Problem, Section, State, Table, Field } from "../ui.js";

const states = [["open", "Open"], ["acknowledged", "Acknowledged"], ["resolved", "Resolved"], ["all", "All"]];

export const alertColumns = (fleet) => [
  { name: "state", cell: (a) => html`<${State} of=${a.state} />` },
  { name: "severity", cell: (a) => html`<${State} of=${a.severity} />` },
  { name: "since", cell: (a) => html`<${Age} at=${a.at} />` },
  { name: "what", cell: (a) => html`<a href=${to("/alert", { id: a.alert_id, fleet })}><bdi>${a.summary || a.rule}</bdi></a>` },
  { name: "device", cell: (a) => (a.device_id ? html`<${Device} fleet=${a.fleet || fleet} id=${a.device_id} />` : html`<span class="dim">weir itself</span>`) },
  { name: "metric", cell: (a) => a.metric || html`<span class="dim">none</span>` },
  { name: "value", kind: "num", cell: (a) => (a.value === null ? html`<span class="dim">none</span>` : figure(a.value)) },
];

export default function Alerts() {
  const { path, query } = useStore(route), { who } = useStore(session);
  useStore(zone);
  const state = query.state ?? "open";
  const { fleet, device, severity, rule } = query;
  const list = useList(async (cursor, signal) => {
    const page = await get("/v1/alerts", { fleet, device, severity, rule, state: state === "all" ? "" : state, limit: 50, cursor }, { signal });
    return { rows: page.alerts, next: page.next };
  }, [fleet, device, severity, rule, state], 3000);
  return html`<div class="title"><h1>Alerts</h1><span class="side"><${Fresh} poll=${list.poll} every=${3000} /></span></div>
    <div class="filters"><${Choice} label="State" values=${states} chosen=${state} href=${(s) => link(path, { ...query, state: s })} />
      <${Field} id="severity" label="Severity"><select id="severity" onChange=${(e) => setQuery({ severity: e.target.value })}>
        ${["", "info", "warning", "critical"].map((s) => html`<option value=${s} selected=${s === (severity ?? "")}>${s || "any"}</option>`)}</select></${Field}>
      <${Field} id="alert-device" label="Device"><input id="alert-device" data-search defaultValue=${device ?? ""} placeholder="any"
        onChange=${(e) => setQuery({ device: e.target.value.trim() })} /></${Field}></div>
    <${Section} id="list" title=${states.find(([s]) => s === state)?.[1] ?? state}>
      <${Problem} error=${list.error} at=${list.poll.at} what="Alerts" />
      ${list.poll.data ? html`<${Table} caption="Alerts" columns=${alertColumns(fleet)} rows=${list.rows} keyOf=${(a) => a.alert_id}
        empty=${state === "open" ? "No alert is open." : "There is no such alert."} />
        ${list.rows.length ? html`<${More} shown=${list.rows.length} next=${list.next} busy=${list.busy} onMore=${list.onMore} />` : null}`
        : list.error ? null : html`<p class="empty">Reading…</p>`}</${Section}>
    ${who?.operates && (fleet || !who.all) ? html`<${Blocks} fleet=${fleet} />` : null}`;
}
