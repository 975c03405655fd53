// Where the monitor is: behind a reverse proxy its paths may have a prefix, which is that of this file's own path.

const BASE = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** A path of the monitor as the browser requests it: "/api/about" may be "/crawl/api/about". */
export const at = (path) => BASE + path;
