// Sending dead letters through again: with a patch that repairs them, tried on
// them first.
import { html, useState } from "./h.js";
import { send } from "./api.js";
import { go, to } from "./router.js";
import { count } from "./format.js";
import { Ask, Field, Section, Table } from "./ui.js";
import { Diff } from "./diff.js";

const listOf = (text) => (text ? text.split(",").map((s) => s.trim()).filter(Boolean) : undefined);

// Redrive is the form: wish {fleet, stage, code, from, to, ids} says which.
export function Redrive({ wish, admin, device, one }) {
  const [patch, setPatch] = useState(""), [got, setGot] = useState(null), [busy, setBusy] = useState(false), [ask, setAsk] = useState(null);
  const dry = async (e) => {
    e.preventDefault();
    setBusy(true);
    try {
      setGot({ ...await send("/v1/dead-letters/dry-run", { ...wish, patch, limit: 1000 }, { timeout: 60000 }), patch });
    } catch (e) {
      setGot({ error: e.message });
    }
    setBusy(false);
  };
  const make = () => send("/v1/replays", { mode: "redrive", fleet: wish.fleet || undefined, stages: listOf(wish.stage), codes: listOf(wish.code), from: wish.from, to: wish.to,
    devices: device ? [device] : undefined, patch: patch.trim() || undefined, reason: ask });
  return html`<${Section} id="redrive" title="Send them through again"><form class="form" onSubmit=${dry}>
      <${Field} id="patch" label="Patch" hint="Bloblang that repairs the event, such as root.metrics.cpu_temp = this.metrics.cpu_temp.number(). What it does not assign stays. Empty: as it was."><textarea id="patch"
        aria-describedby="patch-hint" spellcheck="false" value=${patch} onInput=${(e) => { setPatch(e.target.value); setGot(null); }}></textarea></${Field}>
      <div class="row"><button type="submit" class="primary" disabled=${busy}>${busy ? "Trying…" : "Try it"}</button>
        ${admin && !one ? html`<button type="button" disabled=${!got || got.error || got.patch !== patch || !got.accepted} onClick=${() => setAsk("")}>Send through again…</button>` : null}
        ${admin ? null : html`<span class="dim">Sending them through again needs an admin key.</span>`}</div></form>
    <div aria-live="polite">${got ? html`<${Outcome} got=${got} />` : null}</div>
    ${ask !== null ? html`<${Ask} title="Send them through again?" confirm="Send" run=${make} onClose=${(job) => { setAsk(null); if (job?.id) go(to("/replay", { id: job.id })); }} what=${html`
      <p>Dead letters of the range shown${wish.stage ? html`, stage <b>${wish.stage}</b>` : ""}${wish.code ? html`, code <b>${wish.code}</b>` : ""}${wish.fleet ? html`, fleet <b>${wish.fleet}</b>` : ", of all fleets"}, are
        ${patch.trim() ? "patched and " : ""}sent into the log again under their first coordinates: an event that is stored already is a duplicate.</p>
      <${Field} id="redrive-reason" label="Reason"><input id="redrive-reason" required value=${ask} onInput=${(e) => setAsk(e.target.value)} /></${Field}>`} />` : null}</${Section}>`;
}

function Outcome({ got }) {
  if (got.error) return html`<p class="note bad">${got.error}</p>`;
  return html`<p class=${`note ${got.failing ? "warn" : "good"}`}>Of ${count(got.tried)}${got.more ? " (there are more)" : ""}, <b>${count(got.accepted)}</b> would be accepted and <b>${count(got.failing)}</b> would still fail. Nothing was changed.</p>
    ${got.example?.before !== undefined && got.example.after !== undefined ? html`<h3>One of them, before and after</h3><${Diff} before=${pretty(got.example.before)} after=${pretty(got.example.after)} />` : null}
    ${got.failures?.length ? html`<${Table} caption="What would still fail" rows=${got.failures.slice(0, 20)} keyOf=${(f) => f.id} columns=${[
      { name: "code", cell: (f) => f.code }, { name: "why", cell: (f) => html`<bdi>${(f.errors ?? []).map((e) => `${e.pointer ? `${e.pointer}: ` : ""}${e.message}`).join("; ") || f.message || ""}</bdi>` },
      { name: "dead letter", cell: (f) => html`<a class="id" href=${to("/dead-letter", { id: f.id })}>${f.id.slice(0, 8)}</a>` }]} />` : null}`;
}

export function pretty(text) {
  if (typeof text !== "string") return JSON.stringify(text, null, 2);
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
