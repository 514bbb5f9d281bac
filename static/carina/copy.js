const SHOWN_FOR = 1600;

async function write(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  // Plain http on another machine's address has no clipboard API.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("The browser does not let this page copy.");
}

/** Buttons with data-copy="id" copy the text of that element and say so for a moment. */
export function copyOnClick(root) {
  root.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    const label = button.querySelector("span");
    const before = label.textContent;
    if (button.classList.contains("copied")) return;
    try {
      await write(source.textContent);
      label.textContent = button.dataset.copied;
      button.classList.add("copied");
    } catch {
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range); // the visitor's own Ctrl-C still works
      return;
    }
    setTimeout(() => {
      label.textContent = before;
      button.classList.remove("copied");
    }, SHOWN_FOR);
  });
}
