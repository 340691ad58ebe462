// Shrinkage: the value that the search saw, the mean over fresh seeds, and what was scored on the test split.
(() => {
  const { data, base, axis, valueAxis, colour, number } = Report;
  const fates = data.fates;
  const named = (fate) => `${fate.name}${fate.winner ? " (winner)" : ""}${fate.default ? " (default)" : ""}`.replace("default (default)", "default") + (fate.dropped ? `, ${fate.dropped}` : "");
  const OTHERS = ["--complete", "--running", "--best", "--fail", "--quiet"];

  function colourOf(fate, place) {
    return colour(fate.winner ? "--winner" : OTHERS[place % OTHERS.length]);
  }

  function option() {
    const series = [];
    fates.forEach((fate, place) => {
      const look = { name: named(fate), itemStyle: { color: colourOf(fate, place) }, lineStyle: { color: colourOf(fate, place), width: fate.winner ? 3 : 1.5 } };
      series.push(Object.assign({ type: "line", symbolSize: 8, data: [fate.search, fate.mean] }, look));
      series.push(Object.assign({ type: "scatter", symbolSize: 5, data: (fate.seeds || []).map((value) => ["fresh seeds", value]) }, look, { itemStyle: { color: colourOf(fate, place), opacity: 0.5 } }));
      if (fate.test !== null) {
        series.push(Object.assign({ type: "scatter", symbol: "diamond", symbolSize: 12, xAxisIndex: 1, yAxisIndex: 1, data: [["test", fate.test]] }, look));
        if (fate.test_interval) series.push(Object.assign({ type: "custom", xAxisIndex: 1, yAxisIndex: 1, data: [["test", ...fate.test_interval]], encode: { x: 0, y: [1, 2] },
          renderItem: (params, api) => {
            const from = api.coord([0, api.value(1)]), to = api.coord([0, api.value(2)]);
            return { type: "line", shape: { x1: from[0], y1: from[1], x2: to[0], y2: to[1] }, style: { stroke: colourOf(fate, place), lineWidth: 2 } };
          } }, look));
      }
    });
    const wide = data.finished;
    return base({
      grid: [{ left: 64, right: wide ? "36%" : 20, top: 56, bottom: 32 }, { left: "76%", right: 16, top: 56, bottom: 32, show: false }],
      xAxis: [axis("", { type: "category", data: ["search", "fresh seeds"] }), axis("", { type: "category", data: wide ? ["test"] : [], gridIndex: 1, show: wide })],
      yAxis: [valueAxis(Report.data.value_name), valueAxis(wide ? "test MAP" : "", { gridIndex: 1, show: wide })],
      series,
    });
  }

  if (fates.length) Report.add("shrinkage", {
    option,
    numbers: () => [["finalist", "in the search", "mean over fresh seeds", "sd", "test MAP"], ...fates.map((fate) =>
      [named(fate), number(fate.search), number(fate.mean), number(fate.sd), number(fate.test)])],
  });
})();
