// Blocks: whose events are refused for a time, and letting them in again.
import { html } from "./h.js";
import { get, send } from "./api.js";
import { usePoll } from "./poll.js";
import { count } from "./format.js";
import { Act, Device, Fresh, Problem, Section, Table, When } from "./ui.js";

const every = 5000;

export function Blocks({ fleet }) {
  const poll = usePoll((signal) => get("/v1/blocks", { fleet, limit: 100 }, { signal }), [fleet], every);
  const lift = ({ kind, subject }) => send(`/v1/blocks?${new URLSearchParams({ ...(fleet ? { fleet } : {}), kind, subject })}`, undefined, { method: "DELETE" });
  const { blocks, total } = poll.data ?? {};
  return html`<${Section} id="blocks" title="Blocked" side=${html`<${Fresh} poll=${poll} every=${every} />`}>
    <${Problem} error=${poll.error} at=${poll.at} what="The list of blocks" />
    ${blocks ? html`<${Table} caption="Devices and users whose events are refused" rows=${blocks} keyOf=${(b) => b.id} empty="Nobody is blocked." columns=${[
      { name: "who", cell: (b) => (b.kind === "device" ? html`<${Device} fleet=${fleet} id=${b.subject} />` : html`user <bdi>${b.subject}</bdi>`) },
      { name: "until", cell: (b) => html`<${When} at=${b.until} />` },
      { name: "why", cell: (b) => html`<bdi>${b.reason}</bdi>` },
      { name: "by", cell: (b) => html`<bdi>${b.by}</bdi>` },
      { name: "", cell: (b) => html`<${Act} label="Lift" small title=${`Take events of ${b.subject} again?`} what=${html`<p>All that blocks <b>${b.subject}</b> is lifted. What rules tell later blocks it again.</p>`}
        run=${() => lift(b)} onDone=${poll.again} />` }]} />
      ${total > blocks.length ? html`<p class="dim">The latest ${count(blocks.length)} of ${count(total)}.</p>` : null}` : null}</${Section}>`;
}
