/** A flow on images: pictures through its graphs. */

import type { ImageEntry, Tensors } from "../types.ts";
import type { Opened } from "../ui/entry.ts";
import type { Random } from "../ui/random.ts";

export interface Score {
  logProb: number;
  bitsPerDim: number;
  /** The share of test images with a lower log_prob; null where their scores are not at hand. */
  percentile: number | null;
  pValue: number | null;
  flag: boolean | null;
  /** The probabilities of the labels by Bayes' rule, all as probable before; null without labels. */
  labels: number[] | null;
  /** The label that the flow was given. */
  given: number;
}

/** Of how many labels the probabilities are worked out: the image is scored once for each. */
const MOST_LABELS = 20;

export class ImageFlow {
  readonly opened: Opened<ImageEntry>;
  /** The label that the flow is given, where it takes one. */
  label = 0;

  constructor(opened: Opened<ImageEntry>) {
    this.opened = opened;
  }

  /** How many numbers an image has. */
  get numbers(): number {
    return this.opened.entry.size.reduce((a, b) => a * b);
  }

  async score(image: ArrayLike<number>, urgent = true): Promise<Score> {
    const { entry, scoring } = this.opened;
    // Once for each label, or once.
    const all = entry.labels !== null && entry.labels <= MOST_LABELS;
    const n = all ? entry.labels! : 1;
    const given = this.label;
    const place = all ? given : 0;
    const data = new Float32Array(n * this.numbers);
    for (let i = 0; i < n; i += 1) data.set(image, i * this.numbers);
    const labels = all ? Array.from({ length: n }, (_, i) => i) : [given];
    const x = { data, dims: [n, ...entry.size] };
    const made = await this.opened.run(scoring, { x, ...this.context(labels) }, urgent);
    const logProb = made.log_prob.data[place];
    return {
      logProb,
      bitsPerDim: -logProb / (this.numbers * Math.LN2),
      percentile: entry.scores && entry.scores.filter((s) => s < logProb).length / entry.scores.length,
      pValue: made.p_value ? made.p_value.data[place] : null,
      flag: made.flag ? made.flag.data[place] === 1 : null,
      given,
      labels: all ? softmax(Array.from(made.log_prob.data)) : null,
    };
  }

  /** The latent of an image; noise is drawn where encoding takes some. */
  async encode(image: ArrayLike<number>, random: Random): Promise<Float32Array> {
    const inputs: Tensors = {
      x: { data: Float32Array.from(image), dims: [1, ...this.opened.entry.size] },
      ...this.context([this.label]),
      ...this.noise("encode", (n) => random.normal(n)),
    };
    return (await this.opened.run("encode", inputs)).z.data as Float32Array;
  }

  /** The image that a latent is decoded to, with noise of the given deviation. */
  async decode(z: Float32Array, noise: (n: number) => Float32Array): Promise<Float32Array> {
    const inputs: Tensors = {
      z: { data: z, dims: [1, ...this.shape("decode", "z")] },
      ...this.context([this.label]),
      ...this.noise("decode", noise),
    };
    const { x } = await this.opened.run("decode", inputs);
    if (!x.data.every(Number.isFinite)) {
      throw new Error("The inverse did not converge for one of the latents: it has no image.");
    }
    return x.data as Float32Array;
  }

  async sample(temperature: number, random: Random): Promise<Float32Array> {
    const e = random[this.opened.entry.base.kind](this.latentSize);
    const z = e.map((value, i) => this.location(i) + temperature * this.scale(i) * value);
    return this.decode(z, (n) => random.normal(n, temperature));
  }

  /**
   * The path between two latents at t, on a sphere around the mode of the base density:
   * `(sin((1 - t) w) a + sin(t w) b) / sin w` with w the angle between a and b.
   */
  between(first: Float32Array, second: Float32Array, t: number): Float32Array {
    const a = Array.from(first, (value, i) => value - this.location(i));
    const b = Array.from(second, (value, i) => value - this.location(i));
    const dot = (u: number[], v: number[]) => u.reduce((sum, value, i) => sum + value * v[i], 0);
    const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b) || 1);
    const angle = Math.acos(Math.min(Math.max(cosine, -1), 1));
    const straight = Math.sin(angle) < 1e-6;
    const start = straight ? 1 - t : Math.sin((1 - t) * angle) / Math.sin(angle);
    const end = straight ? t : Math.sin(t * angle) / Math.sin(angle);
    return Float32Array.from(a, (value, i) => this.location(i) + start * value + end * b[i]);
  }

  /** Numbers of noise that decoding consumes; 0 where it draws none. */
  get decodeNoise(): number {
    return this.size("decode", "noise");
  }

  private get latentSize(): number {
    return this.size("decode", "z");
  }

  private location(i: number): number {
    return this.opened.entry.base.location?.[i] ?? 0;
  }

  private scale(i: number): number {
    return this.opened.entry.base.scale?.[i] ?? 1;
  }

  private context(labels: number[]): Tensors {
    if (this.opened.entry.labels === null) return {};
    return { context: { data: Int32Array.from(labels), dims: [labels.length] } };
  }

  private shape(graph: string, input: string): number[] {
    const info = this.opened.manifest.graphs[graph].inputs.find(({ name }) => name === input);
    return info ? info.shape.slice(1).map(Number) : [];
  }

  private size(graph: string, input: string): number {
    const shape = this.shape(graph, input);
    return shape.length ? shape.reduce((a, b) => a * b, 1) : 0;
  }

  private noise(graph: string, draw: (n: number) => Float32Array): Tensors {
    const n = this.size(graph, "noise");
    return n ? { noise: { data: draw(n), dims: [1, n] } } : {};
  }
}

function softmax(logs: number[]): number[] {
  const most = Math.max(...logs);
  const parts = logs.map((log) => Math.exp(log - most));
  const sum = parts.reduce((a, b) => a + b, 0);
  return parts.map((part) => part / sum);
}
