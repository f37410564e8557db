// In the one box, Enter sends and Shift with Enter begins a new line: most of what is written there is short.
"use strict";

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || !event.target.matches("textarea[data-enter]")) return;
  event.preventDefault();
  if (!event.ctrlKey && !event.metaKey && !event.repeat) event.target.form.requestSubmit();
});
