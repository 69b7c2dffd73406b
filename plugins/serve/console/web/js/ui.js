// The parts that all views share.
import { html, useStore, useState, useEffect, useRef } from "./h.js";
import { clock, health } from "./health.js";
import { count, instant, offset, span, unknown, zone } from "./format.js";
import { to, Link } from "./router.js";
import { views } from "./views.js";

// When is an instant, in the chosen zone.
export function When({ at, short }) {
  useStore(zone);
  if (!at) return html`<${Unknown} />`;
  const text = instant(at);
  return html`<time datetime=${new Date(at).toISOString()} title=${`${text} ${offset(at)}`} class="nowrap">${short ? text.slice(11) : text}</time>`;
}

// Age says how long ago an instant was; it grows while it is looked at.
export function Age({ at, ago = true }) {
  const now = useStore(clock);
  useStore(zone);
  if (!at) return html`<${Unknown} />`;
  const seconds = Math.max(0, (now - new Date(at).getTime()) / 1000);
  const text = seconds < 1 ? "now" : `${seconds < 10 ? `${Math.floor(seconds)} s` : span(Math.floor(seconds))}${ago ? " ago" : ""}`;
  return html`<time datetime=${new Date(at).toISOString()} title=${`${instant(at)} ${offset(at)}`}>${text}</time>`;
}

// Unknown is what is shown where nothing is known.
export const Unknown = ({ why }) => html`<span class="unknown" title=${why ?? undefined}>${unknown}</span>`;

// Problem tells of a refusal, and of what is shown meanwhile.
export function Problem({ error, at, what = "This" }) {
  if (!error) return null;
  const p = error.problem ?? {};
  if (error.status === 403 && p.missing_scope) {
    return html`<p class="note" role="status">${what} needs a key with the scope <b>${p.missing_scope}</b>; yours does not have it.</p>`;
  }
  if (error.status === 0 && health.get().lostAt && at) return null; // the banner says it
  return html`<p class="note bad" role="alert">${what} could not be read: ${error.message}${/[.!?]$/.test(error.message) ? "" : "."}
    ${at ? html` What is shown is of <${Age} at=${at} />.` : null}</p>`;
}

// Fresh says how old the figures of a part are, and greys them when they are too old.
export function Fresh({ poll, every, children }) {
  const now = useStore(clock);
  const lost = useStore(health).lostAt;
  const old = poll.at && (poll.error || lost || (every && now - poll.at > every + 5000));
  return html`<span class=${`fresh${old ? " old" : ""}`}>${children}${poll.at
    ? html`${old ? "as of " : "read "}<${Age} at=${poll.at} />` : poll.busy ? "reading…" : html`<${Unknown} />`}</span>`;
}

// Section is a titled part of a view.
export function Section({ title, side, children, id, bad }) {
  return html`<section class=${`card${bad ? " bad-edge" : ""}`} aria-labelledby=${id}>
    <header><h2 id=${id}>${title}</h2>${side ? html`<div class="side">${side}</div>` : null}</header>
    ${children}
  </section>`;
}

// Table shows rows of columns {name, cell(row), kind: "num"|"text", wide}; on a
// narrow screen each row is a block of names and values.
export function Table({ caption, columns, rows, keyOf, empty = "There is nothing here.", rowClass }) {
  if (!rows?.length) return html`<p class="empty">${empty}</p>`;
  return html`<div class="scroll" role="region" aria-label=${`${caption}, a table`} tabindex="0"><table role="table">
    <caption class="hidden">${caption}</caption>
    <thead role="rowgroup"><tr role="row">${columns.map((c) => html`<th role="columnheader" scope="col" class=${c.kind ?? ""}>${c.name || html`<span class="hidden">${c.label ?? "more"}</span>`}</th>`)}</tr></thead>
    <tbody role="rowgroup">${rows.map((row, i) => html`<tr role="row" key=${keyOf ? keyOf(row) : i} class=${rowClass?.(row) ?? ""}>
      ${columns.map((c) => html`<td role="cell" class=${c.kind ?? ""} data-name=${c.name}><div>${c.cell(row)}</div></td>`)}</tr>`)}</tbody>
  </table></div>`;
}

