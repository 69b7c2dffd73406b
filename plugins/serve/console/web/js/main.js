// The frame around all views: who looks, at which fleet, in which zone; the
// names of the views, and what to do without a key.
import { html, render, useEffect, useState, useStore } from "./h.js";
import { session, signIn, signOut, know } from "./session.js";
import { whoIs } from "./api.js";
import { health, watchHealth } from "./health.js";
import { logOf, telemetry, users } from "./log.js";
import { route, watchRoute, link, setQuery, to, go } from "./router.js";
import { setZone, zone, zoneName } from "./format.js";
import { Age, Field } from "./ui.js";
import { watchKeys, Shortcuts } from "./keys.js";
import { views } from "./views.js";

const theme = () => document.documentElement.dataset.theme
  ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

function setTheme(chosen) {
  document.documentElement.dataset.theme = chosen;
  try {
    localStorage.setItem("weir-theme", chosen);
  } catch {
    // no storage: until the page is closed
  }
}

const Mark = () => html`<svg class="mark" viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
  <path d="M3 9h11c5 0 3 13 8 13h7" /><path class="post" d="M14 28V15" /></svg>`;

function Lost() {
  const { lostAt } = useStore(health);
  return html`<div role="status" class=${`lost${lostAt ? " shown" : ""}`}>${lostAt
    ? html`weir does not answer since <${Age} at=${lostAt} ago=${false} />. Figures are of then; trying again every two seconds.` : null}</div>`;
}

function SignIn() {
  const { why } = useStore(session);
  const [busy, setBusy] = useState(false), [error, setError] = useState("");
  const submit = async (e) => {
    e.preventDefault();
    const key = new FormData(e.target).get("key").trim();
    if (!key) return setError("Type a key.");
    setBusy(true);
    setError("");
    try {
      signIn(key, await whoIs(key));
    } catch (e) {
      setBusy(false);
      setError(e.status === 401 ? "weir does not know this key." : e.status === 403
        ? "This key may not query: it needs the scope query." : e.message);
    }
  };
  return html`<main class="sign-in"><form class="card" onSubmit=${submit}>
    <h1><${Mark} /> weir</h1>
    <p>An API key opens the console. It stays in this tab until the tab is closed, and is sent to this weir alone.</p>
    ${why && !error ? html`<p class="note bad" role="alert">${why}</p>` : null}
    ${error ? html`<p class="note bad" role="alert">${error}</p>` : null}
    <${Field} id="key" label="API key" hint="weir keys create makes one; weir up shows the first ones when it starts. A token of your login counts, too, where weir knows its issuer.">
      <input id="key" name="key" type="password" autocomplete="off" spellcheck="false" autofocus aria-describedby="key-hint" /></${Field}>
    <button type="submit" class="primary" disabled=${busy}>${busy ? "Asking…" : "Open"}</button>
  </form></main>`;
}

function Fleets({ fleets, chosen, every }) {
  const all = chosen && !fleets.includes(chosen) ? [...fleets, chosen] : fleets;
  return html`<label class="pick"><span class="hidden">Fleet</span><select value=${chosen ?? ""} onChange=${(e) => {
    const { path, query } = route.get();
    const { fleet, cursor, ...rest } = query;
    go(link(path, { fleet: e.target.value, ...rest }));
  }}>${every ? html`<option value="">all fleets</option>` : null}${all.map((f) => html`<option value=${f} selected=${f === chosen}>${f}</option>`)}</select></label>`;
}

// names of logs, for people.
const logNames = { [telemetry]: "telemetry", [users]: "events about people" };

// Logs chooses the log that is looked at. One that the address names and weir has not is
// there, too: the page says that there is nothing of it.
function Logs({ logs, chosen }) {
  const all = logs.includes(chosen) ? logs : [...logs, chosen];
  return html`<label class="pick"><span class="hidden">Log</span><select value=${chosen} onChange=${(e) => {
    const { path, query } = route.get();
    const part = views[path].of && path !== "/device" && path !== "/proof"; // one thing of the log that was looked at
    const { fleet, range, from, to, id } = query;
    go(link(part ? views[path].of : path, { fleet, range, from, to, id: part ? undefined : id, log: logOf({ log: e.target.value }) }));
  }}>${all.map((l) => html`<option value=${l} selected=${l === chosen}>${logNames[l] ?? l}</option>`)}</select></label>`;
}

