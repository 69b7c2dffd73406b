// Erasures: devices and fleets that are forgotten in every store.
import { html, useState } from "../h.js";
import { get, send } from "../api.js";
import { usePoll } from "../poll.js";
import { count } from "../format.js";
import { Age, Ask, Field, Fresh, Problem, Section, State, Table, When } from "../ui.js";

export function Erasures({ query }) {
  const poll = usePoll((signal) => get("/v1/erasures", { fleet: query.fleet, limit: 100 }, { signal }), [query.fleet], 5000);
  const [wish, setWish] = useState(null), [why, setWhy] = useState("");
  const read = (e) => {
    e.preventDefault();
    const d = new FormData(e.target), w = { fleet: d.get("fleet").trim(), reason: d.get("reason").trim(), dry_run: Boolean(d.get("dry_run")) };
    if (d.get("what") === "fleet") w.whole_fleet = true;
    else w.device_id = d.get("device").trim();
    if (!w.fleet || !w.reason) return setWhy("Name the fleet and the reason.");
    if (!w.whole_fleet && !w.device_id) return setWhy("Name the device.");
    setWhy("");
    return setWish(w);
  };
  return html`<${Section} id="erasures" title="Erasures" side=${html`<${Fresh} poll=${poll} every=${5000} />`}>
      <${Problem} error=${poll.error} at=${poll.at} what="The list of erasures" />
      ${poll.data ? html`<${Table} caption="Erasures" rows=${poll.data.erasures} keyOf=${(e) => e.id} empty="Nothing was erased." columns=${[
        { name: "state", cell: (e) => html`<${State} of=${e.state} />${e.dry_run ? html` <${State} of="dry run" />` : null}` },
        { name: "of", cell: (e) => html`<bdi>${e.whole_fleet ? `the fleet ${e.fleet}` : e.device_id ? `${e.device_id} of ${e.fleet}` : `a device of ${e.fleet}`}</bdi>` },
        { name: "reason", cell: (e) => html`<bdi>${e.reason}</bdi>${e.error ? html`<br /><span class="bad">${e.error}</span>` : null}` },
        { name: "step", cell: (e) => (e.progress ? `${count(e.progress.step)} of ${count(e.progress.steps)}` : "unknown") },
        { name: "made", cell: (e) => html`<${Age} at=${e.created_at} />` }, { name: "due by", cell: (e) => (e.due_by ? html`<${When} at=${e.due_by} />` : "not yet known") },
        { name: "ended", cell: (e) => (e.ended_at ? html`<${When} at=${e.ended_at} />` : "not yet") }]} />` : null}</${Section}>
    <${Section} id="new-erasure" title="Erase"><form class="form" onSubmit=${read}>
      <fieldset><legend>What</legend><label><input type="radio" name="what" value="device" checked /> a device</label><label><input type="radio" name="what" value="fleet" /> a whole fleet</label></fieldset>
      <div class="row"><${Field} id="e-fleet" label="Fleet"><input id="e-fleet" name="fleet" defaultValue=${query.fleet ?? ""} /></${Field}><${Field} id="e-device" label="Device"><input id="e-device" name="device" /></${Field}></div>
      <${Field} id="e-reason" label="Reason"><input id="e-reason" name="reason" maxlength="1000" /></${Field}>
      <label><input type="checkbox" name="dry_run" checked /> Dry run: count what there is, and erase nothing</label>
      ${why ? html`<p class="note bad" role="alert">${why}</p>` : null}<div class="row"><button type="submit" class="primary">Go on</button></div></form>
      ${wish ? html`<${Ask} title=${wish.dry_run ? "Count what would go?" : "Erase for good?"} confirm=${wish.dry_run ? "Count" : "Erase"} danger=${!wish.dry_run}
        what=${html`<p>${wish.whole_fleet ? html`Everything of the fleet <b>${wish.fleet}</b>` : html`Everything of the device <b><bdi>${wish.device_id}</bdi></b> of the fleet <b>${wish.fleet}</b>`} that was received until now
          ${wish.dry_run ? " is counted; nothing is erased." : " leaves every store. This cannot be undone."}</p>`}
        run=${() => send("/v1/erasures", wish)} onClose=${(e) => { setWish(null); if (e) poll.again(); }} />` : null}</${Section}>`;
}
