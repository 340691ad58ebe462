"""JavaScript for the tests of pages: how much of a chart is drawn."""

INK = """id => {
  const chart = document.getElementById(id), canvas = chart.querySelector('canvas');
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Set();
  let inked = 0;
  for (let at = 0; at < data.length; at += 4)
    if (data[at + 3] > 60) { inked += 1; seen.add(data[at] >> 5 | data[at + 1] >> 5 << 3 | data[at + 2] >> 5 << 6); }
  return [inked, seen.size];
}"""
"""[pixels that are drawn, colours among them] of the chart with an id."""
