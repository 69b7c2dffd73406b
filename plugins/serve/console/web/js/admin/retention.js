// Retention: what was deleted on time.
import { html } from "../h.js";
import { get } from "../api.js";
import { usePoll } from "../poll.js";
import { bytes, count } from "../format.js";
import { Age, Fresh, Problem, Section, State, Table, When } from "../ui.js";

export function Retention() {
  const poll = usePoll((signal) => get("/v1/retention", { limit: 20 }, { signal }), [], 30000);
  return html`<${Problem} error=${poll.error} at=${poll.at} what="The runs of retention" />
    ${poll.data && !poll.data.runs.length ? html`<${Section} id="runs" title="Retention" side=${html`<${Fresh} poll=${poll} every=${30000} />`}><p class="empty">Retention has not run yet.</p></${Section}>` : null}
    ${(poll.data?.runs ?? []).map((run, i) => html`<${Section} id=${`run-${i}`} key=${run.started_at} title=${i ? "Earlier run" : "Last run"} side=${html`<${When} at=${run.started_at} /> <span class="dim"><${Age}
        at=${run.started_at} /></span>${run.dry_run ? html` <${State} of="dry run" />` : null}`}>
      ${run.held_fleets?.length ? html`<p class="note">Held: ${run.held_fleets.join(", ")}.</p>` : null}
      <${Table} caption="What each store deleted" rows=${run.stores} columns=${[{ name: "store", cell: (s) => s.store }, { name: "older than", cell: (s) => (s.older_than ? html`<${When} at=${s.older_than} />` : "unknown") },
        { name: "deleted", kind: "num", cell: (s) => count(s.rows) }, { name: "held back", kind: "num", cell: (s) => count(s.kept) },
        { name: "bytes", kind: "num", cell: (s) => (s.bytes === undefined ? "not told" : bytes(s.bytes)) }, { name: "error", cell: (s) => (s.error ? html`<span class="bad">${s.error}</span>` : "") }]} /></${Section}>`)}`;
}
