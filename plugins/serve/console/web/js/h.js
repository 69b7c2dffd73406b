// What every view is written with: html`…` makes elements, text is always text.
import { h, render, Fragment } from "preact";
import { useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback, useReducer } from "preact/hooks";
import htm from "htm";

export const html = htm.bind(h);
export { render, Fragment, useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback };

// store is a value that views follow.
export function store(value) {
  const followers = new Set();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const f of [...followers]) f();
    },
    follow(f) {
      followers.add(f);
      return () => followers.delete(f);
    },
  };
}

// useStore returns the store's value, and draws again when it changes.
export function useStore(s) {
  const [, again] = useReducer((n) => n + 1, 0);
  useEffect(() => s.follow(again), [s]);
  return s.get();
}
