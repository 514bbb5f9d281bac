/** Forms with data-guard warn before what was typed into them is lost. */
export function guardForms(root) {
  const touched = new Set();
  root.addEventListener("input", (event) => {
    const form = event.target.closest("form[data-guard]");
    if (form) touched.add(form);
  });
  root.addEventListener("submit", (event) => {
    touched.clear();
    // A second click must not send twice; the button comes back if the visitor does (history, or a download that leaves the page).
    const button = event.submitter;
    if (!button || event.target.method === "get") return;
    setTimeout(() => { button.disabled = true; }, 0);
    setTimeout(() => { button.disabled = false; }, 3000);
  });
  addEventListener("pageshow", () => {
    for (const button of root.querySelectorAll("button[type=submit]:disabled")) button.disabled = false;
    touched.clear();
  });
  addEventListener("beforeunload", (event) => {
    if ([...touched].some((form) => form.isConnected)) event.preventDefault();
  });
}

/** A button with data-needs-name works once that name is typed into its form; the server checks it as well. */
export function nameBeforeDelete(root) {
  const check = (button) => {
    const typed = button.form.querySelector("input[type=text]").value.trim();
    button.classList.toggle("armed", typed === button.dataset.needsName);
  };
  for (const button of root.querySelectorAll("[data-needs-name]")) {
    check(button);
    button.form.addEventListener("input", () => check(button));
  }
}
