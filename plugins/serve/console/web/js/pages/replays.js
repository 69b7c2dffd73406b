// Replays: jobs that use stored data again, how they go, and a new one.
import { html, useStore, useState, useEffect } from "../h.js";
import { get, send } from "../api.js";
import { useList } from "../list.js";
import { logOf, telemetry } from "../log.js";
import { link, route, setQuery, go, to } from "../router.js";
import { bytes, count, span, zone } from "../format.js";
import { Age, Ask, Choice, Field, Fresh, More, Problem, Section, State, Table } from "../ui.js";

export const share = (p) => (p?.total ? Math.min(1, p.read / p.total) : null);

// Progress is how far a job is: a bar and words; a total that is not known is said.
export function Progress({ job }) {
  const p = job.progress ?? {}, part = share(p);
  return html`<div>${part === null ? null : html`<progress value=${part} max="1" aria-label=${`Progress of the job ${job.id}`}></progress>`}
    <span class="dim">${count(p.read ?? 0)} of ${p.total ? `about ${count(p.total)}` : "an unknown number"} read</span></div>`;
}

const states = ["all", "queued", "running", "paused", "done", "failed", "cancelled"];

export default function Replays() {
  const { path, query } = useStore(route);
  useStore(zone);
  const state = query.state ?? "all";
  const list = useList(async (cursor, signal) => {
    const page = await get("/v1/replays", { log: logOf(query) || telemetry, state: state === "all" ? "" : state, before: cursor, limit: 50 }, { signal });
    return { rows: page.replays, next: page.replays.length === 50 ? page.replays.at(-1).created_at : null };
  }, [state], 3000);
  return html`<div class="title"><h1>Replays</h1><span class="side"><${Fresh} poll=${list.poll} every=${3000} /></span></div>
    <div class="row"><${Choice} label="State" values=${states.map((s) => [s])} chosen=${state} href=${(s) => link(path, { ...query, state: s })} />
      <button type="button" class="primary" aria-expanded=${query.new === "1"} onClick=${() => setQuery({ new: query.new ? "" : "1" })}>New replay</button></div>
    ${query.new === "1" ? html`<${Wish} query=${query} />` : null}
    <${Section} id="jobs" title="Jobs">
      <${Problem} error=${list.error} at=${list.poll.at} what="The list of jobs" />
      ${list.poll.data ? html`<${Table} caption="Replays" rows=${list.rows} keyOf=${(j) => j.id} empty="There is no such job." columns=${[
        { name: "state", cell: (j) => html`<${State} of=${j.state} />` },
        { name: "what", cell: (j) => html`<a href=${to("/replay", { id: j.id })}>${j.mode}${j.dry_run ? ", dry run" : ""}</a>` },
        { name: "reason", cell: (j) => html`<bdi>${j.reason}</bdi>` },
        { name: "fleet", cell: (j) => j.fleet || "all" },
        { name: "progress", cell: (j) => html`<${Progress} job=${j} />` },
        { name: "left", cell: (j) => (j.state === "running" ? (j.eta_seconds === null || j.eta_seconds === undefined ? "unknown" : span(j.eta_seconds)) : "") },
        { name: "made", cell: (j) => html`<${Age} at=${j.created_at} />` }]} />
      ${list.rows.length ? html`<${More} shown=${list.rows.length} next=${list.next} busy=${list.busy} onMore=${list.onMore} />` : null}`
      : list.error ? null : html`<p class="empty">Reading…</p>`}</${Section}>`;
}

// modes are what a job can do; rollups are made of telemetry alone.
const modes = { rebuild: "Rebuild rollups from the raw store", reprocess: "Process stored events again", redrive: "Send dead letters through again",
  enrich: "Ask look-ups again that failed for stored events" };

