// A group of devices: the history of all of them together, and who they are.
import { html, useStore } from "../h.js";
import { get } from "../api.js";
import { usePoll } from "../poll.js";
import { route, setQuery } from "../router.js";
import { Back, Device, Problem, Section, Table, When } from "../ui.js";
import { rangeOf, rfc, windowFor } from "../range.js";
import { now } from "../health.js";
import { readRollups } from "../series.js";
import { count } from "../format.js";
import { Rollups } from "./device.js";

export default function Group() {
  const { query } = useStore(route);
  const { fleet, name } = query;
  const group = usePoll((signal) => get(`/v1/groups/${encodeURIComponent(name ?? "")}`, { fleet }, { signal }), [fleet, name], 30000);
  const known = usePoll(async (signal) => {
    const to = now() / 1000;
    const page = await get("/v1/rollups", { group: name, fleet: fleet ?? group.data?.fleet, merge: "fleet", from: rfc(to - 86400), to: rfc(to), resolution: "1h", limit: 1000 }, { signal });
    return [...new Set(page.rollups.map((r) => r.metric))].sort();
  }, [fleet, name], 60000);
  const metric = query.metric || known.data?.[0];
  const range = rangeOf(query), windowing = range.why ? null : windowFor(range.from, range.to, query.window);
  const poll = usePoll(async (signal) => {
    if (range.why || !metric) return null;
    const now = rangeOf(query);
    return { range: now, rows: await readRollups({ group: name, fleet, merge: "fleet" }, metric, now, windowing.window, signal) };
  }, [fleet, name, metric, query.from, query.to, query.range, query.window], range.live ? 10000 : 0);
  return html`<${Back} path="/devices" />
    <div class="title"><h1><bdi>${name}</bdi></h1><span class="dim">group${group.data ? ` of ${count(group.data.devices.length)} devices` : ""}</span></div>
    <${Problem} error=${group.error} at=${group.at} what="The group" />
    <${Problem} error=${known.error} at=${known.at} what="The group's metrics" />
    ${known.data && !metric ? html`<p class="note">The group has no readings of the last 24 hours.</p>` : null}
    ${metric ? html`<nav class="choice" aria-label="Metric">${(known.data ?? [metric]).map((m) => html`<a href="#history" aria-current=${m === metric ? "true" : undefined}
        onClick=${(e) => { e.preventDefault(); setQuery({ metric: m }); }}>${m}</a>`)}</nav>
      <${Rollups} poll=${poll} metric=${metric} range=${range} windowing=${windowing} name=${`${name} ${metric}`} />` : null}
    ${group.data ? html`<${Section} id="members" title="Devices" side=${html`<span class="dim">changed <${When} at=${group.data.updated_at} /></span>`}>
      <${Table} caption="Devices of the group" rows=${group.data.devices.slice(0, 500)} keyOf=${(d) => d} columns=${[
        { name: "device", cell: (d) => html`<${Device} fleet=${fleet ?? group.data.fleet} id=${d} />` }]} />
      ${group.data.devices.length > 500 ? html`<p class="dim">The first 500 of ${count(group.data.devices.length)}.</p>` : null}</${Section}>` : null}`;
}
