// The proof: for every partition of the log, what became of each record.
import { html, useStore } from "../h.js";
import { get, send } from "../api.js";
import { usePoll } from "../poll.js";
import { useList } from "../list.js";
import { count, zone } from "../format.js";
import { Act, Age, Back, Fresh, More, Problem, Section, State, Table, Unknown, When } from "../ui.js";
import { Days } from "../proof_days.js";
import { Verdict } from "./overview.js";

const fates = [["accepted", "accepted"], ["stored", "stored"], ["duplicates", "duplicate"], ["dead_lettered", "dead-lettered"], ["erased", "erased"], ["in_flight", "in flight"], ["unexplained", "unexplained"]];

export default function Proof() {
  useStore(zone);
  const poll = usePoll((signal) => get("/v1/proof", {}, { signal }), [], 3000);
  const p = poll.data, r = p?.report;
  return html`<${Back} path="/" /><div class="title"><h1>Proof</h1><span class="side"><${Fresh} poll=${poll} every=${3000} /></span></div>
    <${Problem} error=${poll.error} at=${poll.at} what="The proof" />
    ${p ? html`<${Section} id="last" title="Last proof" bad=${p.verdict === "loss"} side=${html`${p.running || p.requested_at && (!p.at || p.requested_at > p.at) ? html`<${State} of="running" /> ` : null}<${Act}
        label="Prove now" small what=${html`<p>weir reads the log's positions and the stores, and accounts for every event. It takes seconds to minutes.</p>`} run=${() => send("/v1/proof", undefined)} onDone=${poll.again} />`}>
      <p class="verdict"><${Verdict} proof=${p} unknown=${p.unknown?.verdict} /></p>${p.detail ? html`<p class="note warn">${p.detail}</p>` : null}
      ${r?.problems?.length ? html`<ul class="bad">${r.problems.map((t) => html`<li>${typeof t === "string" ? t : JSON.stringify(t)}</li>`)}</ul>` : null}
      ${r ? html`<${Table} caption="Partitions of the log" rows=${r.partitions} keyOf=${(q) => `${q.topic} ${q.partition}`} columns=${[
        { name: "partition", cell: (q) => `${q.topic}/${q.partition}` }, { name: "offsets", cell: (q) => `${count(q.first)} to ${count(q.end)}` },
        ...fates.map(([f, name]) => ({ name, kind: "num", cell: (q) => (f === "unexplained" && q[f] ? html`<b class="bad">${count(q[f])}</b>` : count(q[f])) })),
        { name: "", cell: (q) => (q.unexplained_ranges ?? []).slice(0, 5).map((u) => html`<div class="bad">${u.first} to ${u.last}: ${u.reason}</div>`) }]} />` : p.unknown?.report ? html`<p class="dim">Its report is <${Unknown} />: ${p.unknown.report}.</p>` : null}</${Section}>` : null}
    <${Month} /><${Before} />`;
}

// Month is the picture of thirty days.
function Month() {
  const poll = usePoll((signal) => get("/v1/proof/hours", {}, { signal }), [], 30000);
  const d = poll.data;
  return html`<${Section} id="month" title="Thirty days" side=${html`<${Fresh} poll=${poll} every=${30000} />`}>
    <${Problem} error=${poll.error} at=${poll.at} what="The history of proofs" />
    ${d ? html`<${Days} from=${Date.parse(d.from)} to=${Date.parse(d.to)} hours=${d.hours} />` : html`<div class="hole short"></div>`}</${Section}>`;
}

// Before lists the runs, page by page.
function Before() {
  const list = useList(async (cursor, signal) => {
    const page = await get("/v1/proof/history", { limit: 25, cursor }, { signal });
    return { rows: page.history, next: page.next };
  }, [], 5000);
  return html`<${Section} id="history" title="Proofs before"><${Problem} error=${list.error} at=${list.poll.at} what="The list of proofs" />
    ${list.poll.data ? html`<${Table} caption="Proofs before" rows=${list.rows} keyOf=${(h) => h.at} empty="There were none." columns=${[
      { name: "when", cell: (h) => html`<${When} at=${h.at} /> <span class="dim"><${Age} at=${h.at} /></span>` }, { name: "verdict", cell: (h) => html`<${State} of=${h.verdict === "failed" ? "not done" : h.verdict} tone=${h.verdict === "failed" ? "warn" : undefined} />` },
      { name: "accepted", kind: "num", cell: (h) => count(h.accepted) }, { name: "unexplained", kind: "num", cell: (h) => count(h.unexplained) }]} />
      ${list.rows.length ? html`<${More} shown=${list.rows.length} next=${list.next} busy=${list.busy} onMore=${list.onMore} />` : null}` : null}</${Section}>`;
}
