// The table of trials: sorted by a column, filtered as the charts are, a part at a time.
(() => {
  const { data, number } = Report;
  const t = data.trials;
  const STEP = 50;
  const table = document.getElementById("trials");
  const said = document.getElementById("trials-said");
  const more = document.getElementById("trials-more");
  const none = -Number.MAX_VALUE, FAILED = -Infinity;
  let count = STEP, column = 4, down = true;
  const columns = [
    ["trial", (trial) => trial, (trial) => trial],
    ["state", (trial) => t.states[trial], (trial) => Report.stateText(trial)],
    ["epochs", (trial) => t.epochs[trial], (trial) => t.epochs[trial]],
    ["best epoch", (trial) => t.best_epoch[trial] ?? none, (trial) => t.best_epoch[trial] ?? ""],
    [Report.data.value_name.replace("validation", "val"), (trial) => (t.states[trial] === "F" ? FAILED : t.value[trial] ?? none), (trial) => (t.states[trial] === "F" ? t.reasons[trial] : number(t.value[trial]))],
    ...t.axes.map((axis) => [axis.name, (trial) => axis.values[trial], (trial) => Report.valueText(axis, trial)]),
    ["device s", (trial) => t.seconds[trial], (trial) => t.seconds[trial].toFixed(1)],
  ];

  function order() {
    const key = columns[column][1], sign = down ? -1 : 1;
    const left = t.value.map((value, trial) => trial).filter(Report.isChosen);
    return left.sort((a, b) => (key(a) < key(b) ? -sign : key(a) > key(b) ? sign : a - b));
  }

  function head() {
    const line = table.tHead.rows[0];
    line.replaceChildren(...columns.map(([name], place) => {
      const cell = document.createElement("th"), button = document.createElement("button");
      button.type = "button";
      button.textContent = name + (place === column ? (down ? " ▾" : " ▴") : "");
      cell.setAttribute("aria-sort", place === column ? (down ? "descending" : "ascending") : "none");
      button.addEventListener("click", () => {
        down = place === column ? !down : place > 1;
        column = place;
        draw();
        table.tHead.rows[0].cells[place].firstChild.focus();
      });
      cell.append(button);
      return cell;
    }));
  }

  function row(trial) {
    const line = document.createElement("tr");
    line.classList.toggle("chosen", trial === Report.marked);
    columns.forEach(([, , text], place) => {
      const cell = line.insertCell();
      if (place) {
        cell.textContent = text(trial);
        return;
      }
      cell.textContent = trial;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "show";
      button.setAttribute("aria-label", `show the curve of trial ${trial}`);
      button.addEventListener("click", () => {
        Report.mark(trial);
        document.getElementById("h-curves").scrollIntoView();
      });
      cell.append(button);
    });
    return line;
  }

  function draw() {
    const left = order();
    head();
    table.tBodies[0].replaceChildren(...left.slice(0, count).map(row));
    said.textContent = `${Math.min(count, left.length)} of ${left.length} trials` + (left.length < t.value.length ? ` that the filter leaves of ${t.value.length}` : "");
    more.hidden = count >= left.length;
  }

  more.addEventListener("click", () => { count += 200; draw(); });
  Report.onChange(draw);
  draw();
})();
