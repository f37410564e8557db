// Draws what `plots.json` says, and asks again while the map is being laid out.
"use strict";

const root = document.getElementById("plots");
const LISTED = 60;
const MORE = 300;
const AGAIN_MS = 2000;
const NEVER = -7;
// Shares of tokens as powers of ten; what is below the least of them is drawn as if it never fired.
const TENTHS = [NEVER, -6, -5, -4, -3, -2, -1, 0];

function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  root.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function layout(more) {
  const axis = { gridcolor: colour("--line"), linecolor: colour("--edge"), zeroline: false };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 50, r: 10, t: 10, b: 40 },
    font: { color: colour("--quiet"), family: "system-ui, sans-serif", size: 13 }, showlegend: false, modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--quiet"), activecolor: colour("--ink") }, ...more,
    xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
  };
}

// Nothing leaves this server: by default the toolbar offers to send the chart to a cloud.
const options = { responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "" };

function percent(share) {
  return `${(100 * share).toLocaleString("en", { maximumFractionDigits: 7 })} %`;
}

function bars(id, bins, title, axis) {
  const place = document.getElementById(id);
  place.hidden = !bins.length;
  if (!bins.length) return;
  Plotly.react(place, [{
    type: "bar", x: bins.map((b) => Math.sqrt(b[0] * b[1])), y: bins.map((b) => b[2]), width: bins.map((b) => (b[1] - b[0]) * 0.94),
    hovertext: bins.map((b) => `${b[0].toPrecision(3)} to ${b[1].toPrecision(3)}: ${b[2]}`), hoverinfo: "text", marker: { color: colour("--bar") },
  }], layout({ xaxis: { type: "log", title: { text: title }, ...axis }, yaxis: { title: { text: "features" } } }), { ...options, displayModeBar: false });
}

function escaped(text) {
  const box = document.createElement("i");
  box.textContent = text;
  return box.innerHTML;
}

function list(map, points, most = LISTED) {
  const box = document.getElementById("selected");
  const more = document.getElementById("more");
  const listed = Math.min(most, points.length);
  document.getElementById("found").textContent = counted(points.length, listed);
  more.hidden = listed === points.length;
  more.textContent = `Show ${Math.min(MORE, points.length - listed).toLocaleString("en")} more`;
  more.onclick = () => {
    list(map, points, listed + MORE);
    box.children[listed].querySelector("a").focus();
  };
  box.replaceChildren(...points.slice(0, listed).map((point) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = `${root.dataset.features}/${map.indexes[point]}`;
    link.textContent = map.indexes[point];
    const label = document.createElement("bdi");
    label.textContent = map.labels[point] ?? "no label";
    item.append(link, " ", label);
    return item;
  }));
}

function counted(all, listed) {
  const features = `${all.toLocaleString("en")} ${all === 1 ? "feature" : "features"}`;
  return listed < all ? `${listed.toLocaleString("en")} of ${features} listed` : features;
}

// Nothing is chosen: not the same as a choice that nothing fits.
function unlist() {
  document.getElementById("selected").replaceChildren();
  document.getElementById("found").textContent = "";
  document.getElementById("more").hidden = true;
}

function keepInAddress(name, wanted) {
  const place = new URL(location.href);
  place.searchParams.delete(name === "q" ? "within" : "q");
  if (wanted) place.searchParams.set(name, wanted);
  else place.searchParams.delete(name);
  history.replaceState(history.state, "", place);
}

// What was drawn, as corners "x_y" in the map's own units; of a long line so many that an address can hold them.
const CORNERS = 60;

function corners(event) {
  const { range, lassoPoints } = event;
  const [x, y] = range
    ? [[range.x[0], range.x[1], range.x[1], range.x[0]], [range.y[0], range.y[0], range.y[1], range.y[1]]]
    : [lassoPoints.x, lassoPoints.y];
  const every = Math.ceil(x.length / CORNERS);
  return x.map((one, at) => [one, y[at]]).filter((_, at) => at % every === 0);
}

function written(shape) {
  return shape.map((corner) => corner.map((number) => Number(number.toPrecision(4))).join("_")).join(" ");
}

