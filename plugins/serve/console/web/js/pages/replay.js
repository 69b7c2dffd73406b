// One replay: how it goes, what it waits for, and what it left.
import { html, useStore } from "../h.js";
import { get, send } from "../api.js";
import { usePoll } from "../poll.js";
import { route } from "../router.js";
import { count, figure, span, zone } from "../format.js";
import { Act, Age, Back, Figure, Fresh, Problem, Section, State, Table, When } from "../ui.js";
import { Progress } from "./replays.js";

// what came of the events that a look-up had failed for; looked_at is all of them
const outcomes = ["looked_at", "enriched", "already", "not_found", "key_not_stored", "failed_again", "refused", "not_configured", "erased"];

export default function Replay() {
  const { query } = useStore(route);
  useStore(zone);
  const { id } = query;
  const path = `/v1/replays/${encodeURIComponent(id ?? "")}`;
  const poll = usePoll((signal) => get(path, {}, { signal }), [id], 2000);
  const j = poll.data, p = j?.progress ?? {};
  const act = (what) => () => send(`${path}/${what}`, undefined);
  const over = j && ["done", "failed", "cancelled"].includes(j.state);
  const took = j?.started_at ? ((j.ended_at ? Date.parse(j.ended_at) : poll.at) - Date.parse(j.started_at)) / 1000 : null;
  return html`<${Back} path="/replays" />
    <div class="title"><h1>${j ? `${j.mode}${j.dry_run ? ", dry run" : ""}` : "Replay"}</h1>${j ? html`<${State} of=${j.state} />` : null}
      <span class="side"><${Fresh} poll=${poll} every=${2000} /></span></div>
    <${Problem} error=${poll.error} at=${poll.at} what="The job" />
    ${j ? html`<${Section} id="how" title="How it goes" side=${over ? null : html`
        ${j.state === "paused" ? html`<${Act} label="Go on" small what=${html`<p>The job goes on where it stopped.</p>`} run=${act("resume")} onDone=${poll.again} />`
          : html`<${Act} label="Hold" small what=${html`<p>The job stops reading, and keeps its place.</p>`} run=${act("pause")} onDone=${poll.again} />`}
        <${Act} label="End" small danger what=${html`<p>The job ends. What it published stays; it cannot go on later.</p>`} run=${act("cancel")} onDone=${poll.again} />`}>
      ${j.error ? html`<p class="note bad">${j.error}</p>` : null}
      ${p.held ? html`<p class="note warn">It waits: ${p.held}.</p>` : null}
      <${Progress} job=${j} />
      <dl class="figures"><${Figure} name="read" value=${count(p.read)} />${j.mode === "enrich" ? null : html`<${Figure} name="published" value=${count(p.published)} /><${Figure} name="skipped" value=${count(p.skipped)} />
        <${Figure} name="refused" value=${count(p.refused)} tone=${p.refused ? "warn" : ""} />`}${j.mode === "rebuild" ? html`<${Figure} name="windows" value=${count(p.windows)} /><${Figure} name="left as they were" value=${count(p.left)} />` : null}
        <${Figure} name="rate" value=${took > 0 ? figure(p.read / took) : undefined} unit="/s" /><${Figure} name=${over ? "took" : "time left"} value=${over ? span(took) : j.eta_seconds == null ? undefined : span(j.eta_seconds)} /></dl>
      ${p.refused_because?.length ? html`<h3>Refused because</h3><${Table} caption="Reasons" rows=${p.refused_because} columns=${[
        { name: "reason", cell: (r) => r.reason }, { name: "events", kind: "num", cell: (r) => count(r.count) }]} />` : null}
      ${p.lookups?.length ? html`<h3>Look-ups</h3><${Table} caption="Look-ups" rows=${p.lookups} keyOf=${(l) => l.lookup} columns=${[{ name: "look-up", cell: (l) => l.lookup },
        ...outcomes.map((o) => ({ name: o.replaceAll("_", " "), kind: "num", cell: (l) => count(l[o]) }))]} />` : null}</${Section}>
    <${Section} id="what" title="What"><dl class="pairs">
      <dt>reason</dt><dd><bdi>${j.reason}</bdi></dd><dt>log</dt><dd>${j.log}</dd><dt>fleet</dt><dd>${j.fleet || "all"}</dd>
      <dt>range</dt><dd>${j.from ? html`<${When} at=${j.from} />` : "the beginning"} to ${j.to ? html`<${When} at=${j.to} />` : "the end"}</dd>
      ${j.devices?.length ? html`<dt>devices</dt><dd class="id"><bdi>${j.devices.join(", ")}</bdi>${j.device_count > j.devices.length ? ` and more: ${count(j.device_count)}` : ""}</dd>` : null}
      ${j.group ? html`<dt>group</dt><dd>${j.group}</dd>` : null}${j.stages?.length ? html`<dt>stages</dt><dd>${j.stages.join(", ")}</dd>` : null}
      ${j.codes?.length ? html`<dt>codes</dt><dd>${j.codes.join(", ")}</dd>` : null}${j.lookups?.length ? html`<dt>look-ups</dt><dd>${j.lookups.join(", ")}</dd>` : null}${j.targets?.length ? html`<dt>for</dt><dd>${j.targets.join(", ")}</dd>` : null}
      ${j.patch ? html`<dt>patch</dt><dd><pre tabindex="0">${j.patch}</pre></dd>` : null}
      <dt>made</dt><dd><${When} at=${j.created_at} /> <span class="dim"><${Age} at=${j.created_at} />${j.created_by ? `, by key ${j.created_by}` : ""}</span></dd>
      <dt>began</dt><dd>${j.started_at ? html`<${When} at=${j.started_at} />` : "not yet"}</dd><dt>ended</dt><dd>${j.ended_at ? html`<${When} at=${j.ended_at} />` : "not yet"}</dd>
      <dt>id</dt><dd class="id">${j.id}</dd></dl>
      ${j.preview ? html`<h3>What the dry run found</h3><pre tabindex="0">${JSON.stringify(j.preview, null, 2)}</pre>` : null}</${Section}>` : null}`;
}
