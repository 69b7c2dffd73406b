// The views of the console: address → its file, its name, the view whose part it
// is, and the letter that opens it.
export const views = {
  "/": { file: "overview", name: "Overview", key: "o" },
  "/device": { file: "device", name: "Device", of: "/" },
  "/group": { file: "group", name: "Group", of: "/" },
  "/alerts": { file: "alerts", name: "Alerts", key: "a" },
  "/alert": { file: "alert", name: "Alert", of: "/alerts" },
  "/replays": { file: "replays", name: "Replays", key: "r" },
  "/replay": { file: "replay", name: "Replay", of: "/replays" },
  "/schemas": { file: "schemas", name: "Schemas", key: "s" },
  "/proof": { file: "proof", name: "Proof", of: "/" },
  "/admin": { file: "admin", name: "Administration", key: "m" },
};
