const root = document.documentElement;

function isDark() {
  const chosen = root.dataset.bsTheme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** The button in the bar switches between light and dark and remembers it on this device. */
export function toggleTheme(scope) {
  scope.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    const next = isDark() ? "light" : "dark";
    root.dataset.bsTheme = next;
    try { localStorage.setItem("carina-theme", next); } catch { /* it lasts until the next page then */ }
  });
}
