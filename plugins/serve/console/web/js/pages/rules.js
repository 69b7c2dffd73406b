// Rules: what they told, which of their versions is in force, and what others change.
import { html, useRef, useState, useStore } from "../h.js";
import { get, send } from "../api.js";
import { usePoll } from "../poll.js";
import { useList } from "../list.js";
import { session } from "../session.js";
import { link, route, setQuery } from "../router.js";
import { count, figure, zone } from "../format.js";
import { Act, Age, Ask, Device, Field, Fresh, More, Problem, Section, State, Table, When } from "../ui.js";
import { Range, rangeOf, rfc } from "../range.js";
import { Diff } from "../diff.js";
import { csv, save } from "../csv.js";

export default function Rules() {
  const { query } = useStore(route);
  const { who } = useStore(session);
  useStore(zone);
  const poll = usePoll((signal) => (who?.admin ? get("/v1/rule-versions", {}, { signal }) : null), [who?.admin], who?.admin ? 5000 : 0);
  const inForce = poll.data?.versions.find((v) => v.number === poll.data.active.number);
  return html`<div class="title"><h1>Rules</h1>${who?.admin ? html`<span class="side"><${Fresh} poll=${poll} every=${5000} /></span>` : null}</div>
    <${Results} query=${query} names=${inForce?.rules ?? []} />
    ${who?.admin ? html`<${Problem} error=${poll.error} at=${poll.at} what="The versions of rules" />
      ${poll.data ? html`<${Versions} d=${poll.data} query=${query} again=${poll.again} /><${Draft} again=${poll.again} />` : null}`
    : html`<p class="note">Versions of rules need a key with the scope <b>admin</b>; yours does not have it.</p>`}`;
}

const tones = { provisional: "live", final: "good", revised: "warn", retracted: "dim" };
const shown = (v) => (v === null || v === undefined ? html`<span class="dim">none</span>` : typeof v === "number" ? figure(v)
  : html`<bdi>${(typeof v === "string" ? v : JSON.stringify(v)).slice(0, 200)}</bdi>`);
const pairs = (o) => Object.entries(o ?? {});

// Results are what one rule told of a fleet: of each result the newest revision.
function Results({ query, names }) {
  const { who } = useStore(session);
  const { fleet, rule, device } = query;
  const range = rangeOf(query, "24h"), asked = rule && (fleet || !who?.all) && !range.why;
  const list = useList(async (cursor, signal) => {
    if (!asked) return { rows: [], next: null };
    const now = rangeOf(query, "24h"); // a window may end later than now
    const page = await get(`/v1/rules/${encodeURIComponent(rule)}/results`, { fleet, device, from: rfc(now.from), to: rfc(now.to + (now.live ? 86400 : 0)), limit: 100, cursor }, { signal });
    return { rows: page.results, next: page.next };
  }, [fleet, rule, device, query.from, query.to, query.range, asked], range.live && asked ? 5000 : 0);
  const out = () => save(`${rule} results.csv`, csv(["id", "revision", "status", "window_start", "window_end", "key", "count", "values"],
    list.rows.map((r) => [r.id, r.revision, r.status, r.window_start, r.window_end, r.key, r.count, r.values])));
  return html`<div class="filters"><${Field} id="f-rule" label="Rule"><input id="f-rule" data-search list="rule-names" defaultValue=${rule ?? ""} key=${rule ?? ""}
      onChange=${(e) => setQuery({ rule: e.target.value.trim() })} /></${Field}><datalist id="rule-names">${names.map((n) => html`<option value=${n} />`)}</datalist>
    <${Field} id="f-device" label="Device"><input id="f-device" placeholder="any" defaultValue=${device ?? ""} key=${device ?? ""} onChange=${(e) => setQuery({ device: e.target.value.trim() })} /></${Field}></div>
    <${Range} range=${range} />${range.why ? html`<p class="note bad" role="alert">${range.why}</p>` : null}
    <${Section} id="results" title=${rule ? html`Results of <bdi>${rule}</bdi>` : "Results"} side=${asked ? html`<${Fresh} poll=${list.poll} every=${range.live ? 5000 : 0} />
        <button type="button" class="quiet small" disabled=${!list.rows.length} onClick=${out}>CSV</button>` : null}>
      ${!rule ? html`<p class="empty">${names.length ? html`Choose a rule: ${names.map((n) => html`<a href=${link("/rules", { ...query, rule: n })}>${n}</a> `)}` : "Type the name of a rule: no version is in force."}</p>`
      : !asked ? html`<p class="empty">${range.why ? "" : "Results are of one fleet: choose one."}</p>` : html`<${Problem} error=${list.error} at=${list.poll.at} what="Results" />
      ${list.poll.data ? html`<${Table} caption="Results" rows=${list.rows} keyOf=${(r) => r.id} empty="The rule told nothing in this range." columns=${[
        { name: "window", cell: (r) => html`<${When} at=${r.window_start} /> to <${When} at=${r.window_end} />` },
        { name: "key", cell: (r) => pairs(r.key).map(([k, v]) => html`<div><span class="dim">${k}</span> ${k === "device_id" ? html`<${Device} fleet=${fleet} id=${v} />` : shown(v)}</div>`) },
        { name: "values", cell: (r) => html`<span class="readings">${pairs(r.values).slice(0, 30).map(([k, v]) => html`<span><span class="dim">${k}</span> ${shown(v)}</span> `)}</span>` },
        { name: "events", kind: "num", cell: (r) => count(r.count) },
        { name: "state", cell: (r) => html`<${State} of=${r.status} tone=${tones[r.status]} />${r.revision ? html` <span class="dim">revision ${count(r.revision)}</span>` : null}` }]} />
        ${list.rows.length ? html`<${More} shown=${list.rows.length} next=${list.next} busy=${list.busy} onMore=${list.onMore} />` : null}` : list.error ? null : html`<p class="empty">Reading…</p>`}`}</${Section}>`;
}

