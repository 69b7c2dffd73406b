// Device groups: names for lists of devices.
import { html, useState } from "../h.js";
import { get, send, address } from "../api.js";
import { usePoll } from "../poll.js";
import { to } from "../router.js";
import { count } from "../format.js";
import { Act, Ask, Field, Fresh, Problem, Section, Table, When } from "../ui.js";

export function Groups({ query }) {
  const poll = usePoll((signal) => get("/v1/groups", { fleet: query.fleet }, { signal }), [query.fleet], 10000);
  const [wish, setWish] = useState(null), [why, setWhy] = useState("");
  const read = (e) => {
    e.preventDefault();
    const d = new FormData(e.target), name = d.get("name").trim(), devices = d.get("devices").split(/[\s,]+/).filter(Boolean);
    if (!name || !devices.length) return setWhy("A group has a name and at least one device.");
    setWhy("");
    return setWish({ name, body: { devices, fleet: d.get("fleet").trim() || undefined } });
  };
  const path = (g) => address(`/v1/groups/${encodeURIComponent(g.name)}`, { fleet: g.fleet || query.fleet });
  return html`<${Section} id="groups" title="Groups" side=${html`<${Fresh} poll=${poll} every=${10000} />`}>
      <${Problem} error=${poll.error} at=${poll.at} what="The list of groups" />
      ${poll.data ? html`<${Table} caption="Groups" rows=${poll.data.groups} keyOf=${(g) => `${g.fleet} ${g.name}`} empty="There is no group." columns=${[
        { name: "name", cell: (g) => html`<a href=${to("/group", { fleet: g.fleet || query.fleet, name: g.name })}><bdi>${g.name}</bdi></a>` }, { name: "fleet", cell: (g) => g.fleet || "all" },
        { name: "devices", kind: "num", cell: (g) => count(g.devices.length) }, { name: "changed", cell: (g) => html`<${When} at=${g.updated_at} />` },
        { name: "", cell: (g) => html`<${Act} label="Remove" small danger title=${`Remove the group ${g.name}?`} what=${html`<p>Queries by its name are refused from then on. Its devices stay.</p>`}
          run=${() => send(path(g), undefined, { method: "DELETE" })} onDone=${poll.again} />` }]} />` : null}</${Section}>
    <${Section} id="new-group" title="New group, or new devices of one"><form class="form" onSubmit=${read}>
      <div class="row"><${Field} id="g-name" label="Name"><input id="g-name" name="name" /></${Field}><${Field} id="g-fleet" label="Fleet"><input id="g-fleet" name="fleet" defaultValue=${query.fleet ?? ""} placeholder="all" /></${Field}></div>
      <${Field} id="g-devices" label="Devices" hint="Ids with commas, spaces or lines between."><textarea id="g-devices" name="devices" aria-describedby="g-devices-hint"></textarea></${Field}>
      ${why ? html`<p class="note bad" role="alert">${why}</p>` : null}<div class="row"><button type="submit" class="primary">Go on</button></div></form>
      ${wish ? html`<${Ask} title=${`Keep the group ${wish.name}?`} confirm="Keep it" what=${html`<p>It has ${count(wish.body.devices.length)} devices. A group of this name is replaced.</p>`}
        run=${() => send(`/v1/groups/${encodeURIComponent(wish.name)}`, wish.body, { method: "PUT" })} onClose=${(g) => { setWish(null); if (g) poll.again(); }} />` : null}</${Section}>`;
}
