// What all charts share: the data, the colours, which trials are chosen, and when to draw again.
"use strict";
document.documentElement.classList.add("js");

const Report = (() => {
  const data = JSON.parse(document.getElementById("payload").textContent);
  const charts = new Map();
  const listeners = [];
  let chosen = null; // a Set of trials that the filter leaves, null for all
  let marked = data.winner; // the trial that is drawn on top
  const STATES = { C: "complete", P: "stopped at a rung", F: "failed", R: "running" };
  const VARIABLE = { C: "--complete", P: "--pruned", F: "--fail", R: "--running" };

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const stateColour = (trial) => colour(VARIABLE[data.trials.states[trial]]);
  const stateText = (trial) => STATES[data.trials.states[trial]];
  const counts = (trial) => data.trials.value[trial] !== null && data.trials.states[trial] !== "F"; // a failed one does not
  const number = (value, digits = 4) => (value === null || value === undefined ? "" : value.toFixed(digits));
  const short = (value) => (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4))));

  // The value of a hyper-parameter as text.
  const valueText = (axis, trial) => (axis.values[trial] === null ? "" : axis.choices ? axis.choices[axis.values[trial]] : short(axis.values[trial]));

  function configText(trial) {
    return data.trials.axes.filter((axis) => axis.values[trial] !== null).map((axis) => `${axis.name} ${valueText(axis, trial)}`).join("\n");
  }

  function trialText(trial) {
    const t = data.trials;
    const found = t.value[trial] === null ? "" : `: ${number(t.value[trial])} at epoch ${t.best_epoch[trial]}`;
    const reason = (t.reasons[trial] || "").slice(0, 100);
    return `trial ${trial}${found}\n${stateText(trial)} after ${t.epochs[trial]} epochs${reason && `: ${reason}`}\n${configText(trial)}`;
  }

  // What every chart has. Tooltips are drawn as text, never as HTML.
  function base(extra) {
    const text = colour("--text");
    return Object.assign({
      animation: false,
      textStyle: { color: text, fontFamily: "system-ui, sans-serif" },
      tooltip: {
        renderMode: "richText", confine: true, backgroundColor: colour("--panel"), borderColor: colour("--line"),
        textStyle: { color: text, fontSize: 12 },
      },
      grid: { left: 64, right: 20, top: 40, bottom: 48 },
      legend: { top: 4, textStyle: { color: text }, type: "scroll" },
    }, extra);
  }

  function axis(name, extra) {
    return Object.assign({
      name, nameLocation: "middle", nameGap: 30, scale: true, nameTextStyle: { color: colour("--quiet") },
      axisLabel: { color: colour("--quiet"), hideOverlap: true }, axisLine: { lineStyle: { color: colour("--line") } },
      splitLine: { lineStyle: { color: colour("--line"), opacity: 0.5 } },
    }, extra);
  }

  const valueAxis = (name, extra) => axis(name, Object.assign({ type: "value", nameGap: 46 }, extra));
  const zoom = () => [{ type: "inside", filterMode: "none", zoomOnMouseWheel: "ctrl" }];

  // Charts are drawn one after the other, with the browser free in between: a page of thousands of trials answers at once.
  const waiting = new Map(); // name -> job
  function next() {
    const [name, job] = waiting.entries().next().value;
    waiting.delete(name);
    job();
    if (waiting.size) setTimeout(next);
  }
  function later(name, job) {
    waiting.set(name, job);
    if (waiting.size === 1) setTimeout(next);
  }

  const whenIdle = () => new Promise((done) => {
    const look = () => (waiting.size ? setTimeout(look, 10) : done(true));
    look();
  });

  // Adds a chart. `option()` gives what it shows now, `numbers()` [header, ...rows] for the table below it,
  // `ready(instance)` is called once.
  function add(id, { option, numbers, ready }) {
    const element = document.getElementById(id);
    if (!element) return;
    later(id, () => {
      const one = { element, option, instance: echarts.init(element, null, { renderer: "canvas" }) };
      charts.set(id, one);
      one.instance.setOption(option(), true);
      if (ready) ready(one.instance);
    });
    const details = document.querySelector(`details[data-of="${id}"]`);
    if (!details) return;
    if (!numbers) details.remove();
    else details.addEventListener("toggle", () => details.open && fill(details, numbers()));
  }

  function fill(details, rows) {
    details.querySelectorAll("table, p").forEach((old) => old.remove());
    const table = document.createElement("table");
    rows.slice(0, 201).forEach((row, place) => {
      const line = table.insertRow();
      row.forEach((value) => {
        const cell = document.createElement(place ? "td" : "th");
        cell.textContent = value;
        line.append(cell);
      });
    });
    details.append(table);
    if (rows.length > 201) {
      const more = document.createElement("p");
      more.textContent = `${rows.length - 201} further rows are left out here.`;
      details.append(more);
    }
  }

  // Draws a chart again; one that has not been drawn yet will be.
  function draw(id) {
    const one = charts.get(id);
    if (one) later(id, () => one.instance.setOption(one.option(), true));
  }

  const drawAll = () => charts.forEach((one, id) => draw(id));
  const resize = () => charts.forEach((one) => one.instance.resize());
  const tell = () => listeners.forEach((listener) => listener());

  function choose(trials) {
    chosen = trials;
    tell();
  }

  function mark(trial) {
    marked = trial;
    tell();
  }

  // On paper the charts are light and as wide as the paper.
  function printing(on) {
    charts.forEach(({ element }) => (element.style.width = on ? "680px" : ""));
    resize();
    charts.forEach((one) => one.instance.setOption(one.option(), true)); // at once: the paper does not wait
  }

  addEventListener("resize", resize);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  matchMedia("print").addEventListener("change", (event) => printing(event.matches));

  return {
    data, charts, add, draw, choose, mark, base, axis, valueAxis, zoom, colour, stateColour, stateText, number, short,
    counts, valueText, trialText, onChange: (listener) => listeners.push(listener),
    isChosen: (trial) => chosen === null || chosen.has(trial),
    get chosen() { return chosen; },
    get marked() { return marked; },
    whenIdle, // a promise that every chart is as it should be
    get narrow() { return innerWidth < 600; },
  };
})();
