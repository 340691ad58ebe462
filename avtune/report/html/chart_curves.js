// Learning curves of the best trials that the filter leaves; stopped ones are dimmed, the marked one is on top.
(() => {
  const { data, base, axis, valueAxis, zoom, colour, number } = Report;
  const lines = data.curves.lines;
  const select = document.getElementById("curves-shown");
  const said = document.getElementById("curves-said");
  if (!select) return;
  for (const count of [10, 50, 200, 500]) {
    if (count !== 10 && count !== 50 && count / 2 >= lines.length) continue;
    const one = new Option(count >= lines.length ? `all ${lines.length}` : `the best ${count}`, count);
    one.selected = count === 50;
    select.add(one);
    if (count >= lines.length) { one.selected = count <= 50; break; }
  }

  const points = (line) => line.values.map((value, place) => [line.epochs ? line.epochs[place] : place + 1, value / 10000]);

  function shown() {
    const left = lines.filter((line) => Report.isChosen(line.trial)).slice(0, Number(select.value));
    const marked = lines.find((line) => line.trial === Report.marked);
    return marked && !left.includes(marked) ? [...left, marked] : left;
  }

  function one(line) {
    const state = data.trials.states[line.trial];
    const marked = line.trial === Report.marked;
    return {
      id: `trial-${line.trial}`, name: `trial ${line.trial}`, type: "line", data: points(line), triggerLineEvent: true,
      showSymbol: line.values.length === 1, symbolSize: 5, z: marked ? 10 : state === "P" ? 2 : 3,
      lineStyle: {
        width: marked ? 3 : 1.2, opacity: marked ? 1 : state === "P" ? 0.45 : 0.9,
        color: marked ? colour("--winner") : Report.stateColour(line.trial),
      },
      itemStyle: { color: marked ? colour("--winner") : Report.stateColour(line.trial) },
      emphasis: { focus: "series", lineStyle: { width: 3 } },
    };
  }

  function option() {
    const drawn = shown();
    const series = drawn.map(one);
    const rungs = data.curves.rungs.map((epoch, place) => ({ xAxis: epoch, label: { formatter: Report.narrow ? String(place + 1) : `rung ${place + 1}` } }));
    series.push({
      type: "line", name: "rungs", data: [], markLine: {
        symbol: "none", silent: true, data: rungs, lineStyle: { color: colour("--quiet"), type: "dashed", opacity: 0.7 },
        label: { color: colour("--quiet"), fontSize: 11 },
      },
    });
    const option = base({
      xAxis: axis("epoch", { type: "value", min: 0, minInterval: 1 }), yAxis: valueAxis(Report.data.value_name), series,
      dataZoom: zoom(), legend: { show: false },
    });
    option.tooltip.formatter = (at) => (at.seriesName === "rungs" ? "" : Report.trialText(Number(at.seriesId.slice(6))));
    return option;
  }

  function tell() {
    const mark = Report.marked;
    const text = mark === null ? "" : `; on top: trial ${mark}, ${Report.stateText(mark)}`;
    said.textContent = `${shown().length} of ${lines.length} curves${text}`;
  }

  Report.add("curves", {
    option,
    numbers: () => [["trial", "state", "epochs", "best epoch", Report.data.value_name], ...shown().map((line) => [line.trial,
      Report.stateText(line.trial), data.trials.epochs[line.trial], data.trials.best_epoch[line.trial],
      number(data.trials.value[line.trial])])],
    ready: (chart) => chart.on("click", (at) => at.seriesId && at.seriesId.startsWith("trial-") && Report.mark(Number(at.seriesId.slice(6)))),
  });
  const again = () => { Report.draw("curves"); tell(); };
  select.addEventListener("change", again);
  Report.onChange(again);
  tell();
})();
