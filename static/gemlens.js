// The little that neither HTML nor htmx does: a colour scheme without a reload, copying the link, and three keys.
"use strict";

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form.theme") || !event.submitter) return;
  event.preventDefault();
  const theme = event.submitter.value;
  document.documentElement.dataset.theme = theme;
  for (const button of form.elements) button.setAttribute("aria-pressed", String(button.value === theme));
  await fetch(form.action, { method: "POST", body: new URLSearchParams({ theme }), redirect: "manual" });
});

function showCopyButtons() {
  for (const button of document.querySelectorAll("[data-copy-link]")) button.hidden = !navigator.clipboard;
}
document.addEventListener("DOMContentLoaded", showCopyButtons);
document.addEventListener("htmx:after:swap", showCopyButtons);

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy-link]");
  if (!button) return;
  await navigator.clipboard.writeText(location.href);
  button.textContent = "Copied";
});

document.addEventListener("keydown", (event) => {
  const text = document.getElementById("text") ?? document.querySelector("[data-search-box]");
  const typing = event.target.matches("input:not([type=radio]), textarea, select");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form?.matches(".ask")) {
    event.preventDefault();
    event.target.form.requestSubmit();
  } else if (event.key === "/" && !typing && text && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    text.focus();
  } else if (event.key === "Escape" && typing) {
    event.target.blur();
  }
});
