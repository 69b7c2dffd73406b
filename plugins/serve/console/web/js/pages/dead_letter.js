// One dead letter: its reason, and its bytes with the errors marked.
import { html, useStore, useMemo, useState } from "../h.js";
import { address, ask, get } from "../api.js";
import { usePoll } from "../poll.js";
import { session } from "../session.js";
import { route } from "../router.js";
import { bytes, count, zone } from "../format.js";
import { Age, Back, Device, Fresh, Problem, Section, State, Table, When } from "../ui.js";
import { Marked } from "../marked.js";
import { Redrive } from "../redrive.js";
import { Became, Review } from "../review.js";
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
    ${d ? html`<${Section} id="why" title="Why" side=${html`<${Review} d=${d} fleet=${fleet} onDone=${poll.again} />`}><dl class="pairs"><dt>code</dt><dd><${State} of=${d.code} tone="warn" /> at the stage <b>${d.stage}</b></dd>
      <dt>fleet</dt><dd>${d.fleet || html`<span class="dim">unknown</span>`}</dd><dt>device</dt><dd>${d.device_id ? html`<${Device} fleet=${d.fleet} id=${d.device_id} />` : html`<span class="dim">unknown</span>`}</dd>
      <dt>failed</dt><dd><${When} at=${d.failed_at} /> <span class="dim"><${Age} at=${d.failed_at} /></span></dd><dt>received</dt><dd><${When} at=${d.received_at} /></dd>
      ${d.origin ? html`<dt>in the log</dt><dd>${d.origin.topic}/${d.origin.partition} at ${count(d.origin.offset)}</dd>` : null}<dt>became</dt><dd><${Became} of=${d.outcome} /></dd><dt>id</dt><dd class="id">${d.id}</dd></dl>
      ${d.errors?.length ? html`<${Table} caption="Errors" rows=${d.errors} columns=${[{ name: "where", cell: (e) => html`<code>${e.pointer || "/"}</code>` }, { name: "what", cell: (e) => html`<bdi>${e.message}</bdi>` }]} />` : null}</${Section}>
    <${Section} id="bytes" title="What was sent" side=${html`<span class="dim">${bytes(d.original_size)}</span> <${Save} d=${d} fleet=${fleet} />`}>
      ${d.original_stored < d.original_size ? html`<p class="note warn">It was too large to keep: the store has its first ${bytes(d.original_stored)}, ${count(d.original_stored)} bytes.</p>` : null}
      <${Original} d=${d} /></${Section}>
    ${d.headers && Object.keys(d.headers).length ? html`<${Headers} of=${Object.entries(d.headers)} />` : null}
    <${Redrive} admin=${who?.admin} device=${d.device_id}
      which="Dead letters of this device and of this second" wish=${{ fleet: d.fleet, stage: d.stage, code: d.code, from: d.failed_at, to: after(d.failed_at) }} />` : null}`;
}

const after = (at) => new Date(Date.parse(at) + 1000).toISOString();

const headersMost = 50, headerMost = 2000;

// Headers are what travelled beside the event; those of a record may be many and long.
const Headers = ({ of }) => html`<${Section} id="headers" title="What weir knew of it"><dl class="pairs">${of.slice(0, headersMost).map(([k, v]) => html`<dt>${k.slice(0, headerMost)}</dt>
    <dd><bdi>${v.slice(0, headerMost)}</bdi>${v.length > headerMost ? html` <span class="dim">… of ${count(v.length)} characters</span>` : null}</dd>`)}</dl>
  ${of.length > headersMost ? html`<p class="note">${count(of.length - headersMost)} more are not shown.</p>` : null}</${Section}>`;

// Save gives all that the store has as a file, which is more than is shown.
function Save({ d, fleet }) {
  const [busy, setBusy] = useState(false), [error, setError] = useState("");
  const run = async () => {
    setBusy(true);
    setError("");
    try {
      const path = `/v1/dead-letters/${encodeURIComponent(d.id)}/original`;
      const answer = await ask(address(path, { fleet, failed_at: d.failed_at }), { timeout: 120000, accept: "application/octet-stream, application/problem+json" });
      save(`${d.id}.bin`, await answer.blob(), "application/octet-stream");
    } catch (e) {
      setError(e.message);
    }
    setBusy(false);
  };
  return html`${error ? html`<span class="bad" role="alert">${error}</span>` : null}<button type="button" class="quiet small" disabled=${busy}
    onClick=${run}>${busy ? "Reading…" : "Save"}<span class="hidden"> what was sent</span></button>`;
}

// How much is shown, so that no page freezes: of text, and of bytes that are none.
const textMost = 64 << 10, bytesMost = 4 << 10;

function Original({ d }) {
  const parsed = useMemo(() => {
    if (!d.original_json || d.original.length > textMost) return null;
    try {
      return { value: JSON.parse(d.original) };
    } catch {
      return null;
    }
  }, [d]);
  if (parsed) return html`<${Marked} value=${parsed.value} errors=${d.errors} />`;
  if (d.original_encoding === "base64") {
    const shown = Uint8Array.from(atob(d.original.slice(0, bytesMost / 3 * 4 | 0)), (c) => c.charCodeAt(0));
    return html`<p class="dim">It is no text. ${shown.length < d.original_size ? `Its first ${count(shown.length)} bytes of ${count(d.original_size)}, the file has the rest` : "Its bytes"}:</p>
      <pre tabindex="0">${dump(shown)}</pre>`;
  }
  const shown = d.original.slice(0, textMost), cut = d.original_cut || shown.length < d.original.length;
  return html`${cut ? html`<p class="note">Only its first ${count(shown.length)} characters are shown, as they were sent: the file has the rest.</p>`
    : !d.original_json && /^\s*[[{]/.test(shown) ? html`<p class="dim">As it was sent: it is no JSON, or nests too deep to be laid out.</p>` : null}
    <pre tabindex="0"><bdi>${shown}</bdi></pre>`;
}

function dump(b) {
  const lines = [];
  for (let i = 0; i < b.length; i += 16) {
    const row = [...b.slice(i, i + 16)];
    lines.push(`${i.toString(16).padStart(6, "0")}  ${row.map((n) => n.toString(16).padStart(2, "0")).join(" ").padEnd(47)}  ${row.map((n) => (n > 31 && n < 127 ? String.fromCharCode(n) : ".")).join("")}`);
  }
  return lines.join("\n");
}
