/** A canvas that shows a part of the plane, as sharp as the screen. */

import { h } from "./dom.ts";

export type Bounds = [number, number, number, number];

export class View {
  readonly canvas: HTMLCanvasElement;
  readonly context: CanvasRenderingContext2D;
  /** Its size in CSS pixels. */
  width = 0;
  height = 0;
  bounds: Bounds;
  draw: (view: View) => void = () => {};
  private asked = 0;

  constructor(bounds: Bounds, attributes: Record<string, string | number> = {}) {
    this.bounds = bounds;
    this.canvas = h("canvas", attributes);
    this.context = this.canvas.getContext("2d")!;
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  /** Draws before the next frame, once, however often it is asked. */
  refresh(): void {
    cancelAnimationFrame(this.asked);
    this.asked = requestAnimationFrame(() => this.now());
  }

  x(value: number): number {
    const [low, high] = this.bounds;
    return ((value - low) / (high - low)) * this.width;
  }

  y(value: number): number {
    const [, , low, high] = this.bounds;
    return ((high - value) / (high - low)) * this.height;
  }

  /** The point of the plane where a pointer is, kept inside. */
  at(event: { clientX: number; clientY: number }): [number, number] {
    const box = this.canvas.getBoundingClientRect();
    const [xmin, xmax, ymin, ymax] = this.bounds;
    const share = (value: number) => Math.min(Math.max(value, 0), 1);
    return [
      xmin + share((event.clientX - box.left) / box.width) * (xmax - xmin),
      ymax - share((event.clientY - box.top) / box.height) * (ymax - ymin),
    ];
  }

  /** Points as dots; `points` holds x and y in turn. */
  dots(points: ArrayLike<number>, size: number, fill: string, alpha = 1): void {
    const { context } = this;
    // Many points on a small canvas would hide what is below them.
    const radius = size * Math.min(Math.max(this.width / 420, 0.5), 1);
    context.fillStyle = fill;
    context.globalAlpha = alpha;
    context.beginPath();
    for (let i = 0; i < points.length; i += 2) {
      const [x, y] = [this.x(points[i]), this.y(points[i + 1])];
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 2 * Math.PI);
    }
    context.fill();
    context.globalAlpha = 1;
  }

  private resize(): void {
    const { clientWidth, clientHeight } = this.canvas;
    const ratio = window.devicePixelRatio || 1;
    this.width = clientWidth;
    this.height = clientHeight;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    this.now();
  }

  private now(): void {
    if (!this.width) return;
    const ratio = this.canvas.width / this.width;
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.clearRect(0, 0, this.width, this.height);
    this.draw(this);
  }
}

/** A handle that pointers and arrow keys drag across a view. */
export function draggable(view: View, place: () => ArrayLike<number>, move: (to: [number, number]) => void): void {
  const { canvas } = view;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    move(view.at(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) move(view.at(event));
  });
  canvas.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 1;
    const [dx, dy] = ARROWS[event.key] ?? [0, 0];
    if (!dx && !dy) return;
    event.preventDefault();
    const [xmin, xmax, ymin, ymax] = view.bounds;
    const [x, y] = Array.from(place());
    move([
      Math.min(Math.max(x + (dx * step * (xmax - xmin)) / 200, xmin), xmax),
      Math.min(Math.max(y + (dy * step * (ymax - ymin)) / 200, ymin), ymax),
    ]);
  });
}

export const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};
