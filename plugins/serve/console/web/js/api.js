// Asking the API: one way, with the key in a header and a bound on time.
import { session, signOut } from "./session.js";
import { heardFrom } from "./health.js";
import { base } from "./base.js";
import { withLog } from "./log.js";

// Refusal is an answer that is an error (RFC 9457), or no answer: status 0.
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || problem.message || `HTTP ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

// address puts parameters behind a path; what is empty is left out.
export function address(path, query = {}) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const v of Array.isArray(value) ? value : [value]) {
      if (v !== undefined && v !== null && v !== "") params.append(name, v);
    }
  }
  const text = params.toString();
  return text ? `${path}${path.includes("?") ? "&" : "?"}${text}` : path;
}

// ask sends a request, about the log that the page shows, and returns the response;
// what is no success is thrown.
export async function ask(path, { method = "GET", query, body, key, signal, timeout = 15000, accept, type } = {}) {
  const used = key ?? session.get().key;
  const headers = { Accept: accept ?? "application/json" };
  if (used) headers["X-API-Key"] = used;
  if (body !== undefined) headers["Content-Type"] = type ?? "application/json";
  const limit = timeout ? AbortSignal.timeout(timeout) : undefined;
  const signals = [signal, limit].filter(Boolean);
  let answer;
  try {
    answer = await fetch(base + address(path, withLog(path, query)), {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      signal: signals.length > 1 ? AbortSignal.any(signals) : signals[0], cache: "no-store", credentials: "omit",
    });
  } catch (e) {
    if (signal?.aborted) throw e;
    const late = limit?.aborted;
    throw new Refusal(0, { title: late ? `weir did not answer within ${timeout / 1000} s` : "weir cannot be reached" });
  }
  heardFrom(answer);
  if (answer.ok) return answer;
  let problem = {};
  try {
    problem = await answer.json();
  } catch {
    // an error without a body
  }
  if (answer.status === 401 && key === undefined && used === session.get().key) {
    signOut("weir no longer takes this key: it is wrong, has expired or was revoked.");
  }
  throw new Refusal(answer.status, problem);
}

// get returns the JSON at a path.
export const get = async (path, query, options) => (await ask(path, { ...options, query })).json();

// send posts JSON, or with another method, and returns the answer's JSON, if it has any.
export async function send(path, body, { method = "POST", ...options } = {}) {
  const answer = await ask(path, { method, body, ...options });
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

// whoIs says what a key or a token may do, the logs that there are, and the fleets that
// it can name: of one of a single fleet none. The overview is what everybody here may look at.
export async function whoIs(key) {
  const { scopes, everywhere, fleets, logs } = await get("/v1/me", {}, { key });
  await get("/v1/overview", { fleet: everywhere ? undefined : fleets[0], log: undefined }, { key });
  return { logs: logs ?? [], admin: scopes.includes("admin"), operates: scopes.includes("admin") || scopes.includes("operate"), all: everywhere, fleets: everywhere || fleets.length > 1 ? fleets : [] };
}
