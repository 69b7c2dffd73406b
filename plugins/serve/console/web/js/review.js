// Deciding about one dead letter: to send it back, or that it is not to go.
import { html, useState } from "./h.js";
import { address, send } from "./api.js";
import { go, to } from "./router.js";
import { Ask, Field, State, When } from "./ui.js";

const words = { released: "sent back", failed_again: "failed again", discarded: "discarded" };
// Became says what became of a dead letter.
export const Became = ({ of }) => (of ? html`<${State} of=${words[of.state] ?? of.state} tone=${of.state === "failed_again" ? "warn" : undefined} />
  <${When} at=${of.at} /> ${of.by ? html`<span class="dim">by ${of.by}</span> ` : null}${of.job ? html`<a href=${to("/replay", { id: of.job })}>job</a> ` : null}<bdi>${of.reason}</bdi>`
  : html`<span class="dim">nothing yet</span>`);

// Review is the buttons; onDone reads the dead letter again.
export function Review({ d, fleet, onDone }) {
  const [wish, setWish] = useState(""), [reason, setReason] = useState("");
  if (d.outcome?.state === "released") return null;
  const run = () => send(address(`/v1/dead-letters/${encodeURIComponent(d.id)}/${wish}`, { fleet, failed_at: d.failed_at }), { reason }, { timeout: 60000 });
  const done = (made) => {
    setWish("");
    if (made?.mode) return go(to("/replay", { id: made.id }));
    if (made) onDone();
  };
  return html`<button type="button" class="small" onClick=${() => setWish("release")}>Send it back…</button> ${d.outcome?.state === "discarded" ? null
    : html`<button type="button" class="small quiet" onClick=${() => setWish("discard")}>Discard…</button>`}
    ${wish ? html`<${Ask} title=${wish === "release" ? "Send it back?" : "Discard it?"} confirm=${wish === "release" ? "Send" : "Discard"} run=${run} onClose=${done} what=${html`
      <p>${wish === "release" ? "This dead letter alone goes through again, and is judged again." : "It stays here until its time is over, with who discarded it and why, and no redrive sends it back."}</p>
      <${Field} id="review-reason" label="Reason"><input id="review-reason" required maxlength="500" value=${reason} onInput=${(e) => setReason(e.target.value)} /></${Field}>`} />` : null}`;
}
