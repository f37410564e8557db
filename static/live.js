// The live page: moving in the map by keys, spans by shift and click, a slider for density, the model's words as they come.
"use strict";
(() => {
  // --- the map: one stop of the tab key, arrows inside; a cell is chosen as its row's and its column's heads are ----
  const STOPS = "button, td[title]";
  function stops(map) {
    return [...map.querySelectorAll("tr")].map((row) => [...row.querySelectorAll(STOPS)]);
  }
  function prepare() {
    for (const map of document.querySelectorAll(".map")) {
      map.firstElementChild.setAttribute("role", "grid");
      for (const stop of map.querySelectorAll("button, [tabindex]")) stop.tabIndex = -1;
      stopAt(map.querySelector("td[aria-current]") ?? map.querySelector("tr.on td[title]") ?? map.querySelector("button"));
    }
    addSlider();
  }
  function stopAt(next, before) {
    if (before) before.tabIndex = -1;
    next.tabIndex = 0;
  }
  // The answer takes a cell's place in the tab order away, and the focus with it.
  let returns = false;
  function choose(cell) {
    returns = true;
    const source = cell.parentElement.cells[0].querySelector("button").value;
    const token = cell.closest("table").tHead.rows[0].cells[cell.cellIndex].querySelector("button").value;
    const sent = Object.assign(document.createElement("button"), { name: "cell", value: source + token.slice(1), hidden: true });
    const form = cell.closest("form");
    form.append(sent);
    form.requestSubmit(sent);
    sent.remove();
  }
  document.addEventListener("click", (event) => {
    const cell = event.target.closest?.(".map td[title]");
    if (!cell) return;
    stopAt(cell, cell.closest(".map").querySelector("[tabindex='0']"));
    cell.focus();
    choose(cell);
  });
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  document.addEventListener("keydown", (event) => {
    const here = event.target.closest?.(".map :is(button, td[title])");
    const step = steps[event.key];
    if (here?.matches("td") && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      choose(here);
    }
    if (!here || (!step && event.key !== "Home" && event.key !== "End")) return;
    event.preventDefault();
    const rows = stops(here.closest(".map"));
    let y = rows.findIndex((row) => row.includes(here));
    let x = rows[y].indexOf(here);
    if (step) [y, x] = [y + step[0], x + step[1]];
    else x = event.key === "Home" ? 0 : rows[y].length - 1;
    const next = rows[y]?.[Math.min(x, rows[y].length - 1)];
    if (!next || x < 0) return;
    stopAt(next, here);
    next.focus();
  });

  // --- tokens: a click chooses one, shift and click the span up to it --------------------------------------------
  document.addEventListener("click", (event) => {
    const label = event.target.closest?.(".tokens label");
    const to = document.getElementById("to");
    if (!label || !to || !event.shiftKey) return;
    event.preventDefault();
    getSelection()?.removeAllRanges();
    // Later, because a radio button that was clicked is only now given back to the one chosen before.
    setTimeout(() => {
      const here = label.querySelector("input");
      const chosen = document.querySelector(".tokens input:checked");
      if (chosen) to.value = here.value;
      else here.checked = true;
      (chosen ? to : here).dispatchEvent(new Event("change", { bubbles: true }));
    });
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches?.(".tokens input")) {
      const to = document.getElementById("to");
      if (to) to.value = "";
      mark();
    } else if (event.target.id === "to") mark();
  }, true);
  // Only the detail is fetched for a token: the map's heads are marked here.
  function mark() {
    const from = Number(document.querySelector(".tokens input:checked")?.value ?? -1);
    const to = document.getElementById("to")?.value;
    const [first, last] = to ? [from, Number(to)].sort((a, b) => a - b) : [from, from];
    for (const head of document.querySelectorAll("#map thead th:not(.corner)")) {
      const position = Number(head.querySelector("button").value.slice(1));
      if (!head.classList.contains("u")) head.classList.toggle("on", position >= first && position <= last);
    }
    for (const label of document.querySelectorAll(".tokens label")) {
      const position = Number(label.firstElementChild.value);
      label.classList.toggle("in", first !== last && position >= first && position <= last);
    }
  }

  // --- density: a slider beside the number, even steps from a hundredth of a per cent to all ---------------------
  function addSlider() {
    const number = document.getElementById("dense");
    if (!number || number.parentElement.querySelector("[type=range]")) return;
    const slider = Object.assign(document.createElement("input"), { type: "range", min: -2, max: 2, step: 0.25 });
    slider.setAttribute("aria-label", "Hide features that fire often, as a slider");
    let settled;
    const show = () => { slider.value = number.value ? Math.log10(Number(number.value)) : 2; };
    slider.addEventListener("input", () => {
      number.value = slider.value === "2" ? "" : Number((10 ** slider.value).toPrecision(2));
    });
    slider.addEventListener("change", (event) => {
      event.stopPropagation();
      // Arrow keys change it step by step: what they end at is asked for once, before the answer replaces it.
      clearTimeout(settled);
      settled = setTimeout(() => number.dispatchEvent(new Event("change", { bubbles: true })), 400);
    });
    number.addEventListener("input", show);
    show();
    number.before(slider);
  }

  // --- the model's own words -------------------------------------------------------------------------------------
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (form.id !== "continue") return;
    event.preventDefault();
    const words = form.querySelector(".words");
    const button = form.querySelector("button");
    const stop = new AbortController();
    Object.assign(words, { hidden: false, textContent: "", className: "words" });
    button.disabled = true;
    addEventListener("pagehide", () => stop.abort(), { once: true });
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
        headers: { Accept: "text/event-stream, application/json" },
        signal: stop.signal,
      });
      if (!answer.ok) throw new Error((await answer.json()).message);
      for await (const [name, data] of events(answer.body)) {
        if (name === "token") words.textContent += data.piece;
        else if (name === "problem") throw new Error(data.message);
        else if (data.place) location.assign(data.place);
        else readOn(data.text);
      }
    } catch (error) {
      words.className = "words wrong";
      words.textContent += `${words.textContent ? "\n" : ""}${error.message}`;
    }
    button.disabled = false;
  });
  async function* events(body) {
    let rest = "";
    for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + chunk).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(part) ?? [];
        if (name) yield [name, JSON.parse(data)];
      }
    }
  }
  function readOn(text) {
    const box = document.getElementById("text");
    if (box?.name !== "text") return;
    box.value = text;
    box.form.requestSubmit();
  }

  // --- another order, source or limit of the same text keeps what was chosen on it -------------------------------
  document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
    const answered = document.getElementById("tokens");
    if (ctx.sourceElement.id !== "ask" || !answered) return;
    const asked = ctx.request.body, shown = new FormData(answered);
    if (texts(asked) !== texts(shown)) return;
    const kept = ["token", "to", "first", "off"];
    if (asked.get("source") === shown.get("source")) kept.push("across");
    for (const name of kept) if (shown.get(name) && !asked.has(name)) asked.set(name, shown.get(name));
  });
  function texts(form) {
    const written = [...form].filter(([name, value]) => value && /^(text|role\d+|turn\d+)$/.test(name));
    return JSON.stringify(written.map(([name, value]) => [name, value.replaceAll("\r", "")]));
  }
  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    prepare();
    if (ctx?.target?.id !== "answer") return;
    if (returns && document.activeElement === document.body) document.querySelector("#map [tabindex='0']")?.focus({ preventScroll: true });
    returns = false;
    for (const choice of document.querySelectorAll(".tokens input[type=radio]")) choice.checked = choice.defaultChecked;
    if (ctx.request.submitter?.name === "switch") document.querySelector(".ablation")?.scrollIntoView({ block: "nearest" });
  });

  document.addEventListener("DOMContentLoaded", prepare);
})();
