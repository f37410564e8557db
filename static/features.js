// Detail on demand: what a token that fires says of itself, by mouse, by touch and by arrow keys; and three keys to turn pages.
"use strict";

const tip = () => document.getElementById("tip");
let shown = null;

function say(mark) {
  const box = tip();
  if (!box || mark === shown) return;
  shown = mark;
  box.hidden = !mark;
  if (!mark) return;
  if (mark.title) {
    mark.dataset.tip = mark.title;
    mark.removeAttribute("title");
  }
  box.textContent = mark.dataset.tip;
  const place = mark.getClientRects()[0];
  const left = Math.min(place.left, innerWidth - box.offsetWidth - 8);
  const above = place.top - box.offsetHeight - 6;
  box.style.left = `${Math.max(8, left)}px`;
  box.style.top = `${above < 4 ? place.bottom + 6 : above}px`;
}

document.addEventListener("pointerover", (event) => say(event.target.closest?.(".heat mark") ?? null));
document.addEventListener("focusin", (event) => say(event.target.closest(".heat mark")));
document.addEventListener("scroll", () => say(null), { passive: true, capture: true });

// Of each list of examples one token takes part in the order of the Tab key; arrows move on from there.
function reach() {
  for (const list of document.querySelectorAll("[data-heats]")) {
    if (!list.querySelector("mark[tabindex]")) list.querySelector("mark")?.setAttribute("tabindex", "0");
  }
}
document.addEventListener("DOMContentLoaded", reach);
document.addEventListener("htmx:after:swap", reach);

function focusOn(mark, list) {
  if (!mark) return;
  list.querySelector("mark[tabindex]")?.removeAttribute("tabindex");
  mark.setAttribute("tabindex", "0");
  mark.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const mark = event.target.closest(".heat mark");
  const list = mark?.closest("[data-heats]");
  if (list && event.key.startsWith("Arrow")) {
    const rightToLeft = getComputedStyle(mark).direction === "rtl";
    event.preventDefault();
    if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      const item = mark.closest("li");
      const other = event.key === "ArrowDown" ? item.nextElementSibling : item.previousElementSibling;
      focusOn(other?.querySelector("mark"), list);
    } else {
      const all = [...list.querySelectorAll("mark")];
      focusOn(all[all.indexOf(mark) + ((event.key === "ArrowRight") === rightToLeft ? -1 : 1)], list);
    }
  } else if (event.key === "Escape") {
    say(null);
  } else if (!event.target.closest("input, textarea, select")) {
    document.querySelector(`[data-key="${CSS.escape(event.key)}"]`)?.click();
  }
});
