// Pipelines: how runs of `weir etl` go, on whichever machine, and what became of
// their rows.
import { html, useStore } from "../h.js";
import { get } from "../api.js";
import { useList } from "../list.js";
import { usePoll } from "../poll.js";
import { link, route, to } from "../router.js";
import { bytes, count, zone } from "../format.js";
import { Age, Choice, Fresh, More, Problem, Section, State, Table, Unknown, When } from "../ui.js";

const states = ["all", "running", "done", "failed"];
const silent = 60000; // a run tells of itself every ten seconds

const tones = { running: "ok", done: "dim", failed: "bad" };
const lost = (r) => r.state === "running" && Date.now() - Date.parse(r.heard) > silent;
const stateOf = (r) => (lost(r) ? html`<${State} of="not heard of" tone="bad" />` : html`<${State} of=${r.state} tone=${tones[r.state]} />`);

export default function Pipelines() {
  const { query } = useStore(route);
  return query.run ? html`<${One} pipeline=${query.pipeline ?? ""} run=${query.run} />` : html`<${Runs} />`;
}

function Runs() {
  const { path, query } = useStore(route);
  useStore(zone);
  const state = query.state ?? "all", pipeline = query.pipeline ?? "";
  const list = useList(async (cursor, signal) => {
    const page = await get("/v1/etl/runs", { state: state === "all" ? "" : state, pipeline, before: cursor }, { signal });
    return { rows: page.runs, next: page.runs.length === 100 ? page.runs.at(-1).began : null };
  }, [state, pipeline], 5000);
  return html`<div class="title"><h1>Pipelines</h1><span class="side"><${Fresh} poll=${list.poll} every=${5000} /></span></div>
    <div class="row"><${Choice} label="State" values=${states.map((s) => [s])} chosen=${state} href=${(s) => link(path, { ...query, state: s })} />
      ${pipeline ? html`<a href=${link(path, { ...query, pipeline: "" })}>Runs of all pipelines</a>` : null}</div>
    <${Section} id="runs" title=${pipeline ? `Runs of ${pipeline}` : "Runs"}>
      <${Problem} error=${list.error} at=${list.poll.at} what="The list of runs" />
      ${list.poll.data ? html`<${Table} caption="Runs of pipelines" rows=${list.rows} keyOf=${(r) => `${r.pipeline} ${r.run}`}
        empty="No run was heard of. A run tells of itself where weir etl run has --store, or WEIR_CONTROL_URL." columns=${[
        { name: "state", cell: stateOf },
        { name: "pipeline", cell: (r) => html`<a href=${link(path, { ...query, pipeline: r.pipeline })}><bdi>${r.pipeline}</bdi></a>` },
        { name: "run", cell: (r) => html`<a href=${to("/etl", { pipeline: r.pipeline, run: r.run })}><bdi>${r.run}</bdi></a>` },
        { name: "read", cell: (r) => count(r.read) },
        { name: "written", cell: (r) => count(r.written) },
        { name: "rejected", cell: (r) => count(r.rejected) },
        { name: "left out", cell: (r) => count(r.left_out) },
        { name: "lag", cell: (r) => (r.lag === undefined ? "" : count(r.lag)) },
        { name: "machine", cell: (r) => html`<bdi>${r.host}</bdi>` },
        { name: "heard of", cell: (r) => html`<${Age} at=${r.heard} />` }]} />
      ${list.rows.length ? html`<${More} shown=${list.rows.length} next=${list.next} busy=${list.busy} onMore=${list.onMore} />` : null}`
      : list.error ? null : html`<p class="empty">Reading…</p>`}</${Section}>`;
}

function One({ pipeline, run }) {
  useStore(zone);
  const poll = usePoll((signal) => get(`/v1/etl/runs/${encodeURIComponent(pipeline)}/${encodeURIComponent(run)}`, {}, { signal }), [pipeline, run], 5000);
  const r = poll.data;
  return html`<div class="title"><h1>Run of <bdi>${pipeline}</bdi></h1><span class="side"><${Fresh} poll=${poll} every=${5000} /></span></div>
    <p><a href=${to("/etl", { pipeline })}>All runs of this pipeline</a></p>
    <${Problem} error=${poll.error} at=${poll.at} what="The run" />
    ${!r ? (poll.error ? null : html`<p class="empty">Reading…</p>`) : html`
    <${Section} id="run" title="What became of its rows">
      <dl class="pairs"><dt>state</dt><dd>${stateOf(r)}</dd><dt>run</dt><dd><bdi>${r.run}</bdi></dd><dt>machine</dt><dd><bdi>${r.host}</bdi></dd>
        <dt>first heard of</dt><dd><${When} at=${r.began} /></dd><dt>last heard of</dt><dd><${When} at=${r.heard} /></dd>
        <dt>read</dt><dd>${count(r.read)}</dd><dt>written</dt><dd>${count(r.written)}</dd><dt>rejected</dt><dd>${count(r.rejected)}</dd><dt>left out</dt><dd>${count(r.left_out)}</dd>
        ${r.stream ? html`<dt>lag</dt><dd>${r.lag === undefined ? html`<${Unknown} />` : count(r.lag)}</dd>` : null}</dl>
      ${r.error ? html`<p class="note bad"><bdi>${r.error}</bdi></p><p class="dim">It goes on where it was when it is run again.</p>` : null}</${Section}>
    ${r.report ? html`<${Report} of=${r.report} />` : null}`}`;
}

function Report({ of }) {
  const steps = (of.counts.steps ?? []).map((s, i) => ({ ...s, number: i + 1 }));
  return html`<${Section} id="sinks" title="Where they are"><${Table} caption="Sinks" rows=${of.sinks} keyOf=${(s) => `${s.url} ${s.object}`} empty="It has no sinks." columns=${[
      { name: "format", cell: (s) => (s.rejects ? `${s.format}, rejects` : s.format) },
      { name: "object", cell: (s) => html`<bdi>${s.object}</bdi>` },
      { name: "mode", cell: (s) => s.mode ?? "" },
      { name: "rows", cell: (s) => count(s.rows) },
      { name: "size", cell: (s) => bytes(s.bytes) }]} /></${Section}>
    ${steps.length ? html`<${Section} id="steps" title="Steps"><${Table} caption="Steps" rows=${steps} keyOf=${(s) => s.number} columns=${[
      { name: "step", cell: (s) => s.number },
      { name: "filtered", cell: (s) => count(s.filtered) },
      { name: "failed", cell: (s) => count(s.failed) },
      { name: "duplicates", cell: (s) => count(s.duplicates ?? 0) },
      { name: "combined", cell: (s) => count(s.combined ?? 0) },
      { name: "made", cell: (s) => count(s.made ?? 0) }]} /></${Section}>` : null}
    <${Section} id="columns" title="Columns"><${Table} caption="Columns" rows=${of.columns} keyOf=${(c) => c.name} columns=${[
      { name: "name", cell: (c) => html`<bdi>${c.name}</bdi>` }, { name: "type", cell: (c) => c.type }]} /></${Section}>`;
}
