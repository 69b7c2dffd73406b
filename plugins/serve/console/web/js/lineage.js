// What became of an event: as the stores of its log tell it.
import { html } from "./h.js";
import { get } from "./api.js";
import { usePoll } from "./poll.js";
import { count } from "./format.js";
import { to } from "./router.js";
import { rfc } from "./range.js";
import { Problem, State, Unknown, When } from "./ui.js";

const place = (r) => html`<code>${r.topic}/${r.partition}</code> at ${count(r.offset)}`;
const list = (of, each, none) => (of == null ? html`<${Unknown} why="nobody looked" />` : of.length ? of.map((x, i) => html`<div key=${i}>${each(x)}</div>`) : html`<span class="dim">${none}</span>`);

const longest = 31 * 86400; // that is answered at once

// spanOf is where an event is looked for, in seconds: from when it counts, which may be long
// before it was received, or after; cut when that is too far away.
function spanOf(e) {
  const at = Math.floor(Date.parse(e.effective_time ?? e.timestamp) / 1000), got = e.received_at ? Date.parse(e.received_at) / 1000 : at;
  const from = at - 60, to = Math.ceil(Math.max(at, got)) + 60;
  return { from, to: Math.min(to, from + longest), cut: to > from + longest };
}

// Lineage asks once for an event that GET /v1/events has told.
export function Lineage({ fleet, e }) {
  const { from, to: until, cut } = spanOf(e);
  const poll = usePoll((signal) => get(`/v1/events/${encodeURIComponent(e.event_id)}/lineage`, { fleet, device: e.device_id, from: rfc(from), to: rfc(until) },
    { signal, timeout: 30000 }), [fleet, e.event_id], 0);
  const d = poll.data;
  return html`<${Problem} error=${poll.error} at=${poll.at} what="What became of it" />${d ? html`<dl class="pairs lineage">
    <dt>stored</dt><dd>${list(d.stored, (s) => html`${s.record ? place(s.record) : html`<${Unknown} />`}${s.delivery ? html`, first delivered as ${place(s.delivery)}` : ""}, by
      <b>${s.schema || "no schema"}</b>, counts at <${When} at=${s.counts_at} />${s.enrich_failed?.length ? html`, without ${s.enrich_failed.join(", ")}` : ""}`, "it is not stored")}</dd>
    <dt>repeated</dt><dd>${list(d.repeats, place, "by no record")}</dd>
    <dt>rules</dt><dd>${d.stored.map((s) => list(s.rules, (r) => html`${r.rule} <${State} of=${r.outcome} tone=${r.outcome === "failed" ? "warn" : undefined} />${
      r.results?.length ? ` in ${count(r.results.length)} ${r.results.length === 1 ? "result" : "results"}` : ""}`, "none counts it"))}</dd>
    <dt>dead letters</dt><dd>${list(d.dead_letters, (l) => html`<a href=${to("/dead-letter", { id: l.id, failed_at: l.failed_at, fleet })}>${l.code.replaceAll("_", " ")}</a> at the stage ${l.stage}`, cut ? "none in its first 31 days" : "none")}</dd>
    <dt>alerts</dt><dd>${list(d.alerts, (a) => html`<a href=${to("/alert", { id: a.alert_id })}>${a.rule}</a> <${When} at=${a.opened_at} />`, "it opened none")}</dd></dl>`
    : poll.busy ? html`<p class="dim">Reading what became of it…</p>` : null}`;
}
