// What searching bought: the best value against the number of trials, and against device seconds.
(() => {
  const { data, base, axis, valueAxis, zoom, colour, number } = Report;
  const bought = data.bought, drawn = bought.independent;

  function byTrials() {
    const series = [];
    if (drawn) {
      const line = (values) => drawn.sizes.map((size, place) => [size, values[place]]);
      series.push(
        { name: "5 % to 95 %, random trials", type: "line", stack: "band", symbol: "none", lineStyle: { opacity: 0 }, itemStyle: { color: colour("--complete") }, data: line(drawn.low), tooltip: { show: false } },
        { name: "5 % to 95 %, random trials", type: "line", stack: "band", symbol: "none", lineStyle: { opacity: 0 }, areaStyle: { color: colour("--band"), opacity: 1 }, itemStyle: { color: colour("--complete") },
          data: line(drawn.high.map((value, place) => value - drawn.low[place])), tooltip: { show: false } },
        { name: "expected best of n random trials", type: "line", symbol: "none", lineStyle: { color: colour("--complete"), type: "dashed" }, itemStyle: { color: colour("--complete") }, data: line(drawn.expected) });
    }
    series.push({
      name: bought.chosen ? "this search (descriptive)" : "this search", type: "line", step: "end", symbol: "none", lineStyle: { color: colour("--best"), width: 2 }, itemStyle: { color: colour("--best") },
      data: bought.best_so_far.map((value, trial) => [trial + 1, value]),
    });
    const option = base({ xAxis: axis("trials", { type: "value", min: 1, minInterval: 1 }), yAxis: valueAxis(`best ${Report.data.value_name}`), series, dataZoom: zoom() });
    option.tooltip = Object.assign(option.tooltip, { trigger: "axis", formatter: (all) => all.filter((at) => !at.seriesName.startsWith("5 %"))
      .map((at) => `${at.seriesName}, n = ${at.value[0]}: ${number(at.value[1])}`).join("\n") });
    return option;
  }

  function bySeconds() {
    const steps = bought.by_seconds.map(([seconds, value, trial]) => [seconds, value, trial]);
    if (steps.length) steps.push([bought.seconds, steps[steps.length - 1][1], steps[steps.length - 1][2]]);
    const option = base({
      xAxis: axis("device seconds of the trials that had ended", { type: "value", min: 0 }), yAxis: valueAxis(`best ${Report.data.value_name}`), dataZoom: zoom(), legend: { show: false },
      series: [{ name: "best so far", type: "line", step: "end", symbolSize: 6, lineStyle: { color: colour("--best"), width: 2 }, itemStyle: { color: colour("--best") }, data: steps }],
    });
    option.tooltip.formatter = (at) => `after ${at.value[0].toFixed(1)} device seconds\n${Report.trialText(at.value[2])}`;
    return option;
  }

  Report.add("best-of-n", {
    option: byTrials,
    numbers: () => (drawn ? [["n", "expected best of n", "5 %", "95 %", "this search"], ...drawn.sizes.map((size, place) =>
      [size, number(drawn.expected[place]), number(drawn.low[place]), number(drawn.high[place]), number(bought.best_so_far[size - 1])])]
      : [["n", "this search"], ...bought.best_so_far.map((value, trial) => [trial + 1, number(value)])]),
  });
  Report.add("best-by-seconds", {
    option: bySeconds,
    numbers: () => [["device seconds", `best ${Report.data.value_name}`, "trial"], ...bought.by_seconds.map(([seconds, value, trial]) => [seconds.toFixed(1), number(value), trial])],
  });
})();
