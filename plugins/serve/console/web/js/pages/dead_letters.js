// Dead letters: what failed, where, why and when.
import { html, useStore, useMemo } from "../h.js";
import { get } from "../api.js";
import { useList } from "../list.js";
import { session } from "../session.js";
import { link, route, setQuery, to } from "../router.js";
import { bytes, count, zone } from "../format.js";
import { Age, Device, Field, Fresh, More, Problem, Section, State, Table } from "../ui.js";
import { Range, rangeOf, rfc } from "../range.js";
import { Redrive } from "../redrive.js";

export default function DeadLetters() {
  const { query } = useStore(route);
  const { who } = useStore(session);
  useStore(zone);
  const { fleet, stage, code, device } = query;
  const range = rangeOf(query, "24h");
  const list = useList(async (cursor, signal) => {
    if (range.why) return { rows: [], next: null };
    const now = rangeOf(query, "24h");
    const page = await get("/v1/dead-letters", { fleet, stage, code, device, from: rfc(now.from), to: rfc(now.to + (now.live ? 5 : 0)), limit: 50, cursor }, { signal });
    return { rows: page.dead_letters, next: page.next };
  }, [fleet, stage, code, device, query.from, query.to, query.range], range.live ? 5000 : 0);
  const counts = useMemo(() => tally(list.rows), [list.rows.length, list.poll.at]);
  const filter = (name, label) => html`<${Field} id=${`f-${name}`} label=${label}><input id=${`f-${name}`} data-search=${name === "device" ? "" : undefined} defaultValue=${query[name] ?? ""} placeholder="any"
    key=${query[name] ?? ""} onChange=${(e) => setQuery({ [name]: e.target.value.trim() })} /></${Field}>`;
  return html`<div class="title"><h1>Dead letters</h1><span class="side"><${Fresh} poll=${list.poll} every=${range.live ? 5000 : 0} /></span></div>
    <div class="filters">${filter("stage", "Stage")}${filter("code", "Code")}${filter("device", "Device")}</div><${Range} range=${range} />
    ${range.why ? html`<p class="note bad" role="alert">${range.why}</p>` : null}
    <${Section} id="list" title="Newest first" side=${counts.map(([key, n]) => html`<a href=${link("/dead-letters", { ...query, stage: key.split(" ")[0], code: key.split(" ")[1] })}>${key.replaceAll("_", " ")}</a> <span class="dim">${count(n)}</span> `)}>
      <${Problem} error=${list.error} at=${list.poll.at} what="Dead letters" />
      ${list.poll.data ? html`<${Table} caption="Dead letters" rows=${list.rows} keyOf=${(d) => d.id} empty="Nothing failed in this range." columns=${[
        { name: "failed", cell: (d) => html`<${Age} at=${d.failed_at} />` }, { name: "stage", cell: (d) => d.stage }, { name: "code", cell: (d) => html`<${State} of=${d.code} tone="warn" />` },
        { name: "why", cell: (d) => html`<a href=${to("/dead-letter", { id: d.id, failed_at: d.failed_at, fleet })}><bdi>${d.errors?.[0] ? `${d.errors[0].pointer ? `${d.errors[0].pointer}: ` : ""}${d.errors[0].message}` : d.message || d.code}</bdi></a>` },
        { name: "fleet", cell: (d) => html`<span class="fleet">${d.fleet}</span>` }, { name: "device", cell: (d) => (d.device_id ? html`<${Device} fleet=${d.fleet} id=${d.device_id} />` : html`<span class="dim">unknown</span>`) },
        { name: "size", kind: "num", cell: (d) => bytes(d.original_size) }]} />
        ${list.rows.length ? html`<${More} shown=${list.rows.length} next=${list.next} busy=${list.busy} onMore=${list.onMore} />` : null}` : list.error ? null : html`<p class="empty">Reading…</p>`}</${Section}>
    ${range.why ? null : html`<${Redrive} admin=${who?.admin} wish=${{ fleet, stage, code, from: rfc(range.from), to: rfc(range.to) }} device=${device} key=${[fleet, stage, code, query.from, query.to, query.range].join(" ")} />`}`;
}

// tally counts what is on the page by stage and code.
function tally(rows) {
  const by = new Map();
  for (const d of rows) by.set(`${d.stage} ${d.code}`, (by.get(`${d.stage} ${d.code}`) ?? 0) + 1);
  return [...by].sort((a, b) => b[1] - a[1]).slice(0, 4);
}
