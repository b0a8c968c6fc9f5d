// The time of every block as a line; recaches are marked, the pace is a dashed line.
"use strict";

class Plot {
  constructor(canvas) {
    this.canvas = canvas;
    this.points = []; // {frame, ms, recache}
  }

  add(point) {
    this.points.push(point);
    if (this.points.length > 240) this.points.shift();
  }

  draw(paceMs) {
    const { canvas, points } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const g = canvas.getContext("2d");
    g.scale(ratio, ratio);
    const style = getComputedStyle(document.body);
    const ink = style.color, ring = style.getPropertyValue("--ring"), sink = style.getPropertyValue("--sink");
    const left = 60, bottom = 20, top = 6;
    const most = Math.max(paceMs, ...points.map(p => p.ms)) * 1.1 || 1;
    const y = ms => height - bottom - (ms / most) * (height - bottom - top);
    const x = i => left + (i + 0.5) * (width - left) / 240;
    g.font = "12px system-ui, sans-serif";
    g.fillStyle = ink;
    g.textAlign = "right";
    for (const ms of [0, most / 2.2, most / 1.1])
      g.fillText(ms.toFixed(ms < 10 ? 1 : 0) + " ms", left - 4, y(ms) + 4);
    g.strokeStyle = ink;
    g.globalAlpha = 0.5;
    g.setLineDash([4, 4]);
    g.beginPath();
    g.moveTo(left, y(paceMs));
    g.lineTo(width, y(paceMs));
    g.stroke();
    g.setLineDash([]);
    g.globalAlpha = 1;
    points.forEach((p, i) => {
      if (!p.recache) return;
      g.fillStyle = sink;
      g.fillRect(x(i) - 1, top, 2, height - bottom - top);
      g.textAlign = x(i) > width - 60 ? "right" : "left";
      g.fillText("recache", x(i) + (x(i) > width - 60 ? -4 : 4), top + 10);
    });
    g.strokeStyle = ring;
    g.lineWidth = 1.5;
    g.beginPath();
    points.forEach((p, i) => (i ? g.lineTo(x(i), y(p.ms)) : g.moveTo(x(i), y(p.ms))));
    g.stroke();
    if (points.length) {
      g.fillStyle = ink;
      g.textAlign = "left";
      g.fillText("frame " + points[0].frame, left, height - 5);
      g.textAlign = "right";
      g.fillText(String(points[points.length - 1].frame), x(points.length - 1), height - 5);
    }
    canvas.setAttribute("aria-label", points.length
      ? `time per block, last ${points[points.length - 1].ms.toFixed(0)} milliseconds`
      : "time per block");
  }
}
