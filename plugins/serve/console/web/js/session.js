// The key: kept in this tab until it is closed, sent in a header, in no address.
import { store } from "./h.js";
import { base } from "./base.js";

const name = `weir-key${base}`; // two weirs of one origin have keys of their own

const read = () => {
  try {
    return sessionStorage.getItem(name) ?? "";
  } catch {
    return "";
  }
};

export const session = store({ key: read(), who: null, why: "" });

// signIn keeps the key, of which who tells what it may do.
export function signIn(key, who) {
  try {
    sessionStorage.setItem(name, key);
  } catch {
    // no storage: the key lives as long as this page
  }
  session.set({ key, who, why: "" });
}

// know keeps what the key may do.
export const know = (who) => session.set({ ...session.get(), who });

// signOut forgets the key; why is told where it is asked for again.
export function signOut(why = "") {
  try {
    sessionStorage.removeItem(name);
  } catch {
    // nothing was kept
  }
  session.set({ key: "", who: null, why });
}