function read(text) {
  const shape = (text ?? "").split(" ").map((corner) => corner.split("_").map(Number));
  return shape.length > 2 && shape.every((corner) => corner.length === 2 && corner.every(Number.isFinite)) ? shape : null;
}

function inside(shape, x, y) {
  return shape.reduce((odd, [ax, ay], at) => {
    const [bx, by] = shape[(at + 1) % shape.length];
    return (ay > y) !== (by > y) && x < ((bx - ax) * (y - ay)) / (by - ay) + ax ? !odd : odd;
  }, false);
}

function draw(map) {
  const place = document.getElementById("feature-map");
  const find = document.getElementById("find");
  place.hidden = false;
  const strengths = map.densities.map((density) => Math.log10(Math.max(density ?? 0, 10 ** NEVER)));
  const trace = {
    type: "scatter", mode: "markers", x: map.x, y: map.y, hoverinfo: "text",
    hovertext: map.indexes.map((index, point) => `${index} ${escaped((map.labels[point] ?? "no label").slice(0, 90))}`),
    marker: { size: map.x.length > 3000 ? 4 : 7, opacity: 0.8, color: strengths, colorscale: [[0, colour("--line")], [0.4, colour("--bar")], [1, "#d3560a"]],
      colorbar: { title: { text: "density" }, tickvals: TENTHS, ticktext: TENTHS.map((power) => (power === NEVER ? "never" : percent(10 ** power))), thickness: 10 } },
    selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 0.08 } },
  };
  const bare = { showticklabels: false, showgrid: false };
  Plotly.react(place, [trace], layout({ margin: { l: 5, r: 5, t: 40, b: 5 }, dragmode: "lasso", hovermode: "closest", xaxis: bare, yaxis: { ...bare, scaleanchor: "x" } }),
    { ...options, scrollZoom: true, displayModeBar: true, modeBarButtons: [["zoom2d", "pan2d", "select2d", "lasso2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]] });
  place.on("plotly_click", (event) => { location.href = `${root.dataset.features}/${map.indexes[event.points[0].pointIndex]}`; });
  place.on("plotly_selected", (event) => {
    if (!event) return;
    find.value = "";
    const shape = corners(event);
    keepInAddress("within", written(shape));
    within(shape);
  });
  place.on("plotly_deselect", () => {
    keepInAddress("within", "");
    search();
  });
  function within(shape) {
    const points = map.indexes.flatMap((_, point) => (inside(shape, map.x[point], map.y[point]) ? [point] : []));
    Plotly.restyle(place, { selectedpoints: [points] });
    list(map, points);
  }
  function search() {
    const wanted = find.value.trim().toLowerCase();
    const points = wanted ? map.labels.flatMap((label, point) => (label?.toLowerCase().includes(wanted) ? [point] : [])) : null;
    Plotly.restyle(place, { selectedpoints: [points] });
    if (points) list(map, points);
    else unlist();
  }
  find.addEventListener("input", () => {
    keepInAddress("q", find.value.trim());
    search();
  });
  const shape = read(new URL(location.href).searchParams.get("within"));
  if (find.value.trim()) search();
  else if (shape) within(shape);
}

async function ask() {
  const waiting = document.getElementById("waiting");
  const answer = await fetch(root.dataset.json);
  const said = await answer.json();
  if (!answer.ok) {
    waiting.textContent = said.message;
    return;
  }
  waiting.textContent = said.waiting ?? (said.map && said.map.indexes.length < said.map.features ? `${said.map.indexes.length.toLocaleString("en")} of ${said.map.features.toLocaleString("en")} features are drawn, evenly chosen.` : "");
  const powers = TENTHS.map((power) => 10 ** power);
  bars("density-plot", said.densities, "share of tokens", { tickvals: powers, ticktext: powers.map(percent) });
  bars("peak-plot", said.peaks, "greatest activation", { exponentformat: "none", separatethousands: true, dtick: 1 });
  if (said.map) draw(said.map);
  else if (said.again) setTimeout(ask, AGAIN_MS);
}

if (root && window.Plotly) ask();