// Versions are those that were put; 0 is the file of the rules stream.
function Versions({ d, query, again }) {
  const active = d.active.number, first = d.active.canary ?? 0;
  const put = (n, fleets) => send(`/v1/rule-versions/${n}/activate`, fleets && { fleets });
  const named = useRef();
  const some = () => named.current.value.split(",").map((f) => f.trim()).filter((f) => f);
  const numberOf = (v) => d.versions.find((known) => known.version === v)?.number;
  const say = (v) => (numberOf(v) ? `${numberOf(v)}` : v ? html`<code>${v}</code>` : "the file");
  const rows = [...d.versions].sort((a, b) => b.number - a.number).concat([{ number: 0, rules: [], comment: "the file of the rules stream" }]);
  return html`<${Section} id="versions" title="Versions" side=${html`${d.active.at ? html`<span class="dim">in force since <${When} at=${d.active.at} />, by ${d.active.by}</span>` : null}
      <${Act} label="Go back" small disabled=${!d.active.at} title="Go back to what was in force before?" what=${html`<p>Each partition takes the rules before up with its next batch. A rule that both have goes on with what it has open.</p>`}
        run=${() => send("/v1/rule-versions/rollback", undefined)} onDone=${again} />`}>
    <${Table} caption="Versions of rules" rows=${rows} keyOf=${(v) => v.number} columns=${[
      { name: "version", cell: (v) => (v.number ? html`<a href=${link("/rules", { ...query, version: v.number })}>${v.number}</a>` : "0") },
      { name: "rules", cell: (v) => v.rules.map((n) => html`<a href=${link("/rules", { ...query, rule: n })}>${n}</a> `) },
      { name: "comment", cell: (v) => html`<bdi>${v.comment}</bdi>` }, { name: "put by", cell: (v) => v.created_by ?? "" },
      { name: "put", cell: (v) => (v.created_at ? html`<${Age} at=${v.created_at} />` : "") },
      { name: "", cell: (v) => (v.number === active ? html`<${State} of="in force" tone="good" />` : html`${v.number && v.number === first ? html`<${State} of="for some fleets" tone="live" /> ` : null}<${Act} label="Put in force" small title=${`Put version ${v.number} in force?`}
        what=${html`<p>Each partition counts by it from its next batch on. A rule that both have goes on with what it has open; one that changes is drained.</p>`} run=${() => put(v.number)} onDone=${again} />
        ${v.number && !first ? html`<${Act} label="For some fleets" small title=${`Put version ${v.number} in force for some fleets first?`} confirm="Put in force for these"
          what=${html`<p>What begins from now on is told by it in these fleets. All others go on with what is in force.</p>
            <${Field} id="f-some" label="Fleets" hint="Names or patterns, as plant-1, test-*"><input id="f-some" ref=${named} required aria-describedby="f-some-hint" /></${Field}>`}
          run=${() => put(v.number, some())} onDone=${again} />` : null}`) }]} />
    ${d.partitions.length ? html`<${Table} caption="Fleets and their rules" rows=${d.fleets} keyOf=${(g) => g.fleets.join()} columns=${[
      { name: "fleets", cell: (g) => (g.fleets.length ? html`<bdi>${g.fleets.join(", ")}</bdi>` : first ? "all others" : "all") },
      { name: "are to have", cell: (g) => say(g.version) },
      { name: "have", cell: (g) => g.running.map((r) => html`<div>${say(r.version)} <span class="dim">on ${count(r.partitions)} partitions</span></div>`) },
      { name: "", cell: (g) => (g.behind ? html`<${State} of=${`${count(g.behind)} behind`} tone="warn" />` : html`<${State} of="as they are to" tone="good" />`) }]} />` : null}
    ${d.partitions.length ? html`<${Table} caption="Partitions and their rules" rows=${d.partitions} keyOf=${(p) => `${p.topic} ${p.partition}`} columns=${[
      { name: "partition", cell: (p) => `${p.topic}/${p.partition}` }, { name: "counts by", cell: (p) => html`<code>${p.version}</code>${p.canary ? html`, <bdi>${p.fleets.join(", ")}</bdi> by <code>${p.canary}</code>` : null}` }, { name: "from", kind: "num", cell: (p) => count(p.offset) }]} />` : null}</${Section}>
    ${query.version ? html`<${Text} number=${query.version} active=${active} key=${`${query.version} ${active}`} />` : null}`;
}

