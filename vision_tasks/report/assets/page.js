"use strict";
// Tables that sort, and plots in the page's own colours: drawn when they come near, and anew where the colours change.
(() => {
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function valueOf(row, column) {
    const cell = row.cells[column];
    return "value" in cell.dataset ? (cell.dataset.value === "" ? null : Number(cell.dataset.value)) : cell.textContent;
  }

  // What has no value stays at the end, whichever way the others are sorted.
  function compared(one, other, sign) {
    if (one === null || other === null) return (one === null) - (other === null);
    return sign * (typeof one === "number" ? one - other : one.localeCompare(other, "en", { numeric: true }));
  }

  function sortBy(header) {
    const table = header.closest("table"), body = table.tBodies[0], column = header.cellIndex;
    const rising = header.getAttribute("aria-sort") !== "ascending";
    for (const each of table.tHead.rows[0].cells) if (each.hasAttribute("aria-sort")) each.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const rows = [...body.rows].map(row => [valueOf(row, column), row]);
    body.append(...rows.sort((a, b) => compared(a[0], b[0], rising ? 1 : -1)).map(([, row]) => row));
  }

  document.addEventListener("click", event => {
    const header = event.target.closest("th[aria-sort]");
    if (header && event.target.closest("button")) sortBy(header);
  });

  // Pictures would all be read before anything is drawn: what "loading" says does not count for data.
  const show = image => { image.src = image.dataset.source; delete image.dataset.source; };
  const nearPictures = new IntersectionObserver(entries => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) { nearPictures.unobserve(target); show(target); }
  }, { rootMargin: "800px" });
  for (const image of document.querySelectorAll("img[data-source]")) nearPictures.observe(image);
  addEventListener("beforeprint", () => document.querySelectorAll("img[data-source]").forEach(show));

  const library = document.getElementById("library");
  if (!library) return;

  const parts = name => colour(name).match(/\w\w/g).map(part => parseInt(part, 16));

  // Nothing has the page's colour; from there on the square root, so that rare things are seen, too.
  function scale() {
    const low = parts("--plate"), high = parts("--deep");
    const between = share => `rgb(${low.map((part, i) => Math.round(part + share * (high[i] - part))).join()})`;
    return [[0, colour("--back")], ...[0.01, ...Array.from({ length: 10 }, (_, i) => (i + 1) / 10)].map(t => [t * t, between(t)])];
  }

  const inColour = (key, value) =>
    key === "colorscale" && value === "page" ? scale()
      : /color$/.test(key) && typeof value === "string" && value.startsWith("--") ? colour(value) : value;

  const axis = () => ({ gridcolor: colour("--line"), zeroline: false, linecolor: colour("--faint"), automargin: true });

  // The legend lies below, in as many lines as it needs there; it never takes from the height of the plot.
  function arranged(layout, width) {
    const { entries = 0, height = 380, ...given } = layout;
    const lines = entries > 1 ? Math.ceil(entries / Math.max(1, Math.floor(width / 190))) : 0;
    const axes = Object.fromEntries(["xaxis", "yaxis", "yaxis2"].filter(name => name in given)
      .map(name => [name, { ...axis(), ...given[name] }]));
    return {
      ...given, ...axes, height: height + 22 * lines, showlegend: lines > 0, hovermode: given.hovermode ?? "closest",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      font: { color: colour("--text"), family: "system-ui, sans-serif", size: 13 },
      hoverlabel: { bgcolor: colour("--plate"), bordercolor: colour("--faint"), font: { color: colour("--text") }, align: "left" },
      legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, itemwidth: 30 },
      margin: { l: 56, r: 16, t: 16, b: 52 + 22 * lines, ...given.margin },
    };
  }

  const settings = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]] };

  function draw(figure) {
    const plot = figure.querySelector(".plot"), choice = figure.querySelector("select");
    const variants = JSON.parse(figure.querySelector("script").textContent, inColour);
    const { data, layout } = variants[choice ? choice.selectedIndex : 0];
    plot.style.minHeight = "0";
    Plotly.react(plot, data, arranged(layout, plot.clientWidth), settings);
    figure.dataset.drawn = "";
    performance.mark("plot");
  }

  const figures = [...document.querySelectorAll("figure[data-plot]")];
  const near = new IntersectionObserver(entries => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) { near.unobserve(target); draw(target); }
  }, { rootMargin: "400px" });
  const again = () => { for (const figure of figures) if ("drawn" in figure.dataset) draw(figure); };

  // The library works for a second or two before it can draw: not before the page can be read and used.
  function begin() {
    if (typeof Plotly !== "undefined") return;
    const running = document.createElement("script");
    running.textContent = library.textContent;
    document.head.append(running);
    for (const figure of figures) {
      near.observe(figure);
      figure.querySelector("select")?.addEventListener("change", () => draw(figure));
    }
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  addEventListener("beforeprint", () => { begin(); figures.forEach(draw); });
  requestAnimationFrame(() => setTimeout(begin));
})();
