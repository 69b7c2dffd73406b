// Legal holds: fleets of which nothing is deleted.
import { html, useState } from "../h.js";
import { get, send } from "../api.js";
import { usePoll } from "../poll.js";
import { Act, Ask, Field, Fresh, Problem, Section, State, Table, When } from "../ui.js";

export function Holds({ query }) {
  const poll = usePoll((signal) => get("/v1/holds", {}, { signal }), [], 10000);
  const [wish, setWish] = useState(null), [why, setWhy] = useState("");
  const read = (e) => {
    e.preventDefault();
    const d = new FormData(e.target), fleet = d.get("fleet").trim(), reason = d.get("reason").trim();
    if (!fleet || !reason) return setWhy("Name the fleet and the reason.");
    setWhy("");
    return setWish({ fleet, reason });
  };
  const path = (fleet) => `/v1/holds/${encodeURIComponent(fleet)}`;
  return html`<${Section} id="holds" title="Legal holds" side=${html`<${Fresh} poll=${poll} every=${10000} />`}>
      <${Problem} error=${poll.error} at=${poll.at} what="The list of holds" />
      ${poll.data ? html`<${Table} caption="Legal holds" rows=${poll.data.holds} keyOf=${(h) => `${h.fleet} ${h.since}`} empty="No fleet is held." columns=${[
        { name: "fleet", cell: (h) => html`<bdi>${h.fleet}</bdi>` }, { name: "reason", cell: (h) => html`<bdi>${h.reason}</bdi>` },
        { name: "since", cell: (h) => html`<${When} at=${h.since} />` }, { name: "by", cell: (h) => h.placed_by || "unknown" },
        { name: "state", cell: (h) => (h.released_at ? html`<${State} of="released" tone="dim" /> <span class="dim"><${When} at=${h.released_at} /> by ${h.released_by || "unknown"}</span>` : html`<${State} of="in force" tone="warn" />`) },
        { name: "", cell: (h) => (h.released_at ? null : html`<${Act} label="Release" small danger title=${`Release ${h.fleet}?`} what=${html`<p>What of the fleet <b>${h.fleet}</b> is old enough is deleted by the next run of retention.</p>`}
          run=${() => send(path(h.fleet), undefined, { method: "DELETE" })} onDone=${poll.again} />`) }]} />` : null}</${Section}>
    <${Section} id="new-hold" title="Hold a fleet"><form class="form" onSubmit=${read}>
      <${Field} id="h-fleet" label="Fleet"><input id="h-fleet" name="fleet" defaultValue=${query.fleet ?? ""} /></${Field}>
      <${Field} id="h-reason" label="Reason"><input id="h-reason" name="reason" maxlength="500" /></${Field}>
      ${why ? html`<p class="note bad" role="alert">${why}</p>` : null}<div class="row"><button type="submit" class="primary">Go on</button></div></form>
      ${wish ? html`<${Ask} title=${`Hold ${wish.fleet}?`} confirm="Hold it" what=${html`<p>Nothing of the fleet <b>${wish.fleet}</b> is deleted or erased until the hold is released.</p>`}
        run=${() => send(path(wish.fleet), { reason: wish.reason }, { method: "PUT" })} onClose=${(h) => { setWish(null); if (h) poll.again(); }} />` : null}</${Section}>`;
}