// Text is one version, and how it differs from what is in force.
function Text({ number, active }) {
  const of = (n, signal) => get(`/v1/rule-versions/${encodeURIComponent(n)}`, {}, { signal });
  const poll = usePoll(async (signal) => ({ one: await of(number, signal), other: active && String(active) !== number ? await of(active, signal) : null }), [number, active], 0);
  const d = poll.data;
  return html`<${Section} id="text" title=${`Version ${number}`}><${Problem} error=${poll.error} at=${poll.at} what="The version" />
    ${d?.other ? html`<h3>From what is in force to it</h3><${Diff} before=${d.other.text} after=${d.one.text} />` : null}
    ${d ? html`<pre tabindex="0">${d.one.text.slice(0, 256 << 10)}</pre>${d.one.text.length > 256 << 10 ? html`<p class="note">Only its first 256 KiB are shown.</p>` : null}` : null}</${Section}>`;
}

// Draft puts a new version; what is wrong with it is said with its lines.
function Draft({ again }) {
  const [text, setText] = useState(""), [comment, setComment] = useState(""), [ask, setAsk] = useState(false);
  return html`<${Section} id="draft" title="New version"><form class="form" onSubmit=${(e) => { e.preventDefault(); setAsk(true); }}>
      <${Field} id="r-text" label="Rules" hint="YAML. weir rules try shows beforehand what they come to."><textarea id="r-text" aria-describedby="r-text-hint" spellcheck="false" value=${text} onInput=${(e) => setText(e.target.value)}></textarea></${Field}>
      <${Field} id="r-comment" label="Comment"><input id="r-comment" maxlength="500" value=${comment} onInput=${(e) => setComment(e.target.value)} /></${Field}>
      <div class="row"><button type="submit" class="primary" disabled=${!text.trim()}>Go on</button></div></form>
    ${ask ? html`<${Ask} title="Keep it as a version?" confirm="Keep it" what=${html`<p>It is checked first, and is not in force until you put it in force.</p>`} run=${() => send("/v1/rule-versions", { text, comment })}
      onClose=${(made) => { setAsk(false); if (made?.number) { setText(""); again(); setQuery({ version: made.number }); } }} />` : null}</${Section}>`;
}
