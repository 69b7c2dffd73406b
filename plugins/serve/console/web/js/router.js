// Every view is an address: a path and its parameters.
import { store, html } from "./h.js";
import { address } from "./api.js";
import { base } from "./base.js";
import { logOf } from "./log.js";
import { views } from "./views.js";

const pathOf = (pathname) => (pathname.startsWith(`${base}/`) ? pathname.slice(base.length) : "");

const read = () => ({ path: pathOf(location.pathname), query: Object.fromEntries(new URLSearchParams(location.search)) });

export const route = store(read());

// go opens an address of this console, as link and to make them.
export function go(url, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", url);
  route.set(read());
  if (!replace) scrollTo(0, 0);
}

// link is the address of a view.
export const link = (path, query = {}) => base + address(path, query);

// setQuery changes parameters of the view; what is empty is left out.
export function setQuery(changes, options = { replace: true }) {
  const { path, query } = route.get();
  go(link(path, { ...query, ...changes }), options);
}

// to is the address of a view, in the fleet and the log that are looked at. From a view
// that is of no log, a part of another is of telemetry: what it names is.
export function to(path, query = {}) {
  const { path: here, query: at } = route.get();
  return link(path, { fleet: at.fleet, log: views[here]?.logs || !views[path]?.of ? logOf(at) : "", ...query });
}

// Link is an anchor to a view; where there is no such view, its text alone.
export const Link = ({ path, query, children, ...rest }) => (path in views ? html`<a href=${to(path, query)} ...${rest}>${children}</a>`
  : html`<span>${children}</span>`);

// watchRoute takes clicks on links to views, and the browser's back and forward.
export function watchRoute(isView) {
  addEventListener("popstate", () => route.set(read()));
  document.addEventListener("click", (e) => {
    if (e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    const a = e.target.closest?.("a[href]");
    if (!a || a.target || a.hasAttribute("download") || a.origin !== location.origin || !isView(pathOf(a.pathname))) return;
    if (a.hash && a.pathname === location.pathname && a.search === location.search) return;
    e.preventDefault();
    go(a.pathname + a.search);
  });
}
