// The overview as it changes: a stream of weir's, read with the key in a header;
// where nothing comes through, it is asked for every five seconds.
import { ask, get, address } from "./api.js";
import { now, health } from "./health.js";
import { useEffect, useState } from "./h.js";

const silence = 4000, longest = 15000;

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

// useLive returns {data, at, error, how}: the newest overview of a fleet, when it
// came, and what is wrong, if something is.
export function useLive(fleet) {
  const [state, setState] = useState({ data: null, at: 0, error: null, busy: true });
  useEffect(() => {
    const whole = new AbortController();
    let wait = 500, mine = null, wake = () => {};
    const took = (data) => {
      wait = 500;
      setState({ data, at: now(), error: null, busy: false });
    };
    const poll = async () => took(await get("/v1/overview", { fleet }, { signal: whole.signal, timeout: 4000 }));
    const stream = async () => {
      mine = new AbortController();
      const one = mine;
      let timer = setTimeout(() => one.abort(), silence + 4000);
      try {
        const answer = await ask(address("/v1/live", { fleet }), { signal: AbortSignal.any([whole.signal, mine.signal]), timeout: 0, accept: "text/event-stream" });
        for await (const e of events(answer.body)) {
          clearTimeout(timer);
          timer = setTimeout(() => one.abort(), silence);
          if (e.name === "overview") took(JSON.parse(e.data));
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
    const run = async () => {
      let failures = 0;
      while (!whole.signal.aborted) {
        if (document.hidden) {
          await pause(60000);
          continue;
        }
        try {
          const why = await stream();
          failures = why === "renew" ? 0 : failures + 1;
          if (why === "renew") continue;
        } catch (error) {
          failures++;
          if (whole.signal.aborted) return;
          if (error.status === 401 || error.status === 403) return setState((s) => ({ ...s, error, busy: false }));
        }
        try {
          await poll(); // nothing comes through, or only late: ask
          wait = failures > 2 ? 5000 : 500;
        } catch (error) {
          if (whole.signal.aborted) return;
          setState((s) => ({ ...s, error, busy: false }));
          wait = Math.min(longest, wait * 1.7);
        }
        await pause(wait);
      }
    };
    const shown = () => { if (!document.hidden) wake(); else mine?.abort(); };
    document.addEventListener("visibilitychange", shown);
    const unfollow = health.follow(() => { if (health.get().lostAt) mine?.abort(); else wake(); });
    run();
    return () => {
      whole.abort();
      wake();
      unfollow();
      document.removeEventListener("visibilitychange", shown);
    };
  }, [fleet]);
  return state;
}