function Frame({ view, children }) {
  const { who } = useStore(session), { query } = useStore(route);
  const [open, setOpen] = useState(false), [mode, setMode] = useState(theme());
  useStore(zone);
  useEffect(() => setOpen(false), [view]);
  return html`<a class="skip" href="#main" onClick=${(e) => { e.preventDefault(); document.getElementById("main").focus(); }}>To the content</a>
  <div class=${`frame${open ? " open" : ""}`}>
    <header class="top">
      <a class="brand" href=${to("/")}><${Mark} /> weir</a>
      <button type="button" class="menu quiet" aria-expanded=${open} aria-controls="views" onClick=${() => setOpen(!open)}>Menu</button>
      <nav id="views" aria-label="Views">${Object.entries(views).filter(([, v]) => !v.of).map(([path, v]) => html`<a href=${to(path)}
        aria-current=${view === path ? "page" : view && views[view].of === path ? "true" : undefined}>${v.name}</a>`)}</nav>
      <div class="tools">
        ${view && views[view]?.logs && (who?.logs.length > 1 || logOf(query)) ? html`<${Logs} logs=${who.logs} chosen=${logOf(query) || telemetry} />` : null}
        ${who?.all || who?.fleets.length ? html`<${Fleets} fleets=${who.fleets} chosen=${query.fleet} every=${who.all} />` : null}
        <button type="button" class="quiet small" onClick=${() => setZone(zone.get() ? "" : "UTC")}
          aria-label=${`Times: ${zoneName()}; switch to ${zone.get() ? "local time" : "UTC"}`}>Times: ${zoneName()}</button>
        <button type="button" class="quiet small" onClick=${() => { const next = mode === "dark" ? "light" : "dark"; setTheme(next); setMode(next); }}>
          ${mode === "dark" ? "Light theme" : "Dark theme"}</button>
        <button type="button" class="quiet small" onClick=${() => signOut()}>Sign out</button>
      </div>
    </header>
    <div class="body"><${Lost} /><main id="main" tabindex="-1">${children}</main></div>
  </div><${Shortcuts} views=${views} />`;
}

function View({ view }) {
  const [Page, setPage] = useState(null), [error, setError] = useState("");
  useEffect(() => {
    let gone = false;
    setPage(null);
    setError("");
    document.title = `${views[view].name} · weir`;
    import(`./pages/${views[view].file}.js`).then(
      (m) => gone || setPage(() => m.default),
      () => gone || setError("This view could not be loaded. Reload the page."),
    );
    return () => { gone = true; };
  }, [view]);
  if (error) return html`<p class="note bad" role="alert">${error}</p>`;
  return Page ? html`<${Page} />` : html`<h1 class="dim">${views[view].name}</h1>`;
}

function App() {
  const { key, who } = useStore(session), { path, query } = useStore(route);
  const [error, setError] = useState("");
  const lost = useStore(health).lostAt;
  useEffect(() => {
    if (!key || who) return;
    whoIs(key).then(know, (e) => (e.status === 401 || e.status === 403 ? signOut(e.status === 401
      ? "weir does not know this key." : "This key may not query: it needs the scope query.") : setError(e.message)));
  }, [key, who, lost]);
  const lacks = who && !who.all && who.fleets.length && !query.fleet; // of several fleets: one at a time
  useEffect(() => { if (lacks) setQuery({ fleet: who.fleets[0] }); }, [lacks, who]);
  if (!key) return html`<${SignIn} />`;
  if (!who || lacks) return html`<main class="sign-in"><p role="status">${error || "Asking weir…"}</p></main>`;
  return html`<${Frame} view=${path}><${View} view=${path} key=${`${path} ${logOf(query)}`} /></${Frame}>`;
}

watchRoute((path) => path in views);
watchHealth();
watchKeys(views);
render(html`<${App} />`, document.getElementById("app"));
