// Which log of events is looked at: telemetry, or another that the address names.
// What is of one alone asks for it here, and nowhere else.
const param = "log";

export const telemetry = "telemetry", users = "user-events";

// logOf is the log of an address, "" for telemetry.
export const logOf = (query) => (query[param] === telemetry ? "" : query[param] ?? "");

// sourceOf is the source of a log's events, as the quality of data names it: the
// subject of their schemas.
export const sourceOf = (query) => ({ "": telemetry, [users]: "user_event" })[logOf(query)] ?? logOf(query);

// ofALog are the paths of the API that are of one log each.
const ofALog = /^\/v1\/(events|dead-letters|overview|proof)(\/|$)|^\/v1\/replays(\/estimate)?$/;

// withLog adds the log of the page to the parameters of a question, where it is of a
// log and names none.
export function withLog(path, query = {}) {
  if (param in query || !ofALog.test(path.split("?")[0])) return query;
  const log = logOf(Object.fromEntries(new URLSearchParams(location.search)));
  return log ? { ...query, [param]: log } : query;
}
