// Optimisation history: every trial's validation MAP, and the best so far.
(() => {
  const { data, base, axis, valueAxis, zoom, colour, number } = Report;
  const t = data.trials;
  const names = { C: "complete", P: "stopped at a rung", R: "running" };
  const colours = { C: "--complete", P: "--pruned", R: "--running" };

  function option() {
    const series = Object.keys(names).filter((state) => t.states.includes(state)).map((state) => ({
      name: names[state], type: "scatter", symbolSize: t.states.length > 2000 ? 3 : 7,
      itemStyle: { color: colour(colours[state]) },
      data: t.value.map((value, trial) => [trial, value]).filter(([trial, value]) => value !== null && t.states[trial] === state),
    }));
    series.push({
      name: "best so far", type: "line", step: "end", symbol: "none", z: 5, lineStyle: { color: colour("--best"), width: 2 },
      itemStyle: { color: colour("--best") }, tooltip: { show: false },
      data: data.bought.best_so_far.map((value, trial) => [trial, value]),
    });
    if (data.winner !== null && t.value[data.winner] !== null) series.push({
      name: data.finished ? "winner" : "best", type: "scatter", symbol: "diamond", symbolSize: 14, z: 6,
      itemStyle: { color: colour("--winner") }, data: [[data.winner, t.value[data.winner]]],
    });
    const shown = base({ xAxis: axis("trial", { type: "value", minInterval: 1 }), yAxis: valueAxis(Report.data.value_name), series, dataZoom: zoom() });
    shown.tooltip.formatter = (at) => Report.trialText(at.value[0]);
    return shown;
  }

  Report.add("history", {
    option,
    numbers: () => [["trial", Report.data.value_name, "best so far"],
      ...t.value.map((value, trial) => [trial, number(value), number(data.bought.best_so_far[trial])])],
    ready: (chart) => chart.on("click", (at) => at.seriesType === "scatter" && Report.mark(at.value[0])),
  });
})();