// More is the button for the next page of a list.
export const More = ({ next, busy, onMore, shown }) => html`<p class="more" aria-live="polite">
  ${count(shown)} shown${next ? html` · <button type="button" class="quiet" disabled=${busy} onClick=${onMore}>${busy ? "Reading…" : "Show more"}</button>` : null}</p>`;

const tones = {
  open: "bad", critical: "bad", failed: "bad", dead: "bad", loss: "bad", gone: "bad", revoked: "dim", refused: "bad",
  acknowledged: "warn", warning: "warn", paused: "warn", held: "warn", pending: "warn", queued: "dim", cancelled: "dim",
  resolved: "good", done: "good", sent: "good", running: "live", explained: "good", active: "good", up: "good", down: "bad",
};

// State is a word with its colour: the word alone says it too.
export const State = ({ of, tone }) => html`<span class=${`state ${tone ?? tones[of] ?? "dim"}`}>${String(of).replaceAll("_", " ")}</span>`;

// Device names a device and leads to its view. Ids are whatever somebody sent:
// isolated, so that no mark of direction leaks into the page.
export const Device = ({ fleet, id }) => html`<a class="id" href=${to("/device", { fleet, id })}><bdi>${id}</bdi></a>`;

// Figure is one number with its name.
export const Figure = ({ name, value, unit, note, tone, path, query }) => html`<div class=${`figure ${tone ?? ""}`}>
  <dt>${path ? html`<${Link} path=${path} query=${query}>${name}</${Link}>` : name}</dt><dd><span class="value">${value ?? html`<${Unknown} />`}</span>${unit ? html` <span class="unit">${unit}</span>` : null}
  ${note ? html`<span class="note-line">${note}</span>` : null}</dd></div>`;

// Choice is a row of a few values, one of which is chosen; each is an address.
export const Choice = ({ label, values, chosen, href }) => html`<nav class="choice" aria-label=${label}>${values.map(([value, text]) =>
  html`<a href=${href(value)} aria-current=${value === chosen ? "true" : undefined}>${text ?? value}</a>`)}</nav>`;

// Act is a button that changes something: it says what will happen, asks once
// more, and tells how it went.
export function Act({ label, title, what, confirm, run, onDone, danger, disabled, small }) {
  const [open, setOpen] = useState(false);
  return html`<button type="button" class=${`${danger ? "danger" : ""} ${small ? "small" : ""}`} disabled=${disabled}
    onClick=${() => setOpen(true)}>${label}</button>
    ${open ? html`<${Ask} title=${title ?? label} what=${what} confirm=${confirm ?? label} run=${run} danger=${danger}
      onClose=${(done) => { setOpen(false); if (done !== undefined) onDone?.(done); }} />` : null}`;
}

// Ask is the dialog of an act.
export function Ask({ title, what, confirm, run, onClose, danger }) {
  const box = useRef(), [busy, setBusy] = useState(false), [error, setError] = useState(null);
  useEffect(() => { box.current.showModal(); }, []);
  const yes = async (e) => {
    e.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const done = await run();
      box.current?.close();
      onClose(done ?? true);
    } catch (e) {
      setBusy(false);
      setError(e);
    }
  };
  return html`<dialog ref=${box} aria-labelledby="ask-title" onCancel=${(e) => { e.preventDefault(); if (!busy) onClose(); }}>
    <form onSubmit=${yes}>
      <h2 id="ask-title">${title}</h2>
      <div class="what">${what}</div>
      <p class="dim">It is written to the audit log, with your key's public id.</p>
      ${error ? html`<p class="note bad" role="alert">${error.message}</p>` : null}
      <div class="row end"><button type="button" class="quiet" disabled=${busy} onClick=${() => onClose()}>Not now</button>
      <button type="submit" class=${danger ? "danger" : "primary"} disabled=${busy}>${busy ? "Working…" : confirm}</button></div>
    </form></dialog>`;
}

// Field is a labelled input.
export function Field({ label, hint, children, id }) {
  return html`<div class="field"><label for=${id}>${label}</label>${children}${hint ? html`<small id=${`${id}-hint`}>${hint}</small>` : null}</div>`;
}

// Back is the way to the list that a view is of; where there is none, to the first view.
export function Back({ path }) {
  const there = path in views ? path : "/";
  return html`<p class="back"><a href=${to(there)}>← ${views[there].name}</a></p>`;
}
