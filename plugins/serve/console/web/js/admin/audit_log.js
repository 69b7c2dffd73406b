// The audit log: who did what, when and from where.
import { html } from "../h.js";
import { get } from "../api.js";
import { useList } from "../list.js";
import { setQuery } from "../router.js";
import { csv, save } from "../csv.js";
import { Field, Fresh, More, Problem, Section, State, Table, When } from "../ui.js";

const who = (a) => (a.key ? `key ${a.key}` : a.user ? `user ${a.user}` : "unknown");
const what = (a) => Object.entries(a.detail ?? {}).map(([k, v]) => `${k} ${v}`).join(", ");

export function AuditLog({ query }) {
  const list = useList(async (cursor, signal) => {
    const page = await get("/v1/audit", { key: query.by, path: query.path, limit: 50, cursor }, { signal });
    return { rows: page.acts, next: page.next };
  }, [query.by, query.path], 5000);
  const out = () => save("audit log.csv", csv(["at", "who", "method", "path", "fleet", "from", "status", "detail"],
    list.rows.map((a) => [a.at, who(a), a.method, a.path, a.fleet, a.from, a.status, what(a)])));
  return html`<div class="filters"><${Field} id="a-by" label="Key"><input id="a-by" defaultValue=${query.by ?? ""} placeholder="any" onChange=${(e) => setQuery({ by: e.target.value.trim() })} /></${Field}>
      <${Field} id="a-path" label="Path begins with"><input id="a-path" data-search defaultValue=${query.path ?? ""} placeholder="any" onChange=${(e) => setQuery({ path: e.target.value.trim() })} /></${Field}></div>
    <${Section} id="acts" title="Audit log" side=${html`<${Fresh} poll=${list.poll} every=${5000} /> <button type="button" class="quiet small" disabled=${!list.rows.length} onClick=${out}>CSV</button>`}>
      <${Problem} error=${list.error} at=${list.poll.at} what="The audit log" />
      ${list.poll.data ? html`<${Table} caption="Acts" rows=${list.rows} keyOf=${(a) => a.id} empty="There is no such act." columns=${[
        { name: "when", cell: (a) => html`<${When} at=${a.at} />` }, { name: "who", cell: (a) => who(a) }, { name: "from", cell: (a) => a.from },
        { name: "did", cell: (a) => html`<code>${a.method} ${a.path}</code>` }, { name: "with", cell: (a) => html`<bdi>${what(a)}</bdi>` },
        { name: "answer", kind: "num", cell: (a) => html`<${State} of=${a.status} tone=${a.status < 400 ? "good" : "bad"} />` }]} />
        <${More} shown=${list.rows.length} next=${list.next} busy=${list.busy} onMore=${list.onMore} />` : null}</${Section}>`;
}
