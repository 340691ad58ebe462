// Parallel coordinates. A brush along an axis, or the form, leaves only some trials in the curves and in the table.
(() => {
  const { data, base, colour, short } = Report;
  const t = data.trials;
  const MOST = 1000; // lines that are drawn; the filter is over all trials
  const VALUE = { name: Report.narrow ? Report.data.value_name.replace("validation", "val") : Report.data.value_name, values: t.value.map((value, trial) => (Report.counts(trial) ? value : null)), choices: null, log: false, low: null, high: null };
  const axes = [...t.axes, VALUE];
  const intervals = new Map(); // place of an axis -> [[low, high], ...]
  const form = document.getElementById("filter");
  if (!form) return;
  const [select, low, high, said] = ["axis", "low", "high", "said"].map((name) => document.getElementById(`filter-${name}`));
  axes.forEach((axis, place) => select.add(new Option(axis.name, place)));
  select.value = axes.length - 1;

  const ranked = t.value.map((value, trial) => trial).filter(Report.counts).sort((a, b) => t.value[b] - t.value[a]);
  const best = ranked.slice(0, MOST).reverse();

  function option() {
    const lowest = ranked.length ? t.value[ranked[ranked.length - 1]] : 0;
    const highest = ranked.length ? t.value[ranked[0]] : 1;
    return base({
      legend: { show: false },
      visualMap: {
        show: !Report.narrow, dimension: axes.length - 1, min: lowest, max: highest, right: 0, top: "middle", itemHeight: 160,
        text: [`high ${Report.data.value_name.replace("validation ", "")}`, "low"], textStyle: { color: colour("--quiet") }, inRange: { color: [colour("--pruned"), colour("--complete"), colour("--winner")] },
      },
      parallel: { left: 40, right: Report.narrow ? 48 : 120, top: 56, bottom: 24, parallelAxisDefault: {
        nameTextStyle: { color: colour("--text"), fontSize: 11 }, nameRotate: Report.narrow ? 60 : 0, axisLabel: { color: colour("--quiet"), fontSize: 10 },
        axisLine: { lineStyle: { color: colour("--quiet") } }, areaSelectStyle: { width: 18, borderColor: colour("--link"), color: colour("--link"), opacity: 0.35 },
      } },
      parallelAxis: axes.map((axis, dim) => Object.assign({ dim, name: axis.name, scale: true }, axis.choices
        ? { type: "category", data: axis.choices } : { type: axis.log ? "log" : "value", min: axis.low === null ? "dataMin" : axis.low, max: axis.high === null ? "dataMax" : axis.high,
          axisLabel: { formatter: (value) => short(value) } })),
      series: [{
        type: "parallel", smooth: false, lineStyle: { width: 1, opacity: 0.5 }, inactiveOpacity: 0.04, activeOpacity: 0.9,
        progressive: 500, data: best.map((trial) => ({ name: `trial ${trial}`, value: axes.map((axis) => axis.values[trial]) })),
      }],
      tooltip: { show: false },
    });
  }

  const inside = (trial) => [...intervals].every(([place, parts]) => {
    const value = axes[place].values[trial];
    return value !== null && parts.some(([from, to]) => value >= from && value <= to);
  });

  function apply() {
    if (!intervals.size) {
      said.textContent = "";
      Report.choose(null);
      return;
    }
    const left = new Set(t.value.map((value, trial) => trial).filter(inside));
    said.textContent = `${left.size} of ${t.value.length} trials`;
    Report.choose(left);
  }

  // What is brushed now, read from the chart: a category axis counts places, as our values do.
  let telling = false; // the chart is being told what the form says
  function brushed(chart) {
    if (telling) return;
    intervals.clear();
    axes.forEach((axis, place) => {
      const found = chart.getModel().getComponent("parallelAxis", place).activeIntervals;
      if (found && found.length) intervals.set(place, found.map((one) => [...one].sort((a, b) => a - b)));
    });
    apply();
  }

  let chart = null;
  Report.add("configurations", {
    option,
    numbers: () => [["trial", "state", ...axes.map((axis) => axis.name)], ...ranked.filter(Report.isChosen).map((trial) => [trial,
      Report.stateText(trial), ...axes.map((axis) => (axis === VALUE ? Report.number(t.value[trial]) : Report.valueText(axis, trial)))])],
    ready: (instance) => {
      chart = instance;
      chart.on("axisareaselected", () => brushed(chart));
    },
  });

  function show() {
    if (!chart) return; // not drawn yet
    telling = true;
    axes.forEach((axis, place) => chart.dispatchAction({ type: "axisAreaSelect", parallelAxisIndex: place,
      parallelAxisId: chart.getModel().getComponent("parallelAxis", place).id, intervals: intervals.get(place) || [] }));
    telling = false;
  }

  function limit(axis, text, otherwise) {
    if (text.trim() === "") return otherwise;
    return axis.choices ? axis.choices.indexOf(text.trim()) : Number(text);
  }

  // Values are compared as they are shown: the ends of the range are those of the values that look as if they were inside.
  function range(axis, from, to) {
    const look = (value) => (axis.choices ? value : Number(axis === VALUE ? Report.number(value) : short(value)));
    const found = axis.values.filter((value) => value !== null && look(value) >= from && look(value) <= to);
    if (!found.length) return [Math.max(from, -Number.MAX_VALUE), Math.min(to, Number.MAX_VALUE)];
    const least = Math.min(...found), most = Math.max(...found), room = 1e-9; // a logarithmic axis rounds what it is told
    return [least - room * Math.abs(least), most + room * Math.abs(most)];
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const axis = axes[select.value];
    const from = limit(axis, low.value, -Infinity), to = limit(axis, high.value, Infinity);
    if (Number.isNaN(from) || Number.isNaN(to) || (axis.choices && (from === -1 || to === -1))) {
      said.textContent = axis.choices ? `one of: ${axis.choices.join(", ")}` : "from and to are numbers";
      return;
    }
    if (from > to) {
      said.textContent = axis.choices ? "from comes after to" : "from is above to";
      return;
    }
    intervals.set(Number(select.value), [range(axis, from, to)]);
    show();
    apply();
  });
  document.getElementById("filter-clear").addEventListener("click", () => {
    intervals.clear();
    low.value = high.value = "";
    show();
    apply();
  });
})();
