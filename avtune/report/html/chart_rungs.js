// Do rungs rank as the end does: value at a rung against value at the end, of trials that trained to their end.
(() => {
  const { data, base, axis, valueAxis, zoom, colour, number } = Report;
  const COLOURS = ["#4477aa", "#ee7733", "#228833", "#cc6677", "#aa4499", "#998800", "#66ccee", "#888888"];

  function option() {
    const series = data.rungs.filter((rung) => rung.points.length).map((rung, place) => ({
      name: `rung ${data.rungs.indexOf(rung) + 1}`, type: "scatter", symbolSize: 7, itemStyle: { color: COLOURS[place % COLOURS.length], opacity: 0.8 },
      data: rung.points.map(([trial, at, end]) => [at, end, trial]),
    }));
    const values = series.flatMap((one) => one.data.flatMap(([at, end]) => [at, end]));
    const ends = [Math.min(...values), Math.max(...values)];
    series.push({ name: "no change", type: "line", symbol: "none", silent: true, lineStyle: { color: colour("--quiet"), type: "dashed", width: 1 }, itemStyle: { color: colour("--quiet") }, data: ends.map((end) => [end, end]), tooltip: { show: false } });
    const option = base({ xAxis: axis(`best ${Report.data.value_name} at the rung`, { type: "value" }), yAxis: valueAxis("at the end"), series, dataZoom: zoom() });
    option.tooltip.formatter = (at) => `${at.seriesName}: ${number(at.value[0])}, at the end ${number(at.value[1])}\n${Report.trialText(at.value[2])}`;
    return option;
  }

  if (data.rungs.some((rung) => rung.points.length)) Report.add("rungs", {
    option,
    numbers: () => [["rung", "trial", "at the rung", "at the end"], ...data.rungs.flatMap((rung, place) => rung.points.map(([trial, at, end]) => [place + 1, trial, number(at), number(end)]))],
  });
})();
