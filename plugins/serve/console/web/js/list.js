// Lists that come in pages: the first is asked for again and again, what follows
// is added when somebody asks for more.
import { useState, useEffect } from "./h.js";
import { usePoll } from "./poll.js";

// useList calls load(cursor, signal) → {rows, next}. While only the first page is
// shown it is read again every so many milliseconds.
export function useList(load, deps, every = 0) {
  const [more, setMore] = useState({ rows: [], next: undefined, busy: false, error: null });
  useEffect(() => setMore({ rows: [], next: undefined, busy: false, error: null }), deps);
  const poll = usePoll((signal) => load(undefined, signal), deps, more.rows.length ? 0 : every);
  const next = more.next === undefined ? poll.data?.next : more.next;
  const onMore = async () => {
    setMore((m) => ({ ...m, busy: true, error: null }));
    try {
      const page = await load(next);
      setMore((m) => ({ rows: [...m.rows, ...page.rows], next: page.next ?? null, busy: false, error: null }));
    } catch (error) {
      setMore((m) => ({ ...m, busy: false, error }));
    }
  };
  return { poll, rows: [...(poll.data?.rows ?? []), ...more.rows], next, busy: more.busy, error: more.error ?? poll.error, onMore };
}
