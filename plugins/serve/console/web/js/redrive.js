// Sending dead letters through again: with a patch that repairs them, tried on
// some of them first, which changes nothing.
import { html, useState } from "./h.js";
import { send } from "./api.js";
import { go, to } from "./router.js";
import { count } from "./format.js";
import { Ask, Field, Section, Table } from "./ui.js";
import { Diff } from "./diff.js";

const listOf = (text) => (text ? text.split(",").map((s) => s.trim()).filter(Boolean) : undefined);
// Redrive is the form: wish {fleet, stage, code, from, to} and device say which.
export function Redrive({ wish, device, admin, which }) {
  const [patch, setPatch] = useState(""), [got, setGot] = useState(null), [busy, setBusy] = useState(false);
  const [reason, setReason] = useState(null);
  const chosen = () => ({ fleet: wish.fleet || undefined, stages: listOf(wish.stage), codes: listOf(wish.code),
    from: wish.from, to: wish.to, devices: device ? [device] : undefined, patch: patch.trim() || undefined });
  const dry = async (e) => {
    e.preventDefault();
    setBusy(true);
    try {
      setGot({ trial: await send("/v1/dead-letters/dry-run", chosen(), { timeout: 40000 }), patch });
    } catch (e) {
      setGot({ error: e.message });
    }
    setBusy(false);
  };
  const ready = admin && got?.trial && got.patch === patch && got.trial.accepted > 0;
  return html`<${Section} id="redrive" title="Send them through again"><form class="form" onSubmit=${dry}>
      <${Field} id="patch" label="Patch" hint="Bloblang that repairs the event, such as root.metrics.cpu_temp = this.metrics.cpu_temp.number().
        What it does not assign stays. Empty: as it was."><textarea id="patch" aria-describedby="patch-hint" spellcheck="false"
        value=${patch} onInput=${(e) => { setPatch(e.target.value); setGot(null); }}></textarea></${Field}>
      <div class="row"><button type="submit" class="primary" disabled=${busy}>${busy ? "Trying…" : "Try it"}</button>
        <button type="button" disabled=${!ready} onClick=${() => setReason("")}>Send through again…</button>
        ${admin ? null : html`<span class="dim">To send them needs an admin key.</span>`}</div></form>
    <div aria-live="polite">${got ? html`<${Outcome} got=${got} />` : null}</div>
    ${reason === null ? null : html`<${Ask} title="Send them through again?" confirm="Send" run=${() => send("/v1/replays", { mode: "redrive", ...chosen(), reason })}
      onClose=${(made) => { setReason(null); if (made?.id) go(to("/replay", { id: made.id })); }} what=${html`
      <p>${which ?? "Dead letters of the range shown"}${wish.stage ? html`, stage <b>${wish.stage}</b>` : ""}${wish.code ? html`, code
        <b>${wish.code}</b>` : ""}${wish.fleet ? html`, fleet <b>${wish.fleet}</b>` : ", of all fleets"}, are ${patch.trim() ? "patched and " : ""}sent
        into the log again. One that was sent before is passed over; an event that is stored already is a duplicate.</p>
      <${Field} id="redrive-reason" label="Reason"><input id="redrive-reason" required maxlength="500" value=${reason}
        onInput=${(e) => setReason(e.target.value)} /></${Field}>`} />`}</${Section}>`;
}

function Outcome({ got }) {
  if (got.error) return html`<p class="note bad">${got.error}</p>`;
  const t = got.trial, one = t.examples.find((e) => e.patched !== undefined && e.patched !== e.original);
  return html`<p class=${`note ${t.failing || t.cut ? "warn" : "good"}`}>Of ${t.more ? "the first " : ""}${count(t.tried)} dead letters <b>${count(t.accepted)}</b> would be sent through again${
      t.failing ? html`, and <b>${count(t.failing)}</b> would fail again` : ""}${t.deleted ? `; the patch leaves ${count(t.deleted)} out` : ""}${
      t.resolved ? `; ${count(t.resolved)} were before, and are passed over` : ""}${t.foreign ? `; ${count(t.foreign)} are of stages that events do not go back into` : ""}. Nothing was changed.${
      t.unjudged ? ` ${count(t.unjudged)} go back to a consumer, which judges them itself.` : ""}${t.more ? " There are more, which were not tried." : ""}${t.cut ? ` The trial was ended: ${t.cut}.` : ""}</p>
    ${one ? html`<h3>One of them, before and after</h3><${Diff} before=${pretty(one.original)} after=${pretty(one.patched)} />` : null}
    ${t.because.length ? html`<${Table} caption="Why they would fail again" rows=${t.because} columns=${[{ name: "why", cell: (r) => html`<bdi>${r.reason}</bdi>` },
      { name: "dead letters", kind: "num", cell: (r) => count(r.count) }]} />` : null}`;
}

// pretty lays JSON out, unless it is long or nests so deep that the page would be long.
function pretty(text) {
  let depth = 0, deepest = 0;
  for (const c of text) {
    if (c === "{" || c === "[") deepest = Math.max(deepest, ++depth);
    if (c === "}" || c === "]") depth--;
  }
  if (text.length > 64 << 10 || deepest > 100) return text.slice(0, 64 << 10);
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
