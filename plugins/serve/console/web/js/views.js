// The views of the console: address → its file, its name, the view whose part it
// is, the letter that opens it, and whether it shows one log of events at a time.
export const views = {
  "/": { file: "overview", name: "Overview", key: "o", logs: true },
  "/devices": { file: "devices", name: "Devices", key: "d" },
  "/device": { file: "device", name: "Device", of: "/devices", logs: true },
  "/group": { file: "group", name: "Group", of: "/devices" },
  "/alerts": { file: "alerts", name: "Alerts", key: "a" },
  "/alert": { file: "alert", name: "Alert", of: "/alerts" },
  "/dead-letters": { file: "dead_letters", name: "Dead letters", key: "l", logs: true },
  "/dead-letter": { file: "dead_letter", name: "Dead letter", of: "/dead-letters", logs: true },
  "/replays": { file: "replays", name: "Replays", key: "r", logs: true },
  "/replay": { file: "replay", name: "Replay", of: "/replays", logs: true },
  "/schemas": { file: "schemas", name: "Schemas", key: "s", logs: true },
  "/rules": { file: "rules", name: "Rules", key: "u" },
  "/analytics": { file: "analytics", name: "Analytics", key: "y", logs: true },
  "/quality": { file: "quality", name: "Quality", key: "q", logs: true },
  "/streams": { file: "streams", name: "Streams", key: "t" },
  "/etl": { file: "etl", name: "Pipelines", key: "p" },
  "/proof": { file: "proof", name: "Proof", of: "/", logs: true },
  "/admin": { file: "admin", name: "Administration", key: "m" },
};