// Wish is the form of a new job; before it is made, it is asked about once more.
function Wish({ query }) {
  const [wish, setWish] = useState(null), [why, setWhy] = useState("");
  const log = logOf(query), some = Object.entries(modes).filter(([m]) => !log || m !== "rebuild");
  const [mode, setMode] = useState(some.some(([m]) => m === query.mode) ? query.mode : some[0][0]);
  const read = (e) => {
    e.preventDefault();
    const d = new FormData(e.target), w = { mode, reason: d.get("reason").trim() };
    for (const name of ["from", "to"]) {
      if (!d.get(name)) continue;
      const at = new Date(`${d.get(name)}Z`);
      w[name] = at.toISOString();
    }
    if (w.from && w.to && w.from >= w.to) return setWhy("The range is reversed: its end must come after its beginning.");
    for (const name of ["fleet", "group", "patch"]) if (d.get(name)?.trim()) w[name] = d.get(name).trim();
    for (const name of ["devices", "stages", "codes", "lookups"]) {
      const list = (d.get(name) ?? "").split(/[\s,]+/).filter(Boolean);
      if (list.length) w[name] = list;
    }
    const targets = d.getAll("targets");
    if (mode === "reprocess" && targets.length) w.targets = targets;
    if (d.get("rate")) w.rate = Number(d.get("rate"));
    if (d.get("dry_run")) w.dry_run = true;
    if (!w.reason) return setWhy("Say why: the reason stands beside the job and in the audit log.");
    setWhy("");
    return setWish(w);
  };
  return html`<${Section} id="new" title="New replay"><form class="form" onSubmit=${read}>
    <fieldset><legend>What</legend>${some.map(([m, text]) => html`<label><input type="radio" name="mode" value=${m} checked=${m === mode}
      onChange=${() => setMode(m)} /> ${text}</label>`)}</fieldset>
    <div class="row"><${Field} id="w-from" label="From (UTC)"><input id="w-from" name="from" type="datetime-local" defaultValue=${(query.from ?? "").slice(0, 16)} /></${Field}>
      <${Field} id="w-to" label="To (UTC)"><input id="w-to" name="to" type="datetime-local" defaultValue=${(query.to ?? "").slice(0, 16)} /></${Field}>
      <${Field} id="w-fleet" label="Fleet"><input id="w-fleet" name="fleet" defaultValue=${query.fleet ?? ""} placeholder="all" /></${Field}></div>
    <${Field} id="w-devices" label="Devices" hint="Ids with commas or spaces between; none: all."><input id="w-devices" name="devices" aria-describedby="w-devices-hint" /></${Field}>
    <${Field} id="w-group" label="Group"><input id="w-group" name="group" /></${Field}>
    ${mode === "reprocess" && !log ? html`<fieldset><legend>Who handles the events</legend>${["raw", "rollup", "detect"].map((t) => html`<label><input type="checkbox" name="targets" value=${t}
      checked=${t !== "detect"} /> ${t}${t === "detect" ? " (alerts may open)" : ""}</label>`)}</fieldset>` : null}
    ${mode === "redrive" ? html`<${Field} id="w-stages" label="Stages"><input id="w-stages" name="stages" defaultValue=${query.stage ?? ""} placeholder="any" /></${Field}>
      <${Field} id="w-codes" label="Codes"><input id="w-codes" name="codes" defaultValue=${query.code ?? ""} placeholder="any" /></${Field}>
      <${Field} id="w-patch" label="Patch" hint="Bloblang that repairs the event; what it does not assign stays."><textarea id="w-patch" name="patch" aria-describedby="w-patch-hint"></textarea></${Field}>` : null}
    ${mode === "enrich" ? html`<${Field} id="w-lookups" label="Look-ups" hint="Names with commas or spaces between; none: all that failed. What they say is kept beside the events.">
      <input id="w-lookups" name="lookups" aria-describedby="w-lookups-hint" /></${Field}>` : null}
    <${Field} id="w-rate" label="Events a second" hint="Empty: as fast as live traffic leaves room."><input id="w-rate" name="rate" type="number" min="1" aria-describedby="w-rate-hint" /></${Field}>
    ${mode === "enrich" ? null : html`<label><input type="checkbox" name="dry_run" /> Dry run: publish and change nothing</label>`}
    <${Field} id="w-reason" label="Reason"><input id="w-reason" name="reason" required maxlength="500" /></${Field}>
    ${why ? html`<p class="note bad" role="alert">${why}</p>` : null}
    <div class="row"><button type="submit" class="primary">Go on</button></div></form>
    ${wish ? html`<${Ask} title=${wish.dry_run ? "Make a dry run?" : "Make this job?"} confirm="Make it" what=${html`<${Estimate} wish=${wish} />`}
      run=${() => send("/v1/replays", wish)} onClose=${(job) => { setWish(null); if (job?.id) go(to("/replay", { id: job.id })); }} />` : null}</${Section}>`;
}

// Estimate says what a job would read.
function Estimate({ wish }) {
  const [got, setGot] = useState(null);
  useEffect(() => {
    let gone = false;
    send("/v1/replays/estimate", wish, { timeout: 30000 }).then((e) => gone || setGot(e), (e) => gone || setGot({ error: e.message }));
    return () => { gone = true; };
  }, [wish]);
  const known = got?.events !== undefined && got?.events !== null;
  return html`<p>${modes[wish.mode]}, ${wish.fleet ? html`of the fleet <b>${wish.fleet}</b>` : "of all fleets"}${wish.from ? `, from ${wish.from}` : ""}${wish.to ? `, to ${wish.to}` : ""}.</p>
    <div aria-live="polite" id="estimate">${!got ? html`<p>Counting what it reads…</p>` : got.error ? html`<p>How much it reads is unknown: ${got.error}</p>` : html`
      <p>${known ? html`It reads ${got.exact ? "" : "about "}<b>${count(got.events)}</b> ${wish.mode === "redrive" ? "dead letters" : "events"} (${bytes(got.bytes)} in ${count(got.objects)} objects)` : "How much it reads is unknown"}${got.seconds === null ? "" : `, takes about ${span(got.seconds)}`}, and it ${got.writes.does}.</p>
      ${Object.entries(got.unknown).map(([what, why]) => html`<p class="dim">${what}: ${why}.</p>`)}`}</div>`;
}
