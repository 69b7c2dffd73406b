// Devices: found on the server, those that are silent longest first; and groups.
import { html, useStore, useEffect, useRef, useState } from "../h.js";
import { get } from "../api.js";
import { useList } from "../list.js";
import { usePoll } from "../poll.js";
import { link, route, setQuery, to } from "../router.js";
import { count, span, zone } from "../format.js";
import { Age, Choice, Device, Field, Fresh, More, Problem, Section, Table } from "../ui.js";

const silences = [["", "All"], ["10m", "Silent 10 min"], ["1h", "1 h"], ["24h", "24 h"]];

export default function Devices() {
  const { path, query } = useStore(route);
  useStore(zone);
  const { fleet, search } = query, silent = query.silent_for ?? "";
  const [text, setText] = useState(search ?? ""), timer = useRef();
  useEffect(() => setText(search ?? ""), [search]);
  const list = useList(async (cursor, signal) => {
    const page = await get("/v1/devices", { fleet, search, silent_for: silent, limit: 50, cursor }, { signal });
    return { rows: page.devices, next: page.next, total: page.total };
  }, [fleet, search, silent], 5000);
  const groups = usePoll((signal) => get("/v1/groups", { fleet }, { signal }), [fleet], 30000);
  const type = (e) => {
    setText(e.target.value);
    clearTimeout(timer.current);
    const value = e.target.value.trim();
    timer.current = setTimeout(() => setQuery({ search: value }), 150);
  };
  const total = list.poll.data?.total;
  return html`<div class="title"><h1>Devices</h1><span class="side"><${Fresh} poll=${list.poll} every=${5000} /></span></div>
    <div class="filters"><${Field} id="search" label="Part of an id"><input id="search" type="search" data-search value=${text} onInput=${type} autocomplete="off" spellcheck="false" /></${Field}>
      <${Choice} label="Silence" values=${silences} chosen=${silent} href=${(s) => link(path, { ...query, silent_for: s })} /></div>
    <${Section} id="list" title=${total === undefined ? "Devices" : `${count(total)} ${total === 1 ? "device" : "devices"}`} side=${html`<span class="dim">silent longest first</span>`}>
      <${Problem} error=${list.error} at=${list.poll.at} what="The list of devices" />
      ${list.poll.data ? html`<${Table} caption="Devices" rows=${list.rows} keyOf=${(d) => `${d.fleet} ${d.device_id}`} empty="There is no such device." columns=${[
        { name: "device", cell: (d) => html`<${Device} fleet=${d.fleet} id=${d.device_id} />` }, { name: "fleet", cell: (d) => html`<span class="fleet">${d.fleet}</span>` },
        { name: "last reading", cell: (d) => html`<${Age} at=${d.last_seen} />` }, { name: "silent for", kind: "num", cell: (d) => span(d.silent_seconds) },
        { name: "open alerts", kind: "num", cell: (d) => (d.open_alerts === null || d.open_alerts === undefined ? "unknown" : d.open_alerts ? html`<a href=${to("/alerts", { fleet: d.fleet, device: d.device_id })}>${count(d.open_alerts)}</a>` : "0") }]} />
        ${list.rows.length ? html`<${More} shown=${list.rows.length} next=${list.next} busy=${list.busy} onMore=${list.onMore} />` : null}` : list.error ? null : html`<p class="empty">Reading…</p>`}</${Section}>
    ${groups.data?.groups?.length ? html`<${Section} id="groups" title="Groups"><${Table} caption="Groups" rows=${groups.data.groups.slice(0, 50)} keyOf=${(g) => `${g.fleet} ${g.name}`} columns=${[
      { name: "group", cell: (g) => html`<a href=${to("/group", { fleet: g.fleet || fleet, name: g.name })}><bdi>${g.name}</bdi></a>` }, { name: "fleet", cell: (g) => g.fleet || "all" },
      { name: "devices", kind: "num", cell: (g) => count(g.devices.length) }]} /></${Section}>` : null}`;
}
