// The key / goes to the search box, unless the page has a text of its own to write in (that is gemlens.js's).
"use strict";

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, textarea, select, [contenteditable]")) return;
  const box = document.querySelector("[data-search-box]");
  if (!box || document.getElementById("text")) return;
  event.preventDefault();
  box.focus();
  box.select();
});

// Fields that say nothing are left out of the address, and so are the ways when all of them are wanted.
document.addEventListener("formdata", (event) => {
  if (!event.target.matches("#find")) return;
  const given = event.formData;
  for (const [name, value] of [...given]) if (value === "" && name !== "q") given.delete(name);
  const ways = given.getAll("by");
  const all = event.target.querySelectorAll("input[name=by]").length;
  given.delete("by");
  if (ways.length && ways.length < all) given.set("by", ways.join(","));
});
