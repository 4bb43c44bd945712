/** Pictures of the fixed-point inverse: the residuals of all blocks, and the path of one. */

import { colour } from "../ui/colour.ts";
import { h, slider } from "../ui/dom.ts";
import { fixed, small } from "../ui/format.ts";
import { View } from "../ui/view.ts";
import type { Path } from "./inverse.ts";
import type { PlaneFlow } from "./flow.ts";

export class Residuals {
  readonly element: HTMLElement;
  private readonly flow: PlaneFlow;
  private readonly chart: View;
  private readonly path: View;
  private readonly words = h("p", { class: "quiet", "aria-live": "polite" });
  private readonly slide: ReturnType<typeof slider>;
  private paths: Path[] = [];
  private block = 0;

  constructor(flow: PlaneFlow) {
    this.flow = flow;
    const blocks = flow.opened.entry.blocks.length;
    this.chart = new View([0, 1, 0, 1], {
      class: "chart",
      role: "img",
      "aria-label": "Residuals of the fixed-point inverse by iteration, a line for every block.",
      "data-view": "residuals",
    });
    this.path = new View([0, 1, 0, 1], {
      class: "square small",
      role: "img",
      "aria-label": "The iterates of the fixed-point inverse of one block on the plane.",
      "data-view": "path",
    });
    this.chart.draw = () => this.drawChart();
    this.path.draw = () => this.drawPath();
    this.slide = slider(
      "block",
      { min: 1, max: blocks, step: 1, value: blocks },
      (value) => `${value} of ${blocks}`,
      (value) => this.choose(value - 1),
    );
    this.block = blocks - 1;
    this.element = h(
      "div",
      { class: "residuals" },
      h("figure", {}, this.chart.canvas, h("figcaption", {}, "residual by iteration, all blocks")),
      h("figure", {}, this.path.canvas, h("figcaption", {}, "the path of this block on the plane")),
      h("div", { class: "row wide" }, this.slide.element),
      this.words,
    );
  }

  choose(block: number): void {
    this.block = block;
    this.slide.set(block + 1);
    this.refresh();
  }

  show(paths: Path[]): void {
    this.paths = paths;
    this.refresh();
  }

  refresh(): void {
    this.chart.refresh();
    this.path.refresh();
    const path = this.paths[this.block];
    if (!path) return;
    const { residuals } = path;
    const rate = observedRate(residuals);
    const bound = this.flow.opened.entry.bounds_of_blocks[this.block];
    this.words.textContent =
      `Block ${this.block + 1}: ${residuals.length} iterations to a residual of ` +
      `${small(residuals.at(-1) ?? 0)}${path.converged ? "" : ", not converged"}` +
      `${rate === null ? "" : `; each shrinks it to ${fixed(rate, 2)} of the last on average`}, ` +
      `and by the certified Lipschitz bound to at most ${fixed(bound, 3)} in the norm.`;
  }

  private drawChart(): void {
    const { chart, paths } = this;
    const { context } = chart;
    if (!paths.length) return;
    const most = Math.max(...paths.map((path) => path.residuals.length), 2);
    const [left, bottom, top, right] = [44, 26, 8, 10];
    const [width, height] = [chart.width - left - right, chart.height - top - bottom];
    const floor = -7;
    const x = (i: number) => left + ((i - 1) / (most - 1)) * width;
    const y = (value: number) =>
      top + (Math.min(Math.max(1 - Math.log10(Math.max(value, 1e-30)), 0), 1 - floor) / (1 - floor)) * height;
    context.font = `12px ${colour("font")}`;
    context.fillStyle = colour("quiet");
    context.strokeStyle = colour("rule");
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (let power = 0; power >= floor; power -= 2) {
      const at = Math.round(y(10 ** power)) + 0.5;
      context.beginPath();
      context.moveTo(left, at);
      context.lineTo(left + width, at);
      context.stroke();
      context.fillText(power === 0 ? "1" : `10${superscript(power)}`, left - 7, at);
    }
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    for (const i of ticks(most)) context.fillText(String(i), x(i), chart.height - 8);
    const line = (path: Path) => {
      context.beginPath();
      path.residuals.forEach((value, i) => context.lineTo(x(i + 1), y(value)));
      context.stroke();
    };
    context.strokeStyle = colour("faint");
    context.lineWidth = 1.25;
    paths.forEach((path, k) => k !== this.block && line(path));
    context.strokeStyle = colour("accent");
    context.lineWidth = 2.5;
    const path = paths[this.block];
    line(path);
    context.setLineDash([4, 4]);
    context.lineWidth = 1;
    context.strokeStyle = colour("data");
    context.beginPath();
    context.moveTo(left, y(path.tolerance));
    context.lineTo(left + width, y(path.tolerance));
    context.stroke();
    context.setLineDash([]);
    context.textAlign = "right";
    context.fillStyle = colour("data-text");
    context.fillText("tolerance", left + width, y(path.tolerance) - 6);
  }

  private drawPath(): void {
    const { path: view } = this;
    const path = this.paths[this.block];
    if (!path) return;
    const { points } = path;
    const xs = points.filter((_, i) => i % 2 === 0);
    const ys = points.filter((_, i) => i % 2 === 1);
    const half = 0.62 * Math.max(span(xs), span(ys), 1e-6);
    const [cx, cy] = [middle(xs), middle(ys)];
    view.bounds = [cx - half, cx + half, cy - half, cy + half];
    const { context } = view;
    context.fillStyle = colour("plot");
    context.fillRect(0, 0, view.width, view.height);
    context.beginPath();
    for (let i = 0; i < xs.length; i += 1) context.lineTo(view.x(xs[i]), view.y(ys[i]));
    context.strokeStyle = colour("accent");
    context.lineWidth = 1.5;
    context.stroke();
    view.dots(points, 2.6, colour("accent"));
    const label = (i: number, text: string) => {
      view.dots([xs[i], ys[i]], 4.5, colour("ink"));
      context.font = `600 12px ${colour("font")}`;
      context.textBaseline = "middle";
      const right = view.x(xs[i]) < view.width - 70;
      context.textAlign = right ? "left" : "right";
      context.lineWidth = 4;
      context.strokeStyle = colour("plot");
      context.lineJoin = "round";
      const at: [number, number] = [view.x(xs[i]) + (right ? 9 : -9), view.y(ys[i])];
      context.strokeText(text, ...at);
      context.fillStyle = colour("ink");
      context.fillText(text, ...at);
    };
    label(0, "start");
    label(xs.length - 1, "solution");
  }
}

/** The mean factor from a residual to the next, in the logarithm; null of too few. */
function observedRate(residuals: number[]): number | null {
  const [first, last] = [residuals[0], residuals.at(-1)!];
  if (residuals.length < 3 || !(first > 0) || !(last > 0)) return null;
  return (last / first) ** (1 / (residuals.length - 1));
}

function superscript(value: number): string {
  return String(value).replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(c)]));
}

function ticks(most: number): number[] {
  const step = [1, 2, 5, 10, 20, 50, 100, 200].find((s) => most / s <= 6) ?? 500;
  const made = [1];
  for (let i = step; i <= most; i += step) if (i > 1 && (i - 1) / (most - 1) > 0.06) made.push(i);
  return made;
}

function span(values: number[]): number {
  return Math.max(...values) - Math.min(...values);
}

function middle(values: number[]): number {
  return (Math.max(...values) + Math.min(...values)) / 2;
}
