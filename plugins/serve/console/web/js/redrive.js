// Sending dead letters through again: with a patch that repairs them, tried on
// them first by a job that changes nothing.
import { html, useState } from "./h.js";
import { get, send } from "./api.js";
import { go, to } from "./router.js";
import { count } from "./format.js";
import { Ask, Field, Section, Table } from "./ui.js";
import { Diff } from "./diff.js";

const listOf = (text) => (text ? text.split(",").map((s) => s.trim()).filter(Boolean) : undefined);
const over = ["done", "failed", "cancelled"];
const patience = 120000;

// finish waits for a job to end, and returns it.
async function finish(job) {
  const end = Date.now() + patience;
  while (!over.includes(job.state)) {
    if (Date.now() > end) throw new Error("the dry run takes longer than two minutes: it is among the replays");
    await new Promise((done) => setTimeout(done, 500));
    job = await get(`/v1/replays/${encodeURIComponent(job.id)}`);
  }
  if (job.state !== "done") throw new Error(job.error || `the dry run was ${job.state}`);
  return job;
}

// Redrive is the form: wish {fleet, stage, code, from, to} and device say which.
export function Redrive({ wish, device, admin, which }) {
  const [patch, setPatch] = useState(""), [got, setGot] = useState(null), [busy, setBusy] = useState(false);
  const [reason, setReason] = useState(null);
  const job = (more) => ({ mode: "redrive", fleet: wish.fleet || undefined, stages: listOf(wish.stage), codes: listOf(wish.code),
    from: wish.from, to: wish.to, devices: device ? [device] : undefined, patch: patch.trim() || undefined, ...more });
  const dry = async (e) => {
    e.preventDefault();
    setBusy(true);
    try {
      const done = await finish(await send("/v1/replays", job({ dry_run: true, reason: "tried in the console" })));
      setGot({ preview: done.preview, patch });
    } catch (e) {
      setGot({ error: e.message });
    }
    setBusy(false);
  };
  if (!admin) {
    return html`<${Section} id="redrive" title="Send them through again"><p class="dim">That needs an admin key.</p></${Section}>`;
  }
  const ready = got?.preview && got.patch === patch && sum(got.preview.counts) > 0;
  return html`<${Section} id="redrive" title="Send them through again"><form class="form" onSubmit=${dry}>
      <${Field} id="patch" label="Patch" hint="Bloblang that repairs the event, such as root.metrics.cpu_temp = this.metrics.cpu_temp.number().
        What it does not assign stays. Empty: as it was."><textarea id="patch" aria-describedby="patch-hint" spellcheck="false"
        value=${patch} onInput=${(e) => { setPatch(e.target.value); setGot(null); }}></textarea></${Field}>
      <div class="row"><button type="submit" class="primary" disabled=${busy}>${busy ? "Trying…" : "Try it"}</button>
        <button type="button" disabled=${!ready} onClick=${() => setReason("")}>Send through again…</button></div></form>
    <div aria-live="polite">${got ? html`<${Outcome} got=${got} />` : null}</div>
    ${reason === null ? null : html`<${Ask} title="Send them through again?" confirm="Send" run=${() => send("/v1/replays", job({ reason }))}
      onClose=${(made) => { setReason(null); if (made?.id) go(to("/replay", { id: made.id })); }} what=${html`
      <p>${which ?? "Dead letters of the range shown"}${wish.stage ? html`, stage <b>${wish.stage}</b>` : ""}${wish.code ? html`, code
        <b>${wish.code}</b>` : ""}${wish.fleet ? html`, fleet <b>${wish.fleet}</b>` : ", of all fleets"}, are ${patch.trim() ? "patched and " : ""}sent
        into the log again. One that was sent before is passed over; an event that is stored already is a duplicate.</p>
      <${Field} id="redrive-reason" label="Reason"><input id="redrive-reason" required maxlength="500" value=${reason}
        onInput=${(e) => setReason(e.target.value)} /></${Field}>`} />`}</${Section}>`;
}

const sum = (counts) => counts.reduce((n, c) => n + c.count, 0);

function Outcome({ got }) {
  if (got.error) return html`<p class="note bad">${got.error}</p>`;
  const p = got.preview, bad = p.samples.filter((s) => s.problem), one = p.samples.find((s) => s.patched !== undefined);
  return html`<p class=${`note ${bad.length ? "warn" : "good"}`}>Of ${count(p.letters)} dead letters <b>${count(sum(p.counts))}</b> would be sent through
      again${p.resolved ? `; ${count(p.resolved)} were before, and are passed over` : ""}${p.foreign
      ? `; ${count(p.foreign)} are of stages that events do not go back into` : ""}. Nothing was changed.
      ${bad.length ? html` The patch fails on <b>${bad.length}</b> of the ${p.samples.length} it was tried on: ${bad[0].problem}` : null}</p>
    ${one ? html`<h3>One of them, before and after</h3><${Diff} before=${pretty(one.original)} after=${pretty(one.patched)} />` : null}
    ${p.counts.length > 1 ? html`<${Table} caption="What would be sent" rows=${p.counts} columns=${[{ name: "fleet", cell: (c) => c.fleet },
      { name: "stage", cell: (c) => c.stage }, { name: "code", cell: (c) => c.code },
      { name: "dead letters", kind: "num", cell: (c) => count(c.count) }]} />` : null}`;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
