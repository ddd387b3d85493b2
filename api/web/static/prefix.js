// The path below which a proxy shows the service, empty at the root. This script stands at PREFIX/static/prefix.js.
export const prefix = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
