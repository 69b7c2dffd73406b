// Administration: keys, groups, holds, erasures, retention and the audit log.
import { html, useStore } from "../h.js";
import { session } from "../session.js";
import { link, route } from "../router.js";
import { zone } from "../format.js";
import { Choice } from "../ui.js";
import { Keys } from "../admin/keys.js";
import { Groups } from "../admin/groups.js";
import { Holds } from "../admin/holds.js";
import { Erasures } from "../admin/erasures.js";
import { Retention } from "../admin/retention.js";
import { AuditLog } from "../admin/audit_log.js";

const tabs = { keys: ["Keys", Keys], groups: ["Groups", Groups], holds: ["Holds", Holds], erasures: ["Erasures", Erasures],
  retention: ["Retention", Retention], audit: ["Audit log", AuditLog] };

export default function Admin() {
  const { path, query } = useStore(route);
  const { who } = useStore(session);
  useStore(zone);
  const tab = Object.hasOwn(tabs, query.tab) ? query.tab : "keys";
  const Part = tabs[tab][1];
  return html`<div class="title"><h1>Administration</h1></div>
    ${who?.admin ? html`<${Choice} label="Part" values=${Object.entries(tabs).map(([t, [name]]) => [t, name])} chosen=${tab} href=${(t) => link(path, { fleet: query.fleet, tab: t })} />
      <${Part} query=${query} key=${tab} />` : html`<p class="note">Administration needs a key with the scope <b>admin</b>; yours does not have it.
      An administrator makes one with <code>weir keys create --admin</code>.</p>`}`;
}
