// Embeds: a text is read without leaving the frame. On pages: the code to embed them follows what is chosen.
"use strict";

async function ask(form) {
  form.classList.add("htmx-request");
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    const found = new DOMParser().parseFromString(await answer.text(), "text/html");
    const old = document.getElementById("embed-answer");
    const made = found.getElementById("embed-answer") ?? found.querySelector("main");
    old.replaceChildren(...made.childNodes);
    const again = made.dataset.again;
    if (again !== undefined) setTimeout(() => ask(form), 1000 * Math.max(1, Number(again)));
  } finally {
    form.classList.remove("htmx-request");
  }
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-embed-ask]")) return;
  event.preventDefault();
  ask(event.target);
});

// The builder: `{embed}` addresses end with what was left out.
function write(builder) {
  const place = new URL(builder.dataset.embed);
  for (const box of builder.querySelectorAll("[data-part]")) {
    if (box.checked) place.searchParams.delete(`embed${box.dataset.part}`);
    else place.searchParams.set(`embed${box.dataset.part}`, "false");
  }
  const scheme = builder.querySelector("[data-scheme]").value;
  if (scheme === "system") place.searchParams.delete("theme");
  else place.searchParams.set("theme", scheme);
  const frame = document.createElement("iframe");
  for (const [name, value] of Object.entries({
    src: place.href, title: builder.dataset.title, width: builder.dataset.width, height: builder.dataset.height,
    loading: "lazy",
  })) frame.setAttribute(name, value);
  const code = frame.outerHTML.replace("></iframe>", ' style="border:0;max-width:100%"></iframe>');
  builder.querySelector("[data-code=iframe]").value = code;
}

function prepare() {
  for (const builder of document.querySelectorAll("[data-embed]")) {
    builder.querySelector("[data-parts]").hidden = false;
  }
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
}
document.addEventListener("change", (event) => {
  const builder = event.target.closest("[data-embed]");
  if (builder && event.target.matches("[data-part], [data-scheme]")) write(builder);
});
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value);
  button.textContent = "Copied";
});
document.addEventListener("DOMContentLoaded", () => {
  prepare();
  const form = document.querySelector("[data-embed-run]");
  if (form) ask(form);
});
document.addEventListener("htmx:after:swap", prepare);
