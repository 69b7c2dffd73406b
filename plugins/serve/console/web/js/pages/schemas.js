// Schemas: their versions, how two differ, who sends which, and what a draft
// would do.
import { html, useStore, useState } from "../h.js";
import { get, send, address } from "../api.js";
import { usePoll } from "../poll.js";
import { session } from "../session.js";
import { now } from "../health.js";
import { link, route, setQuery } from "../router.js";
import { count, zone } from "../format.js";
import { Act, Choice, Device, Field, Fresh, Problem, Section, State, Table, When } from "../ui.js";
import { Diff } from "../diff.js";
import { rfc } from "../range.js";

const subjectPath = (s) => `/registry/subjects/${encodeURIComponent(s)}`;
const pretty = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};

export default function Schemas() {
  const { path, query } = useStore(route);
  useStore(zone);
  const subjects = usePoll((signal) => get("/registry/subjects", {}, { signal }), [], 30000);
  const subject = query.subject ?? (subjects.data?.includes("telemetry") ? "telemetry" : subjects.data?.[0]);
  return html`<div class="title"><h1>Schemas</h1><span class="side"><${Fresh} poll=${subjects} every=${30000} /></span></div>
    <${Problem} error=${subjects.error} at=${subjects.at} what="The list of schemas" />
    ${subjects.data ? html`<${Choice} label="Subject" values=${subjects.data.map((s) => [s])} chosen=${subject} href=${(s) => link(path, { fleet: query.fleet, subject: s })} />` : null}
    ${subject ? html`<${Subject} subject=${subject} query=${query} key=${subject} />` : null}`;
}

