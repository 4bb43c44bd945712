/** The warped grid: where every block takes a grid of lines, and the data with it. */

import { colour } from "../ui/colour.ts";
import { h, slider } from "../ui/dom.ts";
import { type Bounds, View } from "../ui/view.ts";
import { circles, LATENT } from "./density.ts";
import type { Batch, PlaneFlow } from "./flow.ts";

const LINES = 19;
const POINTS = 64;

export class Warp {
  readonly element: HTMLElement;
  readonly view: View;
  private readonly flow: PlaneFlow;
  private at = 0;
  private grid: { x: Float32Array; batch: Batch } | null = null;
  private data: Batch | null = null;
  private playing = 0;
  private readonly slide: ReturnType<typeof slider>;
  private readonly play: HTMLButtonElement;
  onStep: (step: number) => void = () => {};

  constructor(flow: PlaneFlow) {
    this.flow = flow;
    const { steps } = flow;
    this.view = new View(flow.opened.entry.bounds, {
      class: "square",
      role: "img",
      "aria-label": "A grid of lines over the data, as the steps of the flow warp it.",
      "data-view": "warp",
    });
    this.view.draw = () => this.draw();
    this.slide = slider(
      "step",
      { min: 0, max: steps, step: 0.02, value: 0 },
      (value) =>
        value === 0 ? "data" : value >= steps ? `latent, after ${steps}` : `after ${value.toFixed(1)} of ${steps}`,
      (value) => {
        this.pause();
        this.set(value);
      },
    );
    this.play = h("button", { onclick: () => (this.playing ? this.pause() : this.start()) }, "Play");
    this.element = h(
      "div",
      { class: "warp" },
      this.view.canvas,
      h("div", { class: "row" }, this.play, this.slide.element),
    );
  }

  /** Computes where the lines go; the data's way is known already. */
  async compute(data: Batch | null, stop: () => boolean): Promise<void> {
    this.data = data;
    const [xmin, xmax, ymin, ymax] = this.view.bounds;
    const x: number[] = [];
    for (let line = 0; line < LINES; line += 1) {
      const share = line / (LINES - 1);
      for (let i = 0; i < POINTS; i += 1) {
        x.push(xmin + share * (xmax - xmin), ymin + (i / (POINTS - 1)) * (ymax - ymin));
      }
    }
    for (let line = 0; line < LINES; line += 1) {
      const share = line / (LINES - 1);
      for (let i = 0; i < POINTS; i += 1) {
        x.push(xmin + (i / (POINTS - 1)) * (xmax - xmin), ymin + share * (ymax - ymin));
      }
    }
    const grid = Float32Array.from(x);
    const batch = await this.flow.all(grid, stop);
    if (!batch) return;
    this.grid = { x: grid, batch };
    this.view.refresh();
  }

  set(value: number): void {
    this.at = value;
    this.slide.set(value);
    this.view.refresh();
    this.onStep(Math.ceil(value));
  }

  pause(): void {
    cancelAnimationFrame(this.playing);
    this.playing = 0;
    this.play.textContent = "Play";
  }

  private start(): void {
    this.play.textContent = "Pause";
    const { steps } = this.flow;
    const from = this.at >= steps ? 0 : this.at;
    const begun = performance.now();
    const frame = (now: number) => {
      const value = Math.min(from + (now - begun) / 700, steps);
      this.set(value);
      if (value < steps) this.playing = requestAnimationFrame(frame);
      else this.pause();
    };
    this.playing = requestAnimationFrame(frame);
  }

  /** Points between two steps: of a residual block `x + t g(x)`, a bijection for every t in [0, 1]. */
  private between(x: Float32Array, states: Float32Array): Float32Array {
    const { steps } = this.flow;
    const step = Math.min(Math.floor(this.at), steps - 1);
    const t = this.at - step;
    const n = x.length / 2;
    const made = new Float32Array(2 * n);
    for (let i = 0; i < n; i += 1) {
      for (let j = 0; j < 2; j += 1) {
        const before = step ? states[2 * (i * steps + step - 1) + j] : x[2 * i + j];
        made[2 * i + j] = before + t * (states[2 * (i * steps + step) + j] - before);
      }
    }
    return made;
  }

  private draw(): void {
    const { view, grid, data } = this;
    const { entry } = this.flow.opened;
    const share = this.at / this.flow.steps;
    view.bounds = entry.bounds.map((b, i) => b + share * (LATENT[i] - b)) as Bounds;
    const { context } = view;
    context.fillStyle = colour("plot");
    context.fillRect(0, 0, view.width, view.height);
    if (share > 0.75) circles(view, 2 * (share - 0.75));
    if (grid) {
      const warped = this.between(grid.x, grid.batch.states);
      for (let line = 0; line < 2 * LINES; line += 1) {
        context.beginPath();
        for (let i = 0; i < POINTS; i += 1) {
          const at = 2 * (line * POINTS + i);
          context.lineTo(view.x(warped[at]), view.y(warped[at + 1]));
        }
        context.strokeStyle = colour(line < LINES ? "warp-x" : "warp-y");
        context.lineWidth = 1;
        context.stroke();
      }
    }
    if (data && entry.points) {
      view.dots(this.between(Float32Array.from(entry.points.flat()), data.states), 1.4, colour("data"), 0.7);
    }
  }
}
