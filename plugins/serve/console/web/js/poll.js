// Data that is asked for again and again. What was there stays until better
// comes, with the time that it is of.
import { useEffect, useRef, useState, useCallback } from "./h.js";
import { health, now } from "./health.js";

// usePoll calls load(signal) when deps change and every so many milliseconds
// (0: once). It returns {data, at, error, busy, again}.
export function usePoll(load, deps, every = 0) {
  const [state, setState] = useState({ data: undefined, at: 0, error: null, busy: true });
  const kick = useRef(() => {});
  useEffect(() => {
    let gone = false, timer, going = null;
    setState({ data: undefined, at: 0, error: null, busy: true });
    const round = async () => {
      clearTimeout(timer);
      if (document.hidden) return;
      going?.abort();
      const mine = new AbortController();
      going = mine;
      try {
        const data = await load(mine.signal);
        if (!gone && going === mine) setState({ data, at: now(), error: null, busy: false });
      } catch (error) {
        if (!gone && going === mine) setState((s) => ({ ...s, error, busy: false }));
      }
      if (gone || going !== mine) return;
      going = null;
      if (every) timer = setTimeout(round, every);
    };
    const shown = () => { if (!document.hidden && every) round(); };
    document.addEventListener("visibilitychange", shown);
    const unfollow = health.follow(() => { if (!health.get().lostAt) round(); });
    kick.current = round;
    round();
    return () => {
      gone = true;
      clearTimeout(timer);
      going?.abort();
      unfollow();
      document.removeEventListener("visibilitychange", shown);
    };
  }, [...deps, every]);
  return { ...state, again: useCallback(() => kick.current(), []) };
}
