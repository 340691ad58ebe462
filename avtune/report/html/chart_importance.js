// Importance of hyper-parameters with error bars, and slices: validation MAP against each of them.
(() => {
  const { data, base, axis, valueAxis, colour, number, short } = Report;
  const t = data.trials;

  function errorBar(places) {
    return {
      name: "5 % to 95 %", type: "custom", z: 5, itemStyle: { color: colour("--text") }, encode: { x: [1, 2], y: 0 }, data: places,
      renderItem: (params, api) => {
        const from = api.coord([api.value(1), api.value(0)]), to = api.coord([api.value(2), api.value(0)]);
        const line = (x1, y1, x2, y2) => ({ type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: colour("--text"), lineWidth: 1.2 } });
        return { type: "group", children: [line(from[0], from[1], to[0], to[1]), line(from[0], from[1] - 4, from[0], from[1] + 4), line(to[0], to[1] - 4, to[0], to[1] + 4)] };
      },
    };
  }

  function importances() {
    const found = data.importance;
    const option = base({
      grid: { left: 110, right: 24, top: 36, bottom: 44 },
      xAxis: valueAxis("share of the importance", { min: 0, max: 1, nameGap: 28 }),
      yAxis: axis("", { type: "category", data: found.names, inverse: true }),
      series: [{ name: "importance", type: "bar", barMaxWidth: 18, itemStyle: { color: colour("--complete") }, data: found.share },
        errorBar(found.names.map((name, place) => [place, found.low[place], found.high[place]]))],
    });
    option.tooltip.formatter = (at) => `${found.names[at.dataIndex]}: ${number(found.share[at.dataIndex], 3)} (${number(found.low[at.dataIndex], 3)} to ${number(found.high[at.dataIndex], 3)})`;
    return option;
  }

  if (data.importance) Report.add("importance", {
    option: importances,
    numbers: () => [["hyper-parameter", "share", "5 %", "95 %"], ...data.importance.names.map((name, place) =>
      [name, ...["share", "low", "high"].map((what) => number(data.importance[what][place], 3))])],
  });

  // A small picture for each hyper-parameter.
  function slices() {
    const columns = Report.narrow ? 1 : innerWidth < 1000 ? 2 : 4;
    const rows = Math.ceil(t.axes.length / columns);
    const option = base({ legend: { show: false }, grid: [], xAxis: [], yAxis: [], series: [] });
    t.axes.forEach((one, place) => {
      const [row, column] = [Math.floor(place / columns), place % columns];
      option.grid.push({
        left: `${(100 * column) / columns + (Report.narrow ? 13 : 4)}%`, width: `${100 / columns - (Report.narrow ? 17 : 6)}%`,
        top: `${(100 * row) / rows + 3}%`, height: `${100 / rows - 14 / rows - 9}%`,
      });
      option.xAxis.push(axis(one.name, Object.assign({ gridIndex: place, nameGap: 22 }, one.choices
        ? { type: "category", data: one.choices } : { type: one.log ? "log" : "value", axisLabel: { color: colour("--quiet"), fontSize: 10, hideOverlap: true, formatter: (value) => short(value) }, min: one.low, max: one.high })));
      option.yAxis.push(axis("", { type: "value", gridIndex: place, axisLabel: { color: colour("--quiet"), fontSize: 10 } }));
      option.series.push({
        type: "scatter", xAxisIndex: place, yAxisIndex: place, symbolSize: t.states.length > 2000 ? 2 : 5, large: t.states.length > 3000,
        data: t.value.map((value, trial) => ({ value: [one.values[trial], value, trial], itemStyle: { color: trial === data.winner ? colour("--winner") : Report.stateColour(trial), opacity: Report.isChosen(trial) ? 0.8 : 0.08 } })).filter((point) => Report.counts(point.value[2])),
      });
    });
    option.tooltip.formatter = (at) => Report.trialText(at.value[2]);
    return option;
  }

  const box = document.getElementById("slices");
  if (box) {
    const columns = Report.narrow ? 1 : innerWidth < 1000 ? 2 : 4;
    box.style.height = `${Math.ceil(t.axes.length / columns) * 200}px`;
    Report.add("slices", { option: slices, ready: (chart) => chart.on("click", (at) => Report.mark(at.value[2])) });
    Report.onChange(() => Report.draw("slices"));
  }
})();
