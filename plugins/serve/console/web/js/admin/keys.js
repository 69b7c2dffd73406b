// API keys: who has which, a new one, and the end of one.
import { html, useState } from "../h.js";
import { get, send } from "../api.js";
import { usePoll } from "../poll.js";
import { Act, Age, Ask, Field, Fresh, Problem, Section, State, Table, When } from "../ui.js";

const stateOf = (k) => (k.revoked_at ? "revoked" : k.expires_at && Date.parse(k.expires_at) < Date.now() ? "expired" : "active");

export function Keys({ query }) {
  const poll = usePoll((signal) => get("/v1/keys", { fleet: query.fleet }, { signal }), [query.fleet], 10000);
  const [made, setMade] = useState(null), [wish, setWish] = useState(null), [why, setWhy] = useState("");
  const read = (e) => {
    e.preventDefault();
    const d = new FormData(e.target), scopes = d.getAll("scopes"), w = { name: d.get("name").trim() || undefined };
    if (scopes.includes("admin")) w.admin = true;
    else Object.assign(w, { fleet: d.get("fleet").trim(), scopes, device_prefix: d.get("prefix").trim() || undefined });
    if (d.get("expires")) w.expires_at = new Date(`${d.get("expires")}Z`).toISOString();
    if (!w.admin && !w.fleet) return setWhy("Name the fleet that the key is of.");
    if (!w.admin && !scopes.length) return setWhy("Choose at least one thing that the key may do.");
    setWhy("");
    return setWish(w);
  };
  return html`${made ? html`<${Section} id="made" title="The new key"><p>It is shown this once, and kept as a hash alone.</p><code class="secret" tabindex="0">${made.key}</code>
      <div class="row"><button type="button" class="quiet small" onClick=${() => setMade(null)}>I have it</button></div></${Section}>` : null}
    <${Section} id="keys" title="Keys" side=${html`<${Fresh} poll=${poll} every=${10000} />`}>
      <${Problem} error=${poll.error} at=${poll.at} what="The list of keys" />
      ${poll.data ? html`<${Table} caption="API keys" rows=${poll.data.keys} keyOf=${(k) => k.id} empty="There is no key of this fleet." columns=${[
        { name: "id", cell: (k) => html`<code>${k.id}</code>${k.name ? html` <bdi class="dim">${k.name}</bdi>` : null}` },
        { name: "fleet", cell: (k) => k.fleet || html`<span class="dim">all</span>` }, { name: "may", cell: (k) => k.scopes.join(", ") },
        { name: "devices", cell: (k) => (k.device_prefix ? html`<code>${k.device_prefix}…</code>` : "all") },
        { name: "state", cell: (k) => html`<${State} of=${stateOf(k)} />${k.replaced_by ? html` <span class="dim">by ${k.replaced_by}</span>` : null}` },
        { name: "made", cell: (k) => html`<${Age} at=${k.created_at} />` }, { name: "ends", cell: (k) => (k.expires_at ? html`<${When} at=${k.expires_at} />` : "never") },
        { name: "last used", cell: (k) => (k.last_used_at ? html`<${Age} at=${k.last_used_at} />` : html`<span class="dim">not known</span>`) },
        { name: "", cell: (k) => (stateOf(k) === "active" ? html`<${Act} label="Revoke" small danger title=${`Revoke ${k.id}?`} what=${html`<p>Whoever uses the key <code>${k.id}</code> is refused from now on. This cannot be undone.</p>`}
          run=${() => send(`/v1/keys/${encodeURIComponent(k.id)}`, undefined, { method: "DELETE" })} onDone=${poll.again} />` : null) }]} />` : null}</${Section}>
    <${Section} id="new-key" title="New key"><form class="form" onSubmit=${read}>
      <div class="row"><${Field} id="k-fleet" label="Fleet"><input id="k-fleet" name="fleet" defaultValue=${query.fleet ?? ""} /></${Field}>
        <${Field} id="k-name" label="Name"><input id="k-name" name="name" maxlength="100" /></${Field}></div>
      <fieldset><legend>It may</legend>${[["ingest", "send events"], ["query", "query"], ["operate", "look after alerts"], ["admin", "administer all fleets"]].map(([s, text]) => html`<label><input
        type="checkbox" name="scopes" value=${s} /> ${text}</label>`)}</fieldset>
      <${Field} id="k-prefix" label="Devices that begin with" hint="Empty: all of the fleet."><input id="k-prefix" name="prefix" aria-describedby="k-prefix-hint" /></${Field}>
      <${Field} id="k-expires" label="Ends (UTC)" hint="Empty: never."><input id="k-expires" name="expires" type="datetime-local" aria-describedby="k-expires-hint" /></${Field}>
      ${why ? html`<p class="note bad" role="alert">${why}</p>` : null}<div class="row"><button type="submit" class="primary">Go on</button></div></form>
      ${wish ? html`<${Ask} title="Make this key?" confirm="Make it" run=${() => send("/v1/keys", wish)} onClose=${(k) => { setWish(null); if (k?.key) { setMade(k); poll.again(); scrollTo(0, 0); } }}
        what=${html`<p>${wish.admin ? html`A key that may <b>administer all fleets</b>.` : html`A key of the fleet <b>${wish.fleet}</b> that may <b>${wish.scopes.join(", ")}</b>.`}</p>`} />` : null}</${Section}>`;
}
