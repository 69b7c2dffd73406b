// The keyboard: / searches, g and a letter opens a view, ? shows all of it.
import { html, store, useStore, useEffect, useRef } from "./h.js";
import { go, to } from "./router.js";
import { session } from "./session.js";

const shown = store(false);

// watchKeys follows the keyboard; whoever types into a field is left alone.
export function watchKeys(views) {
  let before = 0;
  addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || !session.get().key) return;
    if (e.target.closest?.("input, textarea, select, dialog")) return;
    if (e.key === "/") {
      const search = document.querySelector("[data-search]");
      if (!search) return go(to("/devices"));
      e.preventDefault();
      return search.focus();
    }
    if (e.key === "?") return shown.set(true);
    if (e.key === "g") return (before = e.timeStamp);
    if (before && e.timeStamp - before < 1500) {
      const found = Object.entries(views).find(([, v]) => v.key === e.key);
      if (found) go(to(found[0]));
    }
    before = 0;
    return undefined;
  });
}

// Shortcuts is the list of them.
export function Shortcuts({ views }) {
  return useStore(shown) ? html`<${List} views=${views} />` : null;
}

function List({ views }) {
  const box = useRef();
  useEffect(() => { box.current.showModal(); }, []);
  return html`<dialog ref=${box} onClose=${() => shown.set(false)} aria-labelledby="keys-title">
    <h2 id="keys-title">Keyboard</h2>
    <dl class="pairs"><dt><kbd>/</kbd></dt><dd>search</dd>${Object.values(views).filter((v) => v.key).map((v) => html`
      <dt><kbd>g</kbd> <kbd>${v.key}</kbd></dt><dd>${v.name}</dd>`)}<dt><kbd>Esc</kbd></dt><dd>close this</dd></dl>
    <p class="row end"><button type="button" class="primary" onClick=${() => box.current.close()}>Close</button></p></dialog>`;
}
