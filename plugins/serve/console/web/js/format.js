// Figures, sizes, spans of time and instants as people read them. What is not
// known is said to be unknown: never 0, never empty.
import { store } from "./h.js";

export const unknown = "unknown";
const isNumber = (v) => typeof v === "number" && Number.isFinite(v);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const count = (v) => (isNumber(v) ? whole.format(v) : unknown);

// figure is a reading: as many digits as matter.
export function figure(v) {
  if (!isNumber(v)) return unknown;
  const size = Math.abs(v);
  if (size !== 0 && (size >= 1e9 || size < 1e-3)) return v.toExponential(2).replace("e+", "e");
  return new Intl.NumberFormat("en", { maximumFractionDigits: size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3 })
    .format(v);
}

export function bytes(v) {
  if (!isNumber(v)) return unknown;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let n = 0;
  while (v >= 1024 && n < units.length - 1) (v /= 1024), n++;
  return `${v >= 100 || n === 0 ? v.toFixed(0) : v.toFixed(1)} ${units[n]}`;
}

// span is a length of time, in seconds.
export function span(s) {
  if (!isNumber(s)) return unknown;
  if (s < 0) return `in ${span(-s)}`;
  if (s === 0) return "0 s";
  if (s < 0.0995) return `${figure(s * 1000)} ms`;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  const steps = [[60, "s"], [60, "min"], [24, "h"], [365, "d"], [Infinity, "y"]];
  let rest = s;
  for (const [i, [size, unit]] of steps.entries()) {
    if (rest < size * (i < 3 ? 2 : 1)) return `${Math.round(rest)} ${unit}`;
    rest /= size;
  }
}

// zone is the time zone of everything that is shown: "UTC", or "" for this machine's.
const kept = () => {
  try {
    return localStorage.getItem("weir-zone") ?? "";
  } catch {
    return "";
  }
};
export const zone = store(kept() === "UTC" ? "UTC" : "");
export function setZone(z) {
  try {
    localStorage.setItem("weir-zone", z);
  } catch {
    // no storage: until the page is closed
  }
  zone.set(z);
}
export const zoneName = () => zone.get() || Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";

const parts = (options) => (at) => {
  const d = new Date(at);
  if (at === null || at === undefined || Number.isNaN(d.getTime())) return unknown;
  return new Intl.DateTimeFormat("sv-SE", { ...options, timeZone: zone.get() || undefined }).format(d);
};
const day = { year: "numeric", month: "2-digit", day: "2-digit" };
// instant is a date and a time; with the offset where a clock change makes it needed.
export const instant = parts({ ...day, hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const minute = parts({ ...day, hour: "2-digit", minute: "2-digit" });
export const clockTime = parts({ hour: "2-digit", minute: "2-digit", second: "2-digit" });

// offset is how far the zone is from UTC at an instant, as +05:45.
export function offset(at) {
  const d = new Date(at), options = { timeZone: zone.get() || undefined, timeZoneName: "longOffset" };
  const name = new Intl.DateTimeFormat("en", options).formatToParts(d).find((p) => p.type === "timeZoneName").value;
  return name.replace("GMT", "") || "+00:00";
}
