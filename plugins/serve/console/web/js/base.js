// Where the console is: "" at the root of its origin, "/weir" behind a proxy that
// serves it below that path and takes the path off. The address that this file
// came from tells it, so that nothing has to be set and no header is believed.
export const base = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