function Subject({ subject, query }) {
  const poll = usePoll(async (signal) => {
    const [numbers, config] = await Promise.all([get(`${subjectPath(subject)}/versions`, {}, { signal }),
      get(`/registry/config/${encodeURIComponent(subject)}`, { defaultToGlobal: "true" }, { signal }).catch(() => null)]);
    const versions = await Promise.all(numbers.slice(-50).map((n) => get(`${subjectPath(subject)}/versions/${n}`, {}, { signal })));
    return { config, versions: versions.map((v) => ({ ...v, text: pretty(v.schema) })), cut: numbers.length > 50 };
  }, [subject], 30000);
  const versions = poll.data?.versions ?? [];
  const shown = versions.find((v) => String(v.version) === query.version) ?? versions.at(-1);
  const against = versions.find((v) => String(v.version) === query.against);
  const doc = shown ? read(shown.text) : null;
  return html`<${Problem} error=${poll.error} at=${poll.at} what="The schema" />
    ${shown ? html`<${Section} id="versions" title=${subject} side=${html`<span class="dim">compatibility ${poll.data.config?.compatibilityLevel ?? "unknown"}</span>`}>
      ${poll.data.cut ? html`<p class="dim">The newest 50 versions.</p>` : null}
      <${Table} caption=${`Versions of ${subject}`} rows=${[...versions].reverse()} keyOf=${(v) => v.version} columns=${[
        { name: "version", cell: (v) => html`<a href=${link("/schemas", { ...query, subject, version: v.version, against: "" })} aria-current=${v === shown ? "true" : undefined}>${v.version}</a>${v === shown ? html` <${State} of="shown" tone="live" />` : null}` },
        { name: "firmware", cell: (v) => html`<code>${read(v.text)?.["x-weir-firmware"] ?? "any"}</code>` },
        { name: "title", cell: (v) => read(v.text)?.title ?? "" },
        { name: "id", kind: "num", cell: (v) => v.id },
        { name: "compare", cell: (v) => (v === shown ? "" : html`<a href=${link("/schemas", { ...query, subject, version: shown.version, against: v.version })}>with ${shown.version}</a>`) }]} /></${Section}>
    ${against ? html`<${Section} id="diff" title=${`From version ${against.version} to ${shown.version}`}><${Diff} before=${against.text} after=${shown.text} /></${Section}>` : null}
    ${doc?.properties?.metrics ? html`<${Metrics} doc=${doc} version=${shown.version} />` : null}
    <${Section} id="text" title=${`Version ${shown.version}`}><details><summary>The schema's text</summary><pre tabindex="0">${shown.text}</pre></details></${Section}>
    ${subject === "telemetry" ? html`<${Senders} fleet=${query.fleet} subject=${subject} />` : null}
    <${Draft} subject=${subject} start=${shown.text} fleet=${query.fleet} onDone=${() => { poll.again(); setQuery({ version: "", against: "" }); }} />` : null}`;
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function Metrics({ doc, version }) {
  const metrics = doc.properties.metrics, must = metrics.required ?? [];
  return html`<${Section} id="metrics" title=${`Metrics of version ${version}`}><${Table} caption="Metrics" rows=${Object.entries(metrics.properties ?? {})} keyOf=${([n]) => n} columns=${[
    { name: "metric", cell: ([n]) => html`<code>${n}</code>` }, { name: "unit", cell: ([, m]) => m["x-unit"] ?? "none" },
    { name: "", cell: ([n, m]) => html`${must.includes(n) ? html`<${State} of="required" />` : html`<${State} of="optional" />`} ${m.deprecated ? html`<${State} of="deprecated" tone="warn" />` : null}` },
    { name: "what it is", cell: ([, m]) => m.description ?? "" }]} /></${Section}>`;
}

// Senders counts a sample of the newest events by the schema that they passed.
function Senders({ fleet, subject }) {
  const { who } = useStore(session);
  const of = fleet ?? (who?.fleets.length === 1 ? who.fleets[0] : undefined);
  const poll = usePoll(async (signal) => {
    const to = now() / 1000;
    const page = await get("/v1/events", { fleet: of, from: rfc(to - 120), to: rfc(to), fields: "device_id,device_firmware_version,schema", limit: 1000 }, { signal });
    const by = new Map();
    for (const e of page.events) {
      const k = e.schema ?? "none", s = by.get(k) ?? { schema: k, events: 0, devices: new Set(), firmware: new Set() };
      s.events++;
      s.devices.add(e.device_id);
      s.firmware.add(e.device_firmware_version);
      by.set(k, s);
    }
    return { rows: [...by.values()].sort((a, b) => b.events - a.events), n: page.events.length, cut: Boolean(page.next) };
  }, [of], 0);
  return html`<${Section} id="senders" title="Who sends which" side=${html`<${Fresh} poll=${poll} /><button type="button" class="quiet small" onClick=${poll.again}>Read again</button>`}>
    ${who?.all && !of ? html`<p class="empty">Choose a fleet to see which of its devices send which version.</p>` : html`<${Problem} error=${poll.error} at=${poll.at} what="The sample" />
    ${poll.data ? html`<p class="dim">Of ${poll.data.cut ? "the first 1,000" : `all ${count(poll.data.n)}`} events of the last two minutes.</p>
      <${Table} caption="Senders by schema" rows=${poll.data.rows} keyOf=${(r) => r.schema} empty="No event of the last two minutes is stored." columns=${[
        { name: "schema", cell: (r) => (r.schema.startsWith(`${subject}/`) ? html`<a href=${link("/schemas", { fleet, subject, version: r.schema.split("/")[1] })}>${r.schema}</a>` : r.schema) },
        { name: "events", kind: "num", cell: (r) => count(r.events) }, { name: "devices", kind: "num", cell: (r) => count(r.devices.size) },
        { name: "firmware", cell: (r) => [...r.firmware].sort().slice(0, 8).join(", ") },
        { name: "for instance", cell: (r) => html`<${Device} fleet=${of} id=${[...r.devices][0]} />` }]} />` : null}`}</${Section}>`;
}

// Draft judges a schema before it is registered.
function Draft({ subject, start, fleet, onDone }) {
  const { who } = useStore(session);
  const [text, setText] = useState(""), [got, setGot] = useState(null), [busy, setBusy] = useState(false);
  const judge = async (e) => {
    e.preventDefault();
    const doc = read(text);
    if (!doc) return setGot({ error: "The draft is no JSON." });
    setBusy(true);
    const body = { schemaType: "JSON", schema: text };
    const [compatible, dry] = await Promise.all([
      send(`/registry/compatibility/subjects/${encodeURIComponent(subject)}/versions?verbose=true`, body).catch((e) => ({ error: e.message })),
      send(address("/v1/schemas/dry-run", { fleet }), { subject, schema: text, events: 1000 }, { timeout: 40000 }).catch((e) => ({ error: e.message }))]);
    setBusy(false);
    return setGot({ compatible, dry, text });
  };
  const c = got?.compatible, d = got?.dry;
  return html`<${Section} id="draft" title="Try a draft"><form class="form" onSubmit=${judge}>
      <${Field} id="draft-text" label=${`A draft of ${subject}`} hint="Nothing is registered by trying."><textarea id="draft-text" aria-describedby="draft-text-hint" spellcheck="false" value=${text}
        onInput=${(e) => { setText(e.target.value); setGot(null); }}></textarea></${Field}>
      <div class="row"><button type="submit" class="primary" disabled=${busy || !text.trim()}>${busy ? "Judging…" : "Try it"}</button>
        <button type="button" class="quiet" onClick=${() => { setText(start); setGot(null); }}>Begin with the version shown</button></div></form>
    <div aria-live="polite">${got?.error ? html`<p class="note bad">${got.error}</p>` : null}
      ${c ? html`<div class=${`note ${c.error ? "bad" : c.is_compatible ? "good" : "bad"}`}><p>${c.error ? `Compatibility is unknown: ${c.error}` : c.is_compatible ? "Compatible with the versions there are." : "Not compatible:"}</p>
        ${c.messages?.length ? html`<ul>${c.messages.map((m) => html`<li>${m}</li>`)}</ul>` : null}</div>` : null}
      ${d ? html`<div class=${`note ${d.error || !d.rejected ? "" : "warn"}`}><p>${d.error ? `What it would mean for events is unknown: ${d.error}` : !d.read ? "No event of the last seven days is stored: what it would mean is unknown."
        : html`Of the newest <b>${count(d.read)}</b> events${fleet ? html` of <b>${fleet}</b>` : ""}, since <${When} at=${d.from} />, <b>${count(d.judged)}</b> are of its firmware: <b>${count(d.passed)}</b> would pass and <b>${count(d.rejected)}</b> would fail.`}</p>
        ${d.cut ? html`<p>${d.cut}.</p>` : null}</div>
        ${d.rules?.length ? html`<${Table} caption="Why events would fail" rows=${d.rules} columns=${[{ name: "where", cell: (f) => html`<code>${f.pointer || "/"}</code>` }, { name: "why", cell: (f) => html`<bdi>${f.message}</bdi>` },
          { name: "events", kind: "num", cell: (f) => count(f.count) }, { name: "for instance", cell: (f) => (f.examples[0] ? html`<${Device} fleet=${f.examples[0].fleet} id=${f.examples[0].device_id} />` : "") }]} />` : null}` : null}
      ${who?.admin && c?.is_compatible && got.text === text ? html`<p><${Act} label="Register it" what=${html`<p>A new version of <b>${subject}</b> comes into force within seconds, for every device whose firmware it names.</p>`}
        run=${() => send(`${subjectPath(subject)}/versions`, { schemaType: "JSON", schema: text })} onDone=${() => { setText(""); setGot(null); onDone(); }} /></p>` : null}</div></${Section}>`;
}
