// How good the data of a fleet is: scores, and what each field holds, beside the week before.
import { html, useStore } from "../h.js";
import { get } from "../api.js";
import { usePoll } from "../poll.js";
import { session } from "../session.js";
import { logOf, sourceOf } from "../log.js";
import { link, route } from "../router.js";
import { count, figure, zone } from "../format.js";
import { Choice, Fresh, Problem, Section, Table, Unknown } from "../ui.js";
import { Range, rangeOf, rfc } from "../range.js";

const percent = (v) => (typeof v === "number" ? `${(100 * v).toFixed(v > 0.999 && v < 1 ? 2 : 1)} %` : html`<${Unknown} />`);
const number = (v) => (typeof v === "number" ? figure(v) : html`<span class="dim">none</span>`);
const parts = ["complete", "valid", "timely", "unique", "consistent"];
const drifted = (d) => d && (Math.abs(d.null_rate) > 0.05 || Math.abs(d.median ?? 0) > 0.5 || d.new);

export default function Quality() {
  const { query, path } = useStore(route);
  const { who } = useStore(session);
  useStore(zone);
  const { fleet, schema } = query;
  const range = rangeOf(query, "24h"), asked = (fleet || !who?.all) && !range.why;
  const poll = usePoll((signal) => {
    if (!asked) return null;
    const now = rangeOf(query, "24h");
    return get("/v1/quality", { fleet, source: who?.logs.length > 1 || logOf(query) ? sourceOf(query) : undefined, from: rfc(now.from), to: rfc(now.to) }, { signal, timeout: 30000 });
  }, [asked, fleet, query.from, query.to, query.range], range.live ? 60000 : 0);
  const d = poll.data, one = d?.schemas.find((s) => s.schema === schema) ?? d?.schemas[0];
  return html`<div class="title"><h1>Data quality</h1><span class="side"><${Fresh} poll=${poll} every=${range.live ? 60000 : 0} /></span></div>
    <${Range} range=${range} />${range.why ? html`<p class="note bad" role="alert">${range.why}</p>` : null}
    ${asked || range.why ? null : html`<p class="empty">Choose a fleet to see how good its data is.</p>`}
    <${Problem} error=${poll.error} at=${poll.at} what="The data quality" />
    ${d ? html`<${Section} id="score" title="Score" side=${html`<span class="dim">${count(d.events)} events stored, ${count(d.refused)} refused</span>`}>
      ${d.events + d.refused === 0 ? html`<p class="empty">Nothing is known of this range: an hour is computed ten minutes after it ended.</p>`
        : html`<dl class="pairs"><dt>all</dt><dd><b>${percent(d.score.score)}</b></dd>${parts.map((p) => html`<dt>${p}</dt><dd>${percent(d.score[p])}</dd>`)}</dl>`}</${Section}>` : null}
    ${one ? html`<${Section} id="fields" title=${`Fields of ${one.schema || "no schema"}`} side=${d.schemas.length > 1 ? html`<${Choice} label="Schema" values=${d.schemas.map((s) => [s.schema, s.schema || "none"])}
        chosen=${one.schema} href=${(s) => link(path, { ...query, schema: s })} />` : null}>
      <${Table} caption="Fields" rows=${one.fields} keyOf=${(f) => f.pointer} rowClass=${(f) => (drifted(f.drift) ? "warn" : "")} columns=${[
        { name: "field", cell: (f) => html`<bdi>${f.pointer}</bdi>` }, { name: "kind", cell: (f) => html`${f.kind}${f.odd ? html` <span class="warn">${count(f.odd)} others</span>` : null}` },
        { name: "without a value", kind: "num", cell: (f) => percent(f.null_rate) }, { name: "least", kind: "num", cell: (f) => number(f.min) }, { name: "median", kind: "num", cell: (f) => number(f.p50) },
        { name: "95 %", kind: "num", cell: (f) => number(f.p95) }, { name: "greatest", kind: "num", cell: (f) => number(f.max) },
        { name: "looks like", cell: (f) => f.shapes.slice(0, 3).map((s) => html`<code>${s.shape || "empty"}</code> `) },
        { name: "since last week", cell: (f) => (!f.drift ? html`<${Unknown} />` : f.drift.new ? "new" : html`${percent(f.drift.null_rate)} without a value${
          f.drift.median === null ? null : html`, median by ${f.drift.median.toFixed(2)} widths`}`) }]} />
      ${one.more_fields ? html`<p class="note">There are more fields than are kept.</p>` : null}</${Section}>` : null}`;
}
