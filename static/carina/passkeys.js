/** Forms with data-passkey="create" or "get" ask the browser for a passkey first and are sent with what it answers. */
const { webauthnJSON } = globalThis; // allauth's mfa/js/webauthn-json.js, loaded before

async function optionsOf(form) {
  if (form.dataset.options) return JSON.parse(form.dataset.options);
  const answer = await fetch(form.dataset.optionsFrom, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`The portal answered ${answer.status}.`);
  return (await answer.json()).request_options;
}

/** A passkey that signs in by itself is kept on the device and asks who is there; one for after the password need not. */
function fit(options, alone) {
  const chosen = options.publicKey.authenticatorSelection;
  chosen.residentKey = alone ? "required" : "discouraged";
  chosen.requireResidentKey = alone;
  if (alone) chosen.userVerification = "required";
}

async function credentialFor(form) {
  const options = await optionsOf(form);
  if (form.dataset.passkey === "get") return webauthnJSON.get(options);
  fit(options, form.elements.passwordless.checked);
  return webauthnJSON.create(options);
}

function explain(form, error) {
  const note = form.querySelector("[data-passkey-fault]");
  const words = note.querySelector("p");
  const why = { NotAllowedError: "refused", AbortError: "refused", InvalidStateError: "known" }[error.name] ?? "failed";
  words.textContent = words.dataset[why];
  note.hidden = false;
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      form.elements.credential.value = JSON.stringify(await credentialFor(form));
    } catch (error) {
      explain(form, error);
      return;
    }
    form.submit();
  });
}
