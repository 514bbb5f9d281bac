// Runs before the first paint, so that a remembered choice of light or dark does not flash. Without a choice the system decides.
(() => {
  let choice = null;
  try { choice = localStorage.getItem("carina-theme"); } catch { /* storage is switched off: the system decides */ }
  if (choice === "light" || choice === "dark") document.documentElement.dataset.bsTheme = choice;
  document.documentElement.classList.add("js");
})();
