// Where the monitor is: behind a reverse proxy its paths may have a prefix, which is what stands before this very file.

const BASE = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** A path of the monitor as the browser asks for it: "/api/about" may be "/crawl/api/about". */
export const at = (path) => BASE + path;
