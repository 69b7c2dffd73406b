// The views of the console: address → its file, its name, the view whose part it
// is, and the letter that opens it.
export const views = {
  "/": { file: "overview", name: "Overview", key: "o" },
  "/devices": { file: "devices", name: "Devices", key: "d" },
  "/device": { file: "device", name: "Device", of: "/devices" },
  "/group": { file: "group", name: "Group", of: "/devices" },
  "/alerts": { file: "alerts", name: "Alerts", key: "a" },
  "/alert": { file: "alert", name: "Alert", of: "/alerts" },
  "/dead-letters": { file: "dead_letters", name: "Dead letters", key: "l" },
  "/dead-letter": { file: "dead_letter", name: "Dead letter", of: "/dead-letters" },
  "/replays": { file: "replays", name: "Replays", key: "r" },
  "/replay": { file: "replay", name: "Replay", of: "/replays" },
  "/schemas": { file: "schemas", name: "Schemas", key: "s" },
  "/rules": { file: "rules", name: "Rules", key: "u" },
  "/analytics": { file: "analytics", name: "Analytics", key: "y" },
  "/quality": { file: "quality", name: "Quality", key: "q" },
  "/streams": { file: "streams", name: "Streams", key: "t" },
  "/etl": { file: "etl", name: "Pipelines", key: "p" },
  "/proof": { file: "proof", name: "Proof", of: "/" },
  "/admin": { file: "admin", name: "Administration", key: "m" },
};
