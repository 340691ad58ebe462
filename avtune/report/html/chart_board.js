// What stands side by side, the methods of a bench or studies: MAP with intervals, groups without a difference, cost.
(() => {
  const { data, base, axis, valueAxis, zoom, colour, number } = Report;
  const COLOURS = ["--winner", "--complete", "--pruned"];
  const SYMBOLS = ["circle", "rect", "diamond"];

  // A row's mean and, where it has one, the interval over its seeds: [mean, low, high].
  const interval = (point) => `${number(point[0])}${point[1] === null ? "" : ` (${number(point[1])} to ${number(point[2])})`}`;

  function errorBars(points, where, stroke, down = 0) {
    return {
      type: "custom", silent: true, z: 3, data: points, encode: where === "x" ? { x: [0, 1], y: 2 } : { x: 2, y: [0, 1] }, tooltip: { show: false },
      renderItem: (params, api) => {
        const at = (value) => api.coord(where === "x" ? [value, api.value(2)] : [api.value(2), value]);
        const from = at(api.value(0)), to = at(api.value(1));
        return { type: "line", shape: { x1: from[0], y1: from[1] + down, x2: to[0], y2: to[1] + down }, style: { stroke, lineWidth: 2 } };
      },
    };
  }

  const label = (width) => ({ color: colour("--quiet"), width, overflow: "truncate", interval: 0 });
  const names = (board, extra) => axis("", Object.assign({ type: "category", inverse: true, data: board.rows.map((row) => row.name), axisLabel: label(Report.narrow ? 100 : 190) }, extra));
  const left = () => (Report.narrow ? 112 : 204);

  function intervals(board) {
    const series = board.series.flatMap((name, place) => {
      const found = board.rows.map((row, at) => [row.points[place], at]).filter(([point]) => point !== null);
      const ink = colour(COLOURS[place]), down = 5 * place - 5; // else those of one row would hide each other
      return [
        { name, type: "scatter", symbol: SYMBOLS[place], symbolSize: 8, symbolOffset: [0, down], z: 4, itemStyle: { color: ink }, data: found.map(([point, at]) => [point[0], at]) },
        Object.assign(errorBars(found.filter(([point]) => point[1] !== null).map(([point, at]) => [point[1], point[2], at]), "x", ink, down), { name }),
      ];
    });
    const option = base({ grid: { left: left(), right: 24, top: 40, bottom: 44 }, xAxis: valueAxis("test MAP", { nameGap: 28 }), yAxis: names(board), series });
    Object.assign(option.legend, { itemWidth: 12, data: board.series.map((name, place) => ({ name, icon: SYMBOLS[place] })) });
    option.tooltip.formatter = (at) => `${board.rows[at.value[1]].name}\n${at.seriesName}: ${interval(board.rows[at.value[1]].points[board.series.indexOf(at.seriesName)])}`;
    return option;
  }

  // A column for each letter: a dot where a row has it, a line from the first to the last of them.
  function groups(board) {
    const letters = [...new Set(board.rows.flatMap((row) => [...row.group]))].sort();
    const held = letters.map((letter) => board.rows.map((row, at) => at).filter((at) => board.rows[at].group.includes(letter)));
    const series = [
      ...held.map((rows, place) => ({ type: "line", silent: true, symbol: "none", lineStyle: { color: colour("--line"), width: 3 }, data: [[letters[place], rows[0]], [letters[place], rows[rows.length - 1]]] })),
      { type: "scatter", symbolSize: 12, z: 4, itemStyle: { color: colour("--complete") }, data: held.flatMap((rows, place) => rows.map((at) => [letters[place], at])) },
    ];
    const option = base({
      grid: { left: left() + 60, right: 24, top: 12, bottom: 44 }, legend: { show: false }, series,
      xAxis: axis("group", { type: "category", data: letters, nameGap: 26 }),
      yAxis: names(board, { data: board.rows.map((row) => `${row.name}  ${number(row.points[0][0])}`), axisLabel: label(left() + 46) }),
    });
    option.tooltip.formatter = (at) => `group ${at.value[0]}\n${held[letters.indexOf(at.value[0])].map((row) => board.rows[row].name).join("\n")}`;
    return option;
  }

  function cost(board) {
    const found = board.rows.filter((row) => row.seconds > 0);
    const best = [];
    for (const row of [...found].sort((one, other) => one.seconds - other.seconds || other.points[0][0] - one.points[0][0]))
      if (!best.length || row.points[0][0] > best[best.length - 1][1]) best.push([row.seconds, row.points[0][0]]);
    const ink = colour("--winner");
    const option = base({
      grid: { left: 64, right: Report.narrow ? 60 : 110, top: 16, bottom: 48 }, legend: { show: false }, dataZoom: zoom(),
      xAxis: axis("device seconds of the search", { type: "log" }), yAxis: valueAxis("test MAP"),
      series: [
        { type: "line", step: "end", silent: true, symbol: "none", lineStyle: { color: colour("--best"), type: "dashed" }, data: best },
        errorBars(found.filter((row) => row.points[0][1] !== null).map((row) => [row.points[0][1], row.points[0][2], row.seconds]), "y", ink),
        { type: "scatter", symbolSize: 9, z: 4, itemStyle: { color: ink }, data: found.map((row) => [row.seconds, row.points[0][0]]), labelLayout: { hideOverlap: true },
          label: { show: true, position: [11, -9], color: colour("--text"), formatter: (at) => found[at.dataIndex].name } },
      ],
    });
    option.tooltip.formatter = (at) => { const row = found[at.dataIndex]; return `${row.name}\n${row.seconds.toFixed(1)} device seconds\ntest MAP ${interval(row.points[0])}`; };
    return option;
  }

  data.boards.forEach((board, place) => {
    const means = board.series.flatMap((name) => [name, "low", "high"]);
    Report.add(`map-${place}`, { option: () => intervals(board), numbers: () => [["", ...means], ...board.rows.map((row) => [row.name, ...row.points.flatMap((point) => (point ?? [null, null, null]).map((value) => number(value)))])] });
    Report.add(`groups-${place}`, { option: () => groups(board), numbers: () => [["", "test MAP", "group"], ...board.rows.map((row) => [row.name, number(row.points[0][0]), row.group])] });
    Report.add(`cost-${place}`, { option: () => cost(board), numbers: () => [["", "device seconds", "test MAP"], ...board.rows.map((row) => [row.name, row.seconds.toFixed(1), number(row.points[0][0])])] });
  });
})();
