// Sends an example's request as it stands in the page, and shows what comes back.
"use strict";

const MOST = 20000;

function shown(text) {
  try {
    // Lists of plain values stand on one line.
    text = JSON.stringify(JSON.parse(text), null, 1).replace(/\[\n\s+([^[\]{}]*?)\n\s*\]/g, (_, inner) => `[${inner.replace(/\n\s*/g, " ")}]`);
  } catch {
    // Not JSON: as it came.
  }
  return text.length > MOST ? `${text.slice(0, MOST)}\n… ${(text.length - MOST).toLocaleString("en")} more characters` : text;
}

async function send(form) {
  const told = form.querySelector(".told");
  const answer = form.querySelector(".answer");
  const options = { method: form.dataset.method, headers: {} };
  const body = form.elements.body;
  if (body) {
    options.body = body.value;
    options.headers["Content-Type"] = form.dataset.type;
  }
  told.textContent = "Waiting for the answer.";
  form.classList.add("busy-now");
  const started = performance.now();
  try {
    const response = await fetch(form.dataset.root + form.elements.address.value, options);
    const data = await response.arrayBuffer();
    const kind = (response.headers.get("Content-Type") ?? "").split(";")[0];
    const milliseconds = Math.round(performance.now() - started);
    told.textContent = `${response.status} ${response.statusText}, ${data.byteLength.toLocaleString("en")} bytes of ${kind || "nothing"} in ${milliseconds.toLocaleString("en")} ms`;
    const text = /json|text/.test(kind);
    answer.hidden = !text;
    answer.textContent = text ? shown(new TextDecoder().decode(data)) : "";
  } catch (error) {
    told.textContent = `No answer: ${error.message}`;
    answer.hidden = true;
  } finally {
    form.classList.remove("busy-now");
  }
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-try]")) return;
  event.preventDefault();
  send(event.target);
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy-code]");
  if (!button) return;
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copyCode).textContent);
  button.firstChild.textContent = "Copied";
  setTimeout(() => (button.firstChild.textContent = "Copy"), 1500);
});

// An address that names a route opens it.
function open() {
  const route = document.getElementById(location.hash.slice(1));
  if (route?.matches("details")) route.open = true;
}
window.addEventListener("hashchange", open);
document.addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll("[data-copy-code]")) button.hidden = !navigator.clipboard;
  open();
});
