// Draws the charts of a report of hostsim with uPlot, from the JSON in the page. Loads nothing.
"use strict";
(() => {
  const DASHES = [[], [8, 4], [3, 3], [10, 3, 3, 3]];
  const HEIGHT = 170;
  const CIVIDIS = [[255, 234, 70], [210, 192, 96], [165, 156, 116], [124, 123, 120], [87, 92, 109], [42, 63, 109], [0, 32, 76]];
  const STEPS = [[1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]];
  const groups = new Map();
  const figures = [];
  let told;

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const make = (tag, parent, props = {}, text = "") => {
    const node = document.createElement(tag);
    Object.entries(props).forEach(([key, value]) => node.setAttribute(key, value));
    if (text) node.textContent = text;
    parent.append(node);
    return node;
  };

  // Values as text: the quantities and their units come with the page.
  const short = (number) => {
    if (number === 0) return "0";
    if (Math.abs(number) >= 100) return number.toFixed(0);
    const text = number.toPrecision(3);
    return text.includes("e") ? String(Number(text)) : text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  };
  const words = (value, quantity) => {
    if (value == null || !Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    const [, divisor, unit] = told.quantities[quantity].find(([least]) => size >= least * (1 - 1e-9));
    return short(value / divisor) + (told.letters.includes(unit) ? "" : " ") + unit;
  };
  const tickWords = (splits, axis) => {
    const fixed = new Map(axis.ticks || []);
    const size = Math.max(...splits.map(Math.abs));
    if (fixed.size && splits.every((value) => fixed.has(value))) return splits.map((value) => fixed.get(value));
    if (axis.log) return splits.map((value) => fixed.get(value) ?? words(value, axis.quantity));
    // All ticks of a linear axis in one unit.
    const [, divisor, unit] = told.quantities[axis.quantity].find(([least]) => size >= least * (1 - 1e-9));
    const space = told.letters.includes(unit) ? "" : " ";
    return splits.map((value) => value === 0 ? "0" : `${Number((value / divisor).toPrecision(6))}${space}${unit}`);
  };
  const logTicks = (low, high, most) => {
    let ticks = [];
    for (const steps of STEPS) {
      ticks = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
        for (const step of steps) {
          const tick = Number((step * 10 ** power).toPrecision(6));
          if (tick >= low && tick <= high) ticks.push(tick);
        }
      }
      if (ticks.length <= most) return ticks;
    }
    const every = Math.ceil(ticks.length / most);
    return ticks.filter((_, i) => i % every === 0);
  };

  async function read() {
    const node = document.getElementById("report-data");
    if (node.dataset.coding !== "deflate") return JSON.parse(node.textContent);
    const bytes = Uint8Array.from(atob(node.textContent.trim()), (letter) => letter.charCodeAt(0));
    // Written and read by hand: a Blob's stream goes by way of another process of the browser, which is slow on a busy machine.
    const unpacking = new DecompressionStream("deflate-raw"), writer = unpacking.writable.getWriter();
    writer.write(bytes);
    writer.close();
    const reader = unpacking.readable.getReader(), decoder = new TextDecoder();
    let text = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += decoder.decode(part.value, { stream: true });
    return JSON.parse(text + decoder.decode());
  }

  // Whether names along the axis x would run into each other, so that they stand aslant.
  const isCrowded = (axis, plot) =>
    (axis.ticks || []).reduce((sum, [, text]) => sum + 7 * text.length + 10, 0) > plot.width - 110;

  const axisOf = (axis, side, width) => ({
    side, stroke: () => css("soft"), grid: { stroke: () => css("grid"), width: 1 }, ticks: { stroke: () => css("grid"), size: 4 },
    font: "12px system-ui, sans-serif", size: (plot) => side === 3 ? 74 : isCrowded(axis, plot) ? 58 : 30,
    space: side === 3 ? 28 : 76, rotate: (plot) => side === 2 && isCrowded(axis, plot) ? -35 : 0,
    values: (_, splits) => tickWords(splits, axis),
    ...(axis.log || (axis.ticks && axis.ticks.length) ? {
      splits: (plot, _, low, high) => {
        const fixed = (axis.ticks || []).map(([at]) => at).filter((at) => at >= low && at <= high);
        return fixed.length ? fixed : logTicks(low, high, side === 3 ? 6 : Math.max(3, Math.floor(width / 100)));
      },
      filter: (_, splits) => splits,
    } : {}),
  });

  // Steps, each as long as its value holds: uPlot's own end a step before a gap where the step begins.
  const steps = (isBefore) => (plot, index, first, last) => {
    const stroke = new Path2D(), xs = plot.data[0], ys = plot.data[index];
    const placeOf = (value, scale) => Math.round(plot.valToPos(value, scale, true));
    let from = -1, isDrawing = false;
    for (let i = first; i <= last; i++) {
      if (ys[i] === undefined) continue; // a place of another line
      const value = from < 0 ? null : ys[isBefore ? i : from];
      if (value != null) {
        const start = placeOf(xs[from], "x"), level = placeOf(value, "y");
        if (isDrawing) stroke.lineTo(start, level); else stroke.moveTo(start, level);
        stroke.lineTo(placeOf(xs[i], "x"), level);
      }
      [from, isDrawing] = [i, value != null];
    }
    if (!isBefore && isDrawing && ys[from] != null) stroke.lineTo(placeOf(xs[from], "x"), placeOf(ys[from], "y"));
    return { stroke, fill: null, clip: null, band: null, gaps: null, flags: 1 };
  };

  const straight = uPlot.paths.linear();
  const pathsOf = (look) => {
    if (look === "points") return () => null;
    if (look !== "before" && look !== "after") return straight;
    const stepped = steps(look === "before");
    // Where several steps fall on each pixel, straight lines look alike, and uPlot draws only the ends of each pixel's.
    return (plot, series, first, last) => (last - first > 4 * plot.over.clientWidth ? straight : stepped)(plot, series, first, last);
  };

  function rulesOf(chart, panel) {
    return (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      chart.marks.forEach((marks) => marks.starts.forEach((start, i) => {
        const x = plot.valToPos(start, "x", true);
        if (marks.ends) {
          ctx.globalAlpha = 0.25;
          ctx.fillStyle = css(marks.colour);
          ctx.fillRect(x, bbox.top, Math.max(1, plot.valToPos(marks.ends[i], "x", true) - x), bbox.height);
        } else {
          ctx.globalAlpha = 0.75;
          ctx.fillStyle = css(marks.colour);
          // Many rules would make a grey area: they stand at the upper edge alone.
          ctx.fillRect(Math.round(x), bbox.top, devicePixelRatio, marks.starts.length > 60 ? 6 * devicePixelRatio : bbox.height);
        }
      }));
      ctx.globalAlpha = 1;
      ctx.strokeStyle = css("soft");
      ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
      (panel.rules || []).forEach((at) => {
        const x = plot.valToPos(at, "x", true);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
      });
      ctx.restore();
    };
  }

  function intervals(panel, data) {
    return (plot) => panel.lines.forEach((line, i) => {
      if (line.low == null || line.band || !plot.series[i + 1].show) return;
      const { ctx } = plot, xs = told.data[line.x], low = told.data[line.low], high = told.data[line.high];
      ctx.save();
      ctx.strokeStyle = css(line.colour);
      ctx.lineWidth = 1.4 * devicePixelRatio;
      ctx.setLineDash([]);
      xs.forEach((value, k) => {
        if (low[k] == null || high[k] == null) return;
        const x = plot.valToPos(value, "x", true), cap = 4 * devicePixelRatio;
        const ends = [low[k], high[k]].map((one) => plot.valToPos(one, "y", true));
        ctx.beginPath();
        ctx.moveTo(x, ends[0]); ctx.lineTo(x, ends[1]);
        ends.forEach((y) => { ctx.moveTo(x - cap, y); ctx.lineTo(x + cap, y); });
        ctx.stroke();
      });
      ctx.restore();
    });
  }

  // Words at the upper edge where a line has no value, those of several lines below one another.
  function notes(panel) {
    return (plot) => panel.lines.filter((line, i) => line.notes.length && plot.series[i + 1].show).forEach((line, number) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.textAlign = "right";
      ctx.textBaseline = "middle";
      line.notes.forEach(([at, text]) => {
        ctx.setTransform(1, 0, 0, 1, plot.valToPos(at, "x", true), bbox.top + (0.03 + 0.33 * (number % 3)) * bbox.height);
        ctx.rotate(-Math.PI / 2);
        const wide = ctx.measureText(text).width, high = 13 * devicePixelRatio;
        ctx.globalAlpha = 0.75;
        ctx.fillStyle = css("paper");
        ctx.fillRect(-wide, -high / 2, wide, high);
        ctx.globalAlpha = 1;
        ctx.fillStyle = css(line.colour);
        ctx.fillText(text, 0, 0);
      });
      ctx.restore();
    });
  }

  function bands(panel) {
    return (plot) => panel.lines.forEach((line, i) => {
      if (!line.band || !plot.series[i + 1].show) return;
      const { ctx, bbox } = plot, xs = told.data[line.x];
      const known = xs.map((_, k) => k).filter((k) => told.data[line.low][k] > 0 && told.data[line.high][k] != null);
      const edge = (values, k) => [plot.valToPos(xs[k], "x", true), plot.valToPos(told.data[values][k], "y", true)];
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      ctx.beginPath();
      known.forEach((k) => ctx.lineTo(...edge(line.low, k)));
      known.reverse().forEach((k) => ctx.lineTo(...edge(line.high, k)));
      ctx.globalAlpha = 0.25;
      ctx.fillStyle = css(line.colour);
      ctx.fill();
      ctx.restore();
    });
  }

  const colourAt = (share) => {
    const at = Math.min(1, Math.max(0, share)) * (CIVIDIS.length - 1), i = Math.min(CIVIDIS.length - 2, Math.floor(at));
    return `rgb(${CIVIDIS[i].map((from, k) => Math.round(from + (at - i) * (CIVIDIS[i + 1][k] - from))).join(",")})`;
  };

  function cells(panel) {
    const xs = told.data[panel.x_edges], ys = told.data[panel.y_edges], values = told.data[panel.values];
    const [framed, instead_of] = [panel.framed, panel.told].map((some) => new Map(some.map(([i, k, text]) => [`${i} ${k}`, text])));
    return (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      for (let i = 0; i + 1 < xs.length; i++) {
        const left = plot.valToPos(xs[i], "x", true), right = plot.valToPos(xs[i + 1], "x", true);
        for (let k = 0; k + 1 < ys.length; k++) {
          const value = values[i * (ys.length - 1) + k];
          const below = plot.valToPos(ys[k], "y", true), above = plot.valToPos(ys[k + 1], "y", true);
          const note = framed.get(`${i} ${k}`), instead = instead_of.get(`${i} ${k}`);
          if (value == null && !note && !instead) continue;
          ctx.fillStyle = colourAt(value / panel.most);
          if (value != null)
            ctx.fillRect(Math.floor(left), Math.floor(above), Math.ceil(right) - Math.floor(left), Math.ceil(below) - Math.floor(above));
          if (!panel.written) continue;
          ctx.fillStyle = value == null ? css("ink") : value / panel.most > 0.55 ? "#fff" : "#111";
          ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
          ctx.textAlign = "center";
          ctx.textBaseline = "middle";
          const lines = [instead || words(value, panel.quantity), note].filter(Boolean);
          lines.forEach((text, row) => ctx.fillText(text, (left + right) / 2,
            (above + below) / 2 + (row - (lines.length - 1) / 2) * 14 * devicePixelRatio, right - left - 4));
        }
      }
      frames(plot, panel);
      ctx.restore();
    };
  }

  function frames(plot, panel) {
    const { ctx } = plot, xs = told.data[panel.x_edges], ys = told.data[panel.y_edges];
    ctx.strokeStyle = css("vermilion");
    ctx.lineWidth = 2.5 * devicePixelRatio;
    ctx.setLineDash([]);
    panel.framed.forEach(([i, k]) => {
      const [left, right] = [xs[i], xs[i + 1]].map((at) => plot.valToPos(at, "x", true));
      const [below, above] = [ys[k], ys[k + 1]].map((at) => plot.valToPos(at, "y", true));
      const edge = 2.5 * devicePixelRatio;
      ctx.strokeRect(left + edge, above + edge, right - left - 2 * edge, below - above - 2 * edge);
    });
  }

  // The value of a line where the cursor is: of a step the one that holds there.
  const valueAt = (line, at) => {
    const xs = told.data[line.x], ys = told.data[line.y];
    let low = 0, high = xs.length;
    while (low < high) { const middle = (low + high) >> 1; if (xs[middle] < at) low = middle + 1; else high = middle; }
    if (line.look === "level") return ys[0];
    if (line.look === "before") return ys[Math.min(low, xs.length - 1)];
    if (line.look === "after") return ys[Math.max(0, xs[low] === at ? low : low - 1)];
    const near = low > 0 && (low === xs.length || at - xs[low - 1] < xs[low] - at) ? low - 1 : low;
    return ys[near];
  };
  const stateAt = (steps, at) => {
    let found = "";
    steps.x.forEach((from, i) => { if (from <= at) found = steps.states[i]; });
    return found;
  };

  function swatch(parent, line) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("width", 26); svg.setAttribute("height", 10); svg.setAttribute("aria-hidden", "true");
    if (line.look === "points") {
      const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      Object.entries({ cx: 13, cy: 5, r: 3.5, fill: `var(--${line.colour})` }).forEach(([key, value]) => dot.setAttribute(key, value));
      svg.append(dot);
      parent.append(svg);
      return;
    }
    const stroke = document.createElementNS("http://www.w3.org/2000/svg", "line");
    Object.entries({ x1: 0, x2: 26, y1: 5, y2: 5, stroke: `var(--${line.colour})`, "stroke-width": line.width || 2.5,
      "stroke-dasharray": DASHES[line.dash || 0].join(" "), "stroke-opacity": line.opacity || 1 })
      .forEach(([key, value]) => stroke.setAttribute(key, value));
    svg.append(stroke);
    parent.append(svg);
  }

  function legendOf(figure, panel, parent) {
    const list = make("ul", parent, { class: "legend" });
    panel.outputs = panel.lines.map((line, i) => {
      const button = make("button", make("li", list), { type: "button", "aria-pressed": "true", title: "show or hide" });
      swatch(button, line);
      make("span", button, {}, line.name);
      const value = make("span", button, { class: "value" });
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(shown));
        panel.plot.setSeries(i + 1, { show: shown });
      });
      return value;
    });
    if (panel !== figure.chart.panels[0]) return;
    figure.chart.marks.forEach((marks) => {
      if (!marks.starts.length) return;
      const item = make("li", list, { class: "mark" });
      swatch(item, { colour: marks.colour, width: marks.ends ? 9 : 1.5, opacity: marks.ends ? 0.4 : 1 });
      item.append(marks.name);
    });
  }

  const scaleOf = (axis, low, high) => ({
    time: false, distr: axis.log ? 3 : 1, log: 10, auto: false,
    min: low, max: high, range: (_, from, to) => [from ?? low, to ?? high],
  });

  function drawPanel(figure, panel, box) {
    const { chart } = figure, x = panel.x || chart.x, group = figure.group;
    const width = Math.max(240, box.clientWidth);
    const height = Math.round(HEIGHT * (panel.height || 1)) + (panel.shows_x ? 30 : 8);
    const isMap = panel.kind === "map";
    const lines = isMap ? [] : panel.lines;
    const data = isMap ? [told.data[panel.x_edges], told.data[panel.x_edges].map(() => null)]
      : new Set(lines.map((line) => line.x)).size === 1 ? [told.data[lines[0].x], ...lines.map((line) => told.data[line.y])]
      : uPlot.join(lines.map((line) => [told.data[line.x], told.data[line.y]]));
    const options = {
      width, height, legend: { show: false }, padding: [8, x.ticks.length ? 30 : 14, 0, 0],
      cursor: { x: true, y: isMap, points: { size: 7 }, focus: { prox: 1e6 },
        drag: { x: true, y: false, setScale: true },
        ...(chart.across > 1 ? {} : { sync: { key: group.key, setSeries: false, scales: ["x", null] } }) },
      scales: { x: scaleOf(x, panel.x_low, panel.x_high), y: scaleOf(panel.y, panel.y_low, panel.y_high) },
      axes: [{ ...axisOf(x, 2, width), ...(panel.shows_x ? {} : { size: 4, values: (_, splits) => splits.map(() => "") }) },
        axisOf(panel.y, 3, width)],
      series: [{}, ...(isMap ? [{ paths: () => null, points: { show: false } }] : lines.map((line) => ({
        label: line.name, stroke: () => css(line.colour), width: line.width || 2, dash: DASHES[line.dash || 0],
        paths: pathsOf(line.look), points: { show: Boolean(line.marked) || line.look === "points", size: 6, fill: () => css(line.colour) },
      })))],
      hooks: {
        drawAxes: isMap ? [cells(panel)] : [rulesOf(chart, panel), bands(panel)],
        draw: isMap ? [] : [intervals(panel, data), notes(panel)],
        setCursor: [(plot) => heard(figure, panel, plot)],
        setScale: [(plot, key) => { if (key === "x") zoomed(figure, plot); }],
      },
    };
    panel.plot = new uPlot(options, data, box);
    panel.plot.root.setAttribute("aria-hidden", "true");
    panel.box = box;
    group.plots.push(panel.plot);
  }

  function heard(figure, panel, plot) {
    const { left, top } = plot.cursor;
    const at = left == null || left < 0 ? null : plot.posToVal(left, "x");
    if (panel.outputs) panel.lines.forEach((line, i) => {
      panel.outputs[i].textContent = at == null ? "" : words(valueAt(line, at), panel.y.quantity);
    });
    const x = panel.x || figure.chart.x;
    const parts = at == null ? [] : [words(at, x.quantity), ...figure.chart.states.map((one) => `${one.name} ${stateAt(one, at)}`)];
    if (at != null && panel.kind === "map" && top >= 0) parts.push(cellAt(panel, at, plot.posToVal(top, "y")));
    if (at != null && panel.kind !== "map" && figure.chart.across > 1 && panel.outputs.length === 1)
      parts.push(words(valueAt(panel.lines[0], at), panel.y.quantity));
    figure.readout.textContent = parts.join(" · ");
  }

  function cellAt(panel, x, y) {
    const xs = told.data[panel.x_edges], ys = told.data[panel.y_edges];
    const i = xs.findLastIndex((edge) => edge <= x), k = ys.findLastIndex((edge) => edge <= y);
    const inside = i >= 0 && k >= 0 && i + 1 < xs.length && k + 1 < ys.length;
    if (!inside) return "";
    const [note, instead] = [panel.framed, panel.told].map((some) => (some.find(([a, b]) => a === i && b === k) || [])[2]);
    const value = instead || words(told.data[panel.values][i * (ys.length - 1) + k], panel.quantity);
    return `${panel.label} ${value}${note ? `, ${note}` : ""}`;
  }

  let passing = false;
  function zoomed(figure, plot) {
    if (passing || figure.chart.across > 1) return;
    passing = true;
    const { min, max } = plot.scales.x;
    figure.group.plots.forEach((other) => {
      if (other !== plot && (other.scales.x.min !== min || other.scales.x.max !== max)) other.setScale("x", { min, max });
    });
    passing = false;
  }

  function zoom(figure, factor, shift) {
    const plots = figure.chart.across > 1 ? figure.chart.panels.map((panel) => panel.plot) : figure.group.plots.slice(0, 1);
    plots.forEach((plot) => {
      const { full, distr } = { full: plot.full, distr: plot.scales.x.distr };
      const to = distr === 3 ? Math.log10 : (v) => v, back = distr === 3 ? (v) => 10 ** v : (v) => v;
      let [low, high] = [to(plot.scales.x.min), to(plot.scales.x.max)];
      const [least, most] = full.map(to), span = Math.min((high - low) * factor, most - least);
      const middle = (low + high) / 2 + shift * (high - low);
      low = Math.min(Math.max(middle - span / 2, least), most - span);
      plot.setScale("x", { min: back(low), max: back(low + span) });
    });
  }
  const showAll = (figure) => {
    const plots = figure.chart.across > 1 ? figure.chart.panels.map((panel) => panel.plot) : figure.group.plots;
    plots.forEach((plot) => plot.setScale("x", { min: plot.full[0], max: plot.full[1] }));
  };

  // Arrow keys move the cursor in all panels; the readout is read out.
  function keys(figure, event) {
    const acts = { "+": [0.5, 0], "=": [0.5, 0], "-": [2, 0], PageUp: [1, -0.5], PageDown: [1, 0.5] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (acts[event.key]) zoom(figure, ...acts[event.key]);
    else if (event.key === "0" || event.key === "Escape") showAll(figure);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const plots = figure.chart.across > 1 ? figure.chart.panels.map((panel) => panel.plot) : figure.group.plots;
      const width = plots[0].over.clientWidth, before = plots[0].cursor.left;
      const left = Math.min(width, Math.max(0, (before < 0 ? width / 2 : before) + (event.key === "ArrowLeft" ? -1 : 1) * width / 60));
      plots.forEach((plot) => plot.setCursor({ left: left / width * plot.over.clientWidth, top: 10 }));
      figure.live.textContent = [figure.readout.textContent, ...figure.chart.panels.flatMap((panel) =>
        (panel.outputs || []).map((output, i) => `${panel.lines[i].name} ${output.textContent}`))].join(", ");
    } else return;
    event.preventDefault();
  }

  function save(figure) {
    const quoted = (text) => `"${String(text).replace(/"/g, '""')}"`;
    const rows = ["panel,line,x,y"];
    figure.chart.panels.forEach((panel) => (panel.lines || []).forEach((line) => {
      const xs = told.data[line.x], ys = told.data[line.y];
      xs.forEach((x, i) => rows.push([quoted(panel.title || panel.y.label), quoted(line.name), x, ys[i] ?? ""].join(",")));
    }));
    figure.chart.panels.filter((panel) => panel.kind === "map").forEach((panel) => {
      const xs = told.data[panel.x_edges], ys = told.data[panel.y_edges], values = told.data[panel.values];
      for (let i = 0; i + 1 < xs.length; i++) for (let k = 0; k + 1 < ys.length; k++)
        rows.push([quoted(panel.title), quoted(`from ${ys[k]}`), xs[i], values[i * (ys.length - 1) + k] ?? ""].join(","));
    });
    const link = make("a", document.body, { href: URL.createObjectURL(new Blob([rows.join("\n") + "\n"], { type: "text/csv" })),
      download: `${figure.chart.name}.csv` });
    link.click();
    link.remove();
  }

  function draw(node) {
    const chart = told.charts[node.dataset.chart];
    const key = chart.group || chart.name;
    if (!groups.has(key)) groups.set(key, { key, plots: [] });
    const figure = { chart, node, group: groups.get(key) };
    const tools = make("div", node, { class: "tools" });
    [["−", "zoom out", () => zoom(figure, 2, 0)], ["+", "zoom in", () => zoom(figure, 0.5, 0)],
      ["◀", "earlier", () => zoom(figure, 1, -0.5)], ["▶", "later", () => zoom(figure, 1, 0.5)],
      ["all", "show all", () => showAll(figure)], ["CSV", "save the data of this chart as CSV", () => save(figure)]]
      .forEach(([text, label, act]) => make("button", tools, { type: "button", "aria-label": label, title: label }, text)
        .addEventListener("click", act));
    figure.readout = make("span", tools, { class: "readout" });
    figure.live = make("div", node, { class: "skip", "aria-live": "polite" });
    const plots = make("div", node, { class: chart.across > 1 ? "plots across" : "plots", tabindex: "0", role: "group",
      "aria-label": `${chart.title}. Arrow keys move the cursor, plus and minus zoom, 0 shows all.` });
    plots.addEventListener("keydown", (event) => keys(figure, event));
    chart.panels.forEach((panel) => {
      const cell = make("div", plots);
      if (panel.title) make("p", cell, { class: "panel-title" }, panel.title);
      if (panel.y.label !== panel.title) make("p", cell, { class: "axis-label" }, panel.y.label);
      if (panel.kind !== "map") legendOf(figure, panel, cell);
      drawPanel(figure, panel, make("div", cell));
      panel.plot.full = [panel.x_low, panel.x_high];
      if (panel.shows_x) make("p", cell, { class: "axis-label below" }, (panel.x || chart.x).label);
      if (panel.kind === "map") {
        const legend = make("p", cell, { class: "key" });
        make("span", legend, {}, `${panel.label}: 0`); make("i", legend); make("span", legend, {}, words(panel.most, panel.quantity));
      }
    });
    figures.push(figure);
  }

  const each = (act) => figures.forEach((figure) => figure.chart.panels.forEach((panel) => act(panel)));
  const fit = (most = Infinity) => each((panel) => panel.plot.setSize(
    { width: Math.min(most, Math.max(240, panel.box.clientWidth)), height: panel.plot.height }));
  const redraw = () => each((panel) => panel.plot.redraw(false));

  function copying() {
    document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.of).textContent;
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        const range = document.createRange();
        range.selectNodeContents(document.getElementById(button.dataset.of));
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        document.execCommand("copy");
      }
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    }));
  }

  async function start() {
    copying();
    told = await read();
    document.querySelectorAll("[data-chart]").forEach(draw);
    let waiting = 0;
    addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(() => fit()); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    addEventListener("beforeprint", () => { document.documentElement.dataset.theme = "light"; fit(690); redraw(); });
    addEventListener("afterprint", () => { delete document.documentElement.dataset.theme; fit(); redraw(); });
    window.hostsimReport = { figures, groups, words };
    document.documentElement.dataset.drawn = "yes";
  }
  start();
})();
