const KEY = "carina-shell";

function remembered(fallback) {
  try { return localStorage.getItem(KEY) || fallback; } catch { return fallback; }
}

function guess() {
  return navigator.userAgent.includes("Windows") ? "powershell" : "bash";
}

function select(box, key) {
  for (const tab of box.querySelectorAll("[role=tab]")) {
    const on = tab.dataset.key === key;
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
  }
  for (const panel of box.querySelectorAll("[data-shell]")) panel.hidden = panel.dataset.shell !== key;
}

function buildTabs(box, panels) {
  const list = document.createElement("div");
  list.className = "shell-tabs";
  list.setAttribute("role", "tablist");
  for (const panel of panels) {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `tab-${panel.dataset.shell}`;
    tab.dataset.key = panel.dataset.shell;
    tab.textContent = panel.getAttribute("aria-label");
    tab.setAttribute("role", "tab");
    panel.id = `panel-${panel.dataset.shell}`;
    panel.setAttribute("role", "tabpanel");
    tab.setAttribute("aria-controls", panel.id);
    list.append(tab);
  }
  box.prepend(list);
  return list;
}

function moveTo(box, list, tab) {
  select(box, tab.dataset.key);
  try { localStorage.setItem(KEY, tab.dataset.key); } catch { /* asked again next time */ }
  tab.focus();
}

/** Turn the stacked lines for every shell into tabs, opened at the visitor's own shell. Without scripts they stay stacked. */
export function tabShells(root) {
  for (const box of root.querySelectorAll("[data-shells]:not(.tabbed)")) {
    const panels = [...box.querySelectorAll("[data-shell]")];
    const keys = panels.map((panel) => panel.dataset.shell);
    const list = buildTabs(box, panels);
    box.classList.add("tabbed");
    const wanted = remembered(guess());
    select(box, keys.includes(wanted) ? wanted : keys[0]);
    list.addEventListener("click", (event) => {
      const tab = event.target.closest("[role=tab]");
      if (tab) moveTo(box, list, tab);
    });
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const tabs = [...list.children];
      moveTo(box, list, tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length]);
    });
  }
}
