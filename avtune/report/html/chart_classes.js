// The test split class by class: MAP, precision against recall, which class is found first.
(() => {
  const { data, base, axis, valueAxis, colour, number } = Report;
  const found = data.classes;
  if (!found) return;
  const WAYS = found.ways;
  const COLOURS = { a2v: "--complete", v2a: "--running" };
  const mean = (place) => ((found.a2v.map[place] ?? 0) + (found.v2a.map[place] ?? 0)) / 2;
  const order = found.names.map((name, place) => place).filter((place) => found.clips[place]).sort((a, b) => mean(b) - mean(a));
  const label = (width) => ({ color: colour("--quiet"), width, overflow: "truncate", hideOverlap: true });

  function byClass() {
    const series = Object.keys(WAYS).map((way) => ({
      name: WAYS[way], type: "bar", barMaxWidth: 10, itemStyle: { color: colour(COLOURS[way]) }, data: order.map((place) => found[way].map[place]),
    }));
    const width = Report.narrow ? 90 : 150;
    const option = base({
      grid: { left: width + 20, right: 24, top: 36, bottom: 44 }, series, xAxis: valueAxis("test MAP", { min: 0, max: 1, nameGap: 28 }),
      yAxis: axis("", { type: "category", inverse: true, data: order.map((place) => found.names[place]), axisLabel: label(width) }),
    });
    option.tooltip.formatter = (at) => `${found.names[order[at.dataIndex]]}, ${found.clips[order[at.dataIndex]]} clips\n${at.seriesName}: ${number(at.value)}`;
    return option;
  }

  function precision() {
    const option = base({
      xAxis: axis("recall", { type: "value", min: 0, max: 1 }), yAxis: valueAxis("precision", { min: 0, max: 1 }),
      series: Object.keys(WAYS).map((way) => ({ name: WAYS[way], type: "line", symbol: "none", lineStyle: { color: colour(COLOURS[way]), width: 2 }, itemStyle: { color: colour(COLOURS[way]) },
        data: found[way].curve.map((value, place) => [place / (found[way].curve.length - 1), value]) })),
    });
    option.tooltip = Object.assign(option.tooltip, { trigger: "axis", formatter: (all) => all.map((at) => `${at.seriesName}, recall ${at.value[0]}: precision ${number(at.value[1], 3)}`).join("\n") });
    return option;
  }

  const confusion = (way) => () => {
    const table = found[way].confusion, width = Report.narrow ? 60 : 110;
    const cells = table.flatMap((row, query) => row.map((share, clip) => [clip, query, share]));
    const names = (extra) => axis("", Object.assign({ type: "category", data: found.names, splitArea: { show: false }, axisLabel: label(width) }, extra));
    const option = base({
      grid: { left: width + 20, right: 16, top: 36, bottom: width + 30 }, legend: { show: false },
      title: { text: `${WAYS[way]}: class of the query (row), class found first (column)`, left: Report.narrow ? 0 : width + 20, top: 4, textStyle: { color: colour("--text"), fontSize: Report.narrow ? 11 : 13, fontWeight: "normal" } },
      xAxis: names({ axisLabel: Object.assign(label(width), { rotate: 90, interval: 0 }) }),
      yAxis: names({ inverse: true, axisLabel: Object.assign(label(width), { interval: 0 }) }),
      visualMap: { show: false, min: 0, max: 1, dimension: 2, inRange: { color: [colour("--panel"), colour("--complete"), colour("--text")] } },
      series: [{ type: "heatmap", data: cells, label: { show: found.names.length <= 16 && !Report.narrow, fontSize: 9, formatter: (at) => (at.value[2] >= 0.005 ? at.value[2].toFixed(2) : "") } }],
    });
    option.tooltip.formatter = (at) => `query: ${found.names[at.value[1]]}\nfound first: ${found.names[at.value[0]]}\n${(100 * at.value[2]).toFixed(1)} %`;
    return option;
  };

  Report.add("map-by-class", {
    option: byClass,
    numbers: () => [["class", "test clips", ...Object.values(WAYS)], ...order.map((place) => [found.names[place], found.clips[place], number(found.a2v.map[place]), number(found.v2a.map[place])])],
  });
  Report.add("precision-recall", {
    option: precision,
    numbers: () => [["recall", ...Object.values(WAYS)], ...found.a2v.curve.map((value, place) => [(place / (found.a2v.curve.length - 1)).toFixed(2), number(value), number(found.v2a.curve[place])])],
  });
  for (const way of Object.keys(WAYS)) if (found[way].confusion) Report.add(`confusion-${way}`, {
    option: confusion(way),
    numbers: () => [["query", ...found.names], ...found[way].confusion.map((row, place) => [found.names[place], ...row.map((share) => number(share, 2))])],
  });
})();
