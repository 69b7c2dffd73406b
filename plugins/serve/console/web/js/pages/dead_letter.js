// One dead letter: its reason, and its bytes with the errors marked.
import { html, useStore, useMemo } from "../h.js";
import { get } from "../api.js";
import { usePoll } from "../poll.js";
import { session } from "../session.js";
import { route } from "../router.js";
import { bytes, count, zone } from "../format.js";
import { Age, Back, Device, Fresh, Problem, Section, State, Table, When } from "../ui.js";
import { Marked } from "../marked.js";
import { Redrive } from "../redrive.js";
import { save } from "../csv.js";

export default function DeadLetter() {
  const { query } = useStore(route);
  const { who } = useStore(session);
  useStore(zone);
  const { id, fleet, failed_at } = query;
  const poll = usePoll((signal) => get(`/v1/dead-letters/${encodeURIComponent(id ?? "")}`, { fleet, failed_at }, { signal, timeout: 60000 }), [id, fleet, failed_at], 0);
  const d = poll.data;
  return html`<${Back} path="/dead-letters" />
    <div class="title"><h1><bdi>${d?.message || d?.code || "Dead letter"}</bdi></h1><span class="side"><${Fresh} poll=${poll} /></span></div>
    <${Problem} error=${poll.error} at=${poll.at} what="The dead letter" />
    ${d ? html`<${Section} id="why" title="Why"><dl class="pairs"><dt>code</dt><dd><${State} of=${d.code} tone="warn" /> at the stage <b>${d.stage}</b></dd>
      <dt>fleet</dt><dd>${d.fleet || html`<span class="dim">unknown</span>`}</dd><dt>device</dt><dd>${d.device_id ? html`<${Device} fleet=${d.fleet} id=${d.device_id} />` : html`<span class="dim">unknown</span>`}</dd>
      <dt>failed</dt><dd><${When} at=${d.failed_at} /> <span class="dim"><${Age} at=${d.failed_at} /></span></dd><dt>received</dt><dd><${When} at=${d.received_at} /></dd>
      ${d.origin ? html`<dt>in the log</dt><dd>${d.origin.topic}/${d.origin.partition} at ${count(d.origin.offset)}</dd>` : null}<dt>id</dt><dd class="id">${d.id}</dd></dl>
      ${d.errors?.length ? html`<${Table} caption="Errors" rows=${d.errors} columns=${[{ name: "where", cell: (e) => html`<code>${e.pointer || "/"}</code>` }, { name: "what", cell: (e) => html`<bdi>${e.message}</bdi>` }]} />` : null}</${Section}>
    <${Section} id="bytes" title="What was sent" side=${html`<span class="dim">${bytes(d.original_size)}</span> <button type="button" class="quiet small" onClick=${() => save(`${d.id}.bin`, raw(d), "application/octet-stream")}>Save</button>`}>
      ${d.original_cut ? html`<p class="note">Only its first 256 KiB are shown.</p>` : null}<${Original} d=${d} /></${Section}>
    ${d.headers && Object.keys(d.headers).length ? html`<${Section} id="headers" title="What weir knew of it"><dl class="pairs">${Object.entries(d.headers).map(([k, v]) => html`<dt>${k}</dt><dd><bdi>${v}</bdi></dd>`)}</dl></${Section}>` : null}
    <${Redrive} admin=${who?.admin} device=${d.device_id}
      which="Dead letters of this device and of this second" wish=${{ fleet: d.fleet, stage: d.stage, code: d.code, from: d.failed_at, to: after(d.failed_at) }} />` : null}`;
}

const after = (at) => new Date(Date.parse(at) + 1000).toISOString();
const raw = (d) => (d.original_encoding === "base64" ? Uint8Array.from(atob(d.original), (c) => c.charCodeAt(0)) : d.original);

function Original({ d }) {
  const parsed = useMemo(() => {
    if (!d.original_json || d.original_cut) return null;
    try {
      return { value: JSON.parse(d.original) };
    } catch {
      return null;
    }
  }, [d]);
  if (parsed && d.original.length < 64 << 10) return html`<${Marked} value=${parsed.value} errors=${d.errors} />`;
  if (d.original_encoding === "base64") return html`<p class="dim">It is no text. Its bytes:</p><pre tabindex="0">${dump(raw(d).slice(0, 4096))}</pre>`;
  return html`<pre tabindex="0"><bdi>${d.original.slice(0, 64 << 10)}</bdi></pre>`;
}

function dump(b) {
  const lines = [];
  for (let i = 0; i < b.length; i += 16) {
    const row = [...b.slice(i, i + 16)];
    lines.push(`${i.toString(16).padStart(6, "0")}  ${row.map((n) => n.toString(16).padStart(2, "0")).join(" ").padEnd(47)}  ${row.map((n) => (n > 31 && n < 127 ? String.fromCharCode(n) : ".")).join("")}`);
  }
  return lines.join("\n");
}
