// The overview as it changes: a stream of weir's, read with the key in a header.
// While nothing comes through it - a proxy may hold it back - the overview is
// asked for instead, every five seconds, and the stream is tried again.
import { ask, get, address } from "./api.js";
import { now, health } from "./health.js";
import { useEffect, useState } from "./h.js";

// A stream is silent after so long; then it is asked, so often.
const silence = 4000, askEvery = 4500, firstAsk = 2000;
// The stream is tried again after so long, and after so long once it has failed three times.
const soon = 1000, late = 60000;

// events reads server-sent events from a response, one after the other.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value.replaceAll("\r\n", "\n");
    let end;
    while ((end = rest.indexOf("\n\n")) >= 0) {
      const event = { name: "message", data: "" };
      for (const line of rest.slice(0, end).split("\n")) {
        if (line.startsWith("event:")) event.name = line.slice(6).trim();
        if (line.startsWith("data:")) event.data += line.slice(5).trim();
      }
      rest = rest.slice(end + 2);
      yield event;
    }
    if (rest.length > 8 << 20) throw new Error("the stream sends what is no event");
  }
}

// useLive returns {data, at, error, how, why}: the newest overview of a fleet, in a log,
// when it came, what is wrong, if something is, whether by "stream" or by "asking", and
// why the latter. Of telemetry alone there is a stream.
export function useLive(fleet, log) {
  const [state, setState] = useState({ data: null, at: 0, error: null, busy: true, how: log ? "asking" : "stream" });
  useEffect(() => {
    const whole = new AbortController();
    const gone = () => whole.signal.aborted;
    let mine = null, wake = () => {}, came = false, why = "", asked = 0, last = log ? 0 : Date.now() + firstAsk - askEvery;
    const took = (data, how) => {
      if (gone()) return;
      last = Date.now();
      setState({ data, at: now(), error: null, busy: false, how, why });
    };
    const failed = (error) => gone() || setState((s) => ({ ...s, error, busy: false }));
    const stream = async () => {
      mine = new AbortController();
      const one = mine;
      let timer = setTimeout(() => one.abort(), silence + 4000);
      try {
        const answer = await ask(address("/v1/live", { fleet }), { signal: AbortSignal.any([whole.signal, mine.signal]), timeout: 0, accept: "text/event-stream" });
        for await (const e of events(answer.body)) {
          clearTimeout(timer);
          timer = setTimeout(() => one.abort(), silence);
          if (e.name === "overview") {
            came = true;
            took(JSON.parse(e.data), "stream");
          }
          if (e.name === "end") return JSON.parse(e.data).reason;
        }
      } finally {
        clearTimeout(timer);
        one.abort();
      }
      return "closed";
    };
    const pause = (ms) => new Promise((done) => {
      const timer = setTimeout(done, ms);
      wake = () => { clearTimeout(timer); done(); };
    });
    const streaming = async () => {
      let failures = 0;
      while (!gone()) {
        if (document.hidden) {
          await pause(late);
          continue;
        }
        came = false;
        try {
          if (await stream() === "renew") continue;
          why = "";
        } catch (error) {
          why = error.status === 429 ? "as many look already as may" : "";
          if (error.status === 401 || error.status === 403) {
            failed(error);
            return whole.abort();
          }
        }
        failures = came ? 1 : failures + 1;
        await pause(failures < 3 ? soon : late);
      }
      return undefined;
    };
    const tick = async () => {
      if (gone() || document.hidden || Date.now() - Math.max(last, asked) < askEvery) return;
      asked = Date.now();
      try {
        const data = await get("/v1/overview", { fleet }, { signal: whole.signal, timeout: 4000 });
        if (last <= asked) took(data, "asking"); // else the stream has told something newer
      } catch (error) {
        failed(error);
      }
    };
    const ticks = setInterval(tick, 500);
    const shown = () => { if (!document.hidden) wake(); else mine?.abort(); };
    document.addEventListener("visibilitychange", shown);
    const unfollow = health.follow(() => { if (health.get().lostAt) mine?.abort(); else wake(); });
    if (log) why = "this log has no stream";
    else streaming();
    return () => {
      whole.abort();
      clearInterval(ticks);
      wake();
      unfollow();
      document.removeEventListener("visibilitychange", shown);
    };
  }, [fleet, log]);
  return state;
}
