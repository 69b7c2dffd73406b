// One alert: what it is of, the readings around it, and who was told.
import { html, useStore, useMemo } from "../h.js";
import { get, send, address } from "../api.js";
import { usePoll } from "../poll.js";
import { now } from "../health.js";
import { route, to } from "../router.js";
import { figure, zone } from "../format.js";
import { Act, Age, Back, Device, Fresh, Problem, Section, State, Table, When } from "../ui.js";
import { Chart } from "../chart.js";
import { bandOf, inWords, readRollups } from "../series.js";

// limitOf finds the limit that an alert's words name, if they name one.
function limitOf(a) {
  const m = /the limit is (-?\d[\d.e+-]*)/.exec(a.summary ?? "");
  return m && Number.isFinite(Number(m[1])) ? Number(m[1]) : null;
}

export default function Alert() {
  const { query } = useStore(route);
  const { fleet, id } = query;
  useStore(zone);
  const poll = usePoll((signal) => get(`/v1/alerts/${encodeURIComponent(id)}`, { fleet }, { signal }), [fleet, id], 3000);
  const a = poll.data;
  const act = (what) => () => send(address(`/v1/alerts/${encodeURIComponent(id)}/${what}`, { fleet }), undefined);
  return html`<${Back} path="/alerts" />
    <div class="title"><h1><bdi>${a ? a.summary || a.rule : "Alert"}</bdi></h1><span class="side"><${Fresh} poll=${poll} every=${3000} /></span></div>
    <${Problem} error=${poll.error} at=${poll.at} what="The alert" />
    ${a ? html`<${Section} id="facts" title="What" side=${a.state === "resolved" ? null : html`
        ${a.state === "open" ? html`<${Act} label="Acknowledge" small what=${html`<p>You say that someone looks after this alert. Nobody is told of it any more, until it opens again.</p>`}
          run=${act("acknowledge")} onDone=${poll.again} />` : null}
        <${Act} label="Resolve" small danger what=${html`<p>The alert ends by hand. It opens again when its condition comes again.</p>`} run=${act("resolve")} onDone=${poll.again} />`}>
      <dl class="pairs"><dt>state</dt><dd><${State} of=${a.state} /> <${State} of=${a.severity} /></dd>
        ${a.device_id ? html`<dt>device</dt><dd><${Device} fleet=${a.fleet || fleet} id=${a.device_id} /> <span class="dim">${a.fleet}</span></dd>` : null}
        ${a.metric ? html`<dt>metric</dt><dd>${a.metric}${a.value === null ? null : html` = <b>${figure(a.value)}</b>`}</dd>` : null}
        <dt>rule</dt><dd><a href=${to("/alerts", { rule: a.rule, state: "all", device: "" })}>${a.rule}</a> <span class="dim">${a.kind}</span></dd>
        <dt>opened</dt><dd><${When} at=${a.at} /> <span class="dim"><${Age} at=${a.at} /></span></dd>
        ${a.escalated_at ? html`<dt>escalated</dt><dd><${When} at=${a.escalated_at} /></dd>` : null}
        ${a.acknowledged_at ? html`<dt>acknowledged</dt><dd><${When} at=${a.acknowledged_at} /> ${a.acknowledged_by ? html`<span class="dim">by key ${a.acknowledged_by}</span>` : null}</dd>` : null}
        ${a.resolved_at ? html`<dt>resolved</dt><dd><${When} at=${a.resolved_at} /> ${a.resolved_by ? html`<span class="dim">by ${a.resolved_by === "quiet" ? "quiet" : `key ${a.resolved_by}`}</span>` : null}</dd>` : null}
        ${a.event_id ? html`<dt>event</dt><dd class="id">${a.event_id}</dd>` : null}</dl></${Section}>
      ${a.device_id && a.metric ? html`<${Around} alert=${a} fleet=${a.fleet || fleet} key=${a.alert_id} />` : null}
      <${Section} id="told" title="Who was told"><${Table} caption="Notices" rows=${a.deliveries} empty="Nobody was told yet." columns=${[
        { name: "channel", cell: (d) => d.channel }, { name: "why", cell: (d) => d.reason }, { name: "state", cell: (d) => html`<${State} of=${d.state} />` },
        { name: "attempts", kind: "num", cell: (d) => d.attempts }, { name: "first", cell: (d) => (d.first_at ? html`<${When} at=${d.first_at} />` : "not yet") },
        { name: "last", cell: (d) => (d.last_at ? html`<${When} at=${d.last_at} />` : "not yet") }, { name: "error", cell: (d) => d.error ?? "" }]} /></${Section}>` : null}`;
}

// Around charts the half hour before the alert and what followed, with its limit.
function Around({ alert, fleet }) {
  const poll = usePoll(async (signal) => {
    const at = Date.parse(alert.at) / 1000;
    const end = Math.min(now() / 1000, (alert.resolved_at ? Date.parse(alert.resolved_at) / 1000 : now() / 1000) + 900, at + 6 * 3600);
    const range = { from: at - 1800, to: Math.max(end, at + 300) };
    return { range, rows: await readRollups({ device: alert.device_id, fleet }, alert.metric, range, "1m", signal) };
  }, [alert.alert_id, alert.state], alert.state === "resolved" ? 0 : 10000);
  const d = poll.data, limit = limitOf(alert);
  const { times, series } = useMemo(() => (d ? bandOf(d.rows, d.range, "1m") : { times: [], series: [] }), [d]);
  return html`<${Section} id="around" title=${`${alert.metric} around it`} side=${html`<${Fresh} poll=${poll} every=${10000} /> <a
      href=${to("/device", { fleet, id: alert.device_id, metric: alert.metric })}>history</a>`}>
    <${Problem} error=${poll.error} at=${poll.at} what="The readings" />
    ${d ? html`<${Chart} label=${`${alert.metric} around the alert`} times=${times} series=${series} from=${d.range.from} to=${d.range.to} words=${inWords(d.rows, alert.metric, "1m")}
      lines=${limit === null ? [] : [{ value: limit, label: `limit ${figure(limit)}` }]} />` : html`<div class="hole"></div>`}</${Section}>`;
}
