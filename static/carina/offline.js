/** Says so while live parts of the page get no answer, and takes it back with the next answer. */
export function tellWhenOffline(root) {
  const banner = root.getElementById("offline");
  root.addEventListener("htmx:sendError", () => { banner.hidden = false; });
  root.addEventListener("htmx:afterOnLoad", () => { banner.hidden = true; });
}
