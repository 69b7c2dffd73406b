// Whether weir answers: asked every two seconds, so that no figure looks current
// for more than five when weir has gone.
import { store } from "./h.js";
import { base } from "./base.js";

export const every = 2000, patience = 2000;

// health says since when there is no answer; null: weir answers.
export const health = store({ lostAt: null });

// clock ticks once a second, for ages.
export const clock = store(Date.now());

let skew = 0;
// now is weir's clock as far as its answers tell: ages do not depend on this machine's.
export const now = () => Date.now() + skew;

// heardFrom takes what any answer tells of weir.
export function heardFrom(answer) {
  const date = Date.parse(answer.headers.get("Date") ?? "");
  if (date) skew = Math.abs(date - Date.now()) > 3000 ? date - Date.now() : 0;
  if (answer.status < 502 && health.get().lostAt) health.set({ lostAt: null });
}

let lastHeard = Date.now();

async function look() {
  try {
    const answer = await fetch(`${base}/healthz`, { cache: "no-store", signal: AbortSignal.timeout(patience) });
    heardFrom(answer);
    lastHeard = Date.now();
    health.set(health.get().lostAt ? { lostAt: null } : health.get());
  } catch {
    if (!health.get().lostAt) health.set({ lostAt: lastHeard });
  }
}

// watchHealth looks until the page is gone; a hidden page looks when it is shown again.
export function watchHealth() {
  const root = document.documentElement;
  health.follow(() => root.toggleAttribute("data-lost", Boolean(health.get().lostAt)));
  let timer;
  const round = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    await look();
    clearTimeout(timer);
    timer = setTimeout(round, every);
  };
  document.addEventListener("visibilitychange", round);
  setInterval(() => clock.set(now()), 1000);
  round();
}
