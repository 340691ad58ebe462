// When trials and the runs of the finals were under way, by device; a device has a row for each that it trains at a time.
(() => {
  const { data, base, axis, colour } = Report;
  const found = data.timeline;
  if (!found) return;

  // The names of the rows: that of the device at its first one.
  const names = found.devices.flatMap((one) => Array.from({ length: one.rows }, (none, row) => (row ? "" : one.name || "not known")));
  const deviceOf = found.devices.flatMap((one) => Array(one.rows).fill(one.name || "not known"));
  const where = (trial, row) => (found.moved[trial] || deviceOf[row] || "");
  const all = [...found.bars, ...found.runs];
  const isTrial = (of) => typeof of === "number";

  function unit() {
    const longest = all.reduce((most, bar) => Math.max(most, bar[3]), 0);
    return longest > 7200 ? [3600, "hours"] : longest > 300 ? [60, "minutes"] : [1, "seconds"];
  }

  function option() {
    const [scale, name] = unit();
    const rows = names.length ? names : Array.from({ length: found.rows }, (none, row) => row + 1);
    const width = names.length ? (Report.narrow ? 70 : 150) : 30;
    const option = base({
      legend: { show: false }, grid: { left: width + 10, right: 20, top: 16, bottom: 48 },
      xAxis: axis(`${name} since ${found.begun}`, { type: "value", min: 0 }),
      yAxis: axis("", {
        type: "category", inverse: true, data: rows.map((name, row) => ({ value: `${row}` })),
        axisLabel: {
          color: colour("--quiet"), width, overflow: "truncate", interval: (row) => rows[row] !== "", formatter: (row) => `${rows[row]}`,
        },
        axisTick: { interval: (row) => rows[row] !== "" },
      }),
      dataZoom: [{ type: "inside", filterMode: "weakFilter", zoomOnMouseWheel: "ctrl" }],
      series: [{
        type: "custom", encode: { x: [2, 3], y: 1 }, progressive: 2000,
        data: all.map(([, row, from, to], at) => [at, row, from / scale, to / scale]),
        renderItem: (params, api) => {
          const of = all[api.value(0)][0], from = api.coord([api.value(2), api.value(1)]), to = api.coord([api.value(3), api.value(1)]);
          const height = api.size([0, 1])[1] * 0.8;
          const shape = { x: from[0], y: from[1] - height / 2, width: Math.max(1, to[0] - from[0]), height };
          if (!isTrial(of)) return { type: "rect", shape, style: { fill: colour("--panel"), stroke: colour("--best"), lineWidth: 1 } };
          const fill = of === data.winner ? colour("--winner") : Report.stateColour(of);
          return { type: "rect", shape, style: { fill, stroke: colour("--page"), lineWidth: all.length > 1000 ? 0 : 1 } };
        },
      }],
    });
    option.tooltip.formatter = (at) => {
      const [place, row, from, to] = at.value, of = all[place][0];
      const what = isTrial(of) ? [where(of, row), Report.trialText(of)] : [deviceOf[row], of];
      return [`${from.toFixed(1)} to ${to.toFixed(1)} ${name}`, ...what].filter(Boolean).join("\n");
    };
    return option;
  }

  Report.add("timeline", {
    option,
    numbers: () => [
      ["trial, or stage of the finals", "device", "begun, s", "ended, s"],
      ...all.map(([of, row, from, to]) => [of, isTrial(of) ? where(of, row) : deviceOf[row] || "", from.toFixed(1), to.toFixed(1)]),
    ],
    ready: (chart) => chart.on("click", (at) => isTrial(all[at.value[0]][0]) && Report.mark(all[at.value[0]][0])),
  });
})();
