// When trials were under way. A row is a place that a trial keeps meanwhile.
(() => {
  const { data, base, axis, colour } = Report;
  const found = data.timeline;
  if (!found) return;

  function unit() {
    const longest = Math.max(...found.bars.map((bar) => bar[3]));
    return longest > 7200 ? [3600, "hours"] : longest > 300 ? [60, "minutes"] : [1, "seconds"];
  }

  function option() {
    const [scale, name] = unit();
    const option = base({
      legend: { show: false }, grid: { left: 40, right: 20, top: 16, bottom: 48 },
      xAxis: axis(`${name} since ${found.begun}`, { type: "value", min: 0 }),
      yAxis: axis("", { type: "category", data: Array.from({ length: found.rows }, (none, row) => row + 1), inverse: true }),
      dataZoom: [{ type: "inside", filterMode: "weakFilter", zoomOnMouseWheel: "ctrl" }],
      series: [{
        type: "custom", encode: { x: [2, 3], y: 1 }, progressive: 2000,
        data: found.bars.map(([trial, row, from, to]) => [trial, row, from / scale, to / scale]),
        renderItem: (params, api) => {
          const trial = api.value(0), from = api.coord([api.value(2), api.value(1)]), to = api.coord([api.value(3), api.value(1)]);
          const height = api.size([0, 1])[1] * 0.8;
          const shape = { x: from[0], y: from[1] - height / 2, width: Math.max(1, to[0] - from[0]), height };
          const fill = trial === data.winner ? colour("--winner") : Report.stateColour(trial);
          return { type: "rect", shape, style: { fill, stroke: colour("--page"), lineWidth: found.bars.length > 1000 ? 0 : 1 } };
        },
      }],
    });
    option.tooltip.formatter = (at) => `${at.value[2].toFixed(1)} to ${at.value[3].toFixed(1)} ${name}\n${Report.trialText(at.value[0])}`;
    return option;
  }

  Report.add("timeline", {
    option,
    numbers: () => [["trial", "begun, s", "ended, s"], ...found.bars.map(([trial, row, from, to]) => [trial, from.toFixed(1), to.toFixed(1)])],
    ready: (chart) => chart.on("click", (at) => Report.mark(at.value[0])),
  });
})();
