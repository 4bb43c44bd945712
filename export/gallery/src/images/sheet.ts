/** A sheet to draw on: by mouse or touch in strokes, by keyboard pixel by pixel. */

import { colour } from "../ui/colour.ts";
import type { Size } from "../types.ts";
import { h, uniqueId } from "../ui/dom.ts";
import { ARROWS } from "../ui/view.ts";
import { pixelColours } from "./picture.ts";

/** The width of a stroke, as a part of the sheet. */
const STROKE = 0.1;

export class Sheet {
  readonly canvas: HTMLCanvasElement;
  /** The choice of a colour to draw with; null of a grey sheet. */
  readonly brush: HTMLElement | null = null;
  /** What is drawn, on black: grey levels in all three channels. */
  private readonly ink: HTMLCanvasElement;
  private readonly context: CanvasRenderingContext2D;
  private readonly size: Size;
  private readonly highest: number;
  private readonly cell: number;
  private cursor: [number, number] | null = null;
  private last: [number, number] | null = null;
  private pen = "#ffffff";
  onChange: () => void = () => {};

  constructor(size: Size, highest: number) {
    this.size = size;
    this.highest = highest;
    this.cell = Math.max(Math.floor(448 / Math.max(size[0], size[1])), 4);
    const [height, width] = [size[0] * this.cell, size[1] * this.cell];
    this.ink = h("canvas", { width, height });
    this.context = this.ink.getContext("2d", { willReadFrequently: true })!;
    this.canvas = h("canvas", {
      width,
      height,
      tabindex: 0,
      class: "sheet",
      role: "application",
      "aria-label":
        "Sheet to draw on. Arrow keys move, Space or Enter paints a pixel, Backspace clears it.",
    });
    this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.go(event));
    this.canvas.addEventListener("pointerup", () => (this.last = null));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("blur", () => this.show(null));
    if (size[2] === 3) this.brush = this.choice();
    this.clear();
  }

  private choice(): HTMLElement {
    const id = uniqueId("brush");
    this.pen = "#e8a33d";
    const input = h("input", {
      id,
      type: "color",
      value: this.pen,
      oninput: () => (this.pen = input.value),
    });
    return h("div", { class: "field" }, h("label", { for: id }, "Draw in"), input);
  }

  /** The drawing in the levels of the flow: the mean of every pixel's part of the sheet. */
  levels(): Float32Array {
    const [height, width, channels] = this.size;
    const { data } = this.context.getImageData(0, 0, this.ink.width, this.ink.height);
    const made = new Float32Array(height * width * channels);
    for (let y = 0; y < this.ink.height; y += 1) {
      for (let x = 0; x < this.ink.width; x += 1) {
        const at = Math.floor(y / this.cell) * width + Math.floor(x / this.cell);
        const from = 4 * (y * this.ink.width + x);
        for (let c = 0; c < channels; c += 1) made[channels * at + c] += data[from + c] / 255;
      }
    }
    return made.map((sum) => Math.round((sum / this.cell ** 2) * this.highest));
  }

  load(values: ArrayLike<number>): void {
    const [height, width, channels] = this.size;
    for (let i = 0; i < height * width; i += 1) {
      const parts = [0, 1, 2].map((c) => values[channels * i + (channels === 3 ? c : 0)] / this.highest);
      this.fill(this.place(i), `rgb(${parts.map((part) => 255 * part).join(" ")})`);
    }
    this.changed();
  }

  clear(): void {
    this.load(new Float32Array(this.size.reduce((a, b) => a * b)));
  }

  /** Shows what the flow sees: the pixels, and the cursor of the keyboard. */
  paint(): void {
    const context = this.canvas.getContext("2d")!;
    const { width, height } = this.canvas;
    context.clearRect(0, 0, width, height);
    const shown = pixelColours({ values: this.levels(), size: this.size, highest: this.highest });
    for (let i = 0; i < this.size[0] * this.size[1]; i += 1) {
      context.fillStyle = `rgb(${shown(i).join(" ")})`;
      context.fillRect(...this.box(this.place(i)));
    }
    if (this.cursor) {
      context.strokeStyle = colour("accent");
      context.lineWidth = 3;
      const [x, y, w, tall] = this.box(this.cursor);
      context.strokeRect(x + 1.5, y + 1.5, w - 3, tall - 3);
    }
  }

  private place(i: number): [number, number] {
    return [i % this.size[1], Math.floor(i / this.size[1])];
  }

  private box([column, row]: [number, number]): [number, number, number, number] {
    return [column * this.cell, row * this.cell, this.cell, this.cell];
  }

  private fill(place: [number, number], style: string): void {
    this.context.fillStyle = style;
    this.context.fillRect(...this.box(place));
  }

  private changed(): void {
    this.paint();
    this.onChange();
  }

  private show(cursor: [number, number] | null): void {
    this.cursor = cursor;
    this.paint();
  }

  private at(event: PointerEvent): [number, number] {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.ink.width,
      ((event.clientY - box.top) / box.height) * this.ink.height,
    ];
  }

  private begin(event: PointerEvent): void {
    this.canvas.setPointerCapture(event.pointerId);
    this.cursor = null;
    this.last = this.at(event);
    this.go(event);
  }

  private go(event: PointerEvent): void {
    if (!this.last) return;
    const to = this.at(event);
    const { context } = this;
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = this.pen;
    context.lineWidth = STROKE * this.ink.width;
    context.beginPath();
    context.moveTo(...this.last);
    context.lineTo(to[0] + 0.01, to[1]);
    context.stroke();
    this.last = to;
    this.changed();
  }

  private key(event: KeyboardEvent): void {
    const [height, width] = this.size;
    const place = this.cursor ?? [Math.floor(width / 2), Math.floor(height / 2)];
    const step = ARROWS[event.key];
    if (step) {
      const column = Math.min(Math.max(place[0] + step[0], 0), width - 1);
      const row = Math.min(Math.max(place[1] - step[1], 0), height - 1);
      this.show([column, row]);
    } else if (event.key === " " || event.key === "Enter") {
      this.cursor = place;
      this.fill(place, this.pen);
      this.changed();
    } else if (event.key === "Backspace" || event.key === "Delete") {
      this.cursor = place;
      this.fill(place, "#000000");
      this.changed();
    } else return;
    event.preventDefault();
  }
}
