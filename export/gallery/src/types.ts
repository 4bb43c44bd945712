/** What `keras-flows gallery` writes: the index, the entries, and the manifest of an export. */

export type PanelName = "plane" | "images" | "tables";

export interface Summary {
  name: string;
  panel: PanelName;
  summary: string;
  model: string;
  parameters: number;
  calibrated: boolean;
  /** What loading and running the first graph took in Python. */
  first_ms: number;
}

export interface Index {
  format: number;
  keras_flows: string;
  entries: Summary[];
}

export interface Test {
  nll: number;
  standard_error: number;
  examples: number;
  bits_per_dim: number | null;
  data: string;
}

export interface Calibration {
  scores: number;
  statistic: string;
  data: string;
  smallest_p_value: number;
}

export interface Entry extends Summary {
  format: number;
  likelihood: "exact" | "unbiased" | "lower_bound" | "biased";
  data: string | null;
  test: Test | null;
  licence: string;
  data_licence: string | null;
  missing: string | null;
}

export interface PlaneEntry extends Entry {
  bounds: [number, number, number, number];
  points: [number, number][] | null;
  points_are: string | null;
  steps: string[];
  blocks: number[];
  bounds_of_blocks: number[];
  eta: [number, number][][] | null;
}

/** Height, width and channels, 1 of grey images and 3 of red, green and blue. */
export type Size = [number, number, number];

export interface ImageEntry extends Entry {
  size: Size;
  levels: number;
  highest: number;
  images: number[][];
  /** The base density: location and scale of every number of a latent, null of the standard one. */
  base: { kind: "normal" | "logistic"; location: number[] | null; scale: number[] | null };
  /** How many labels the flow may be given, those from 0; null of a flow without. */
  labels: number | null;
  labels_of_images: number[] | null;
  images_are: string;
  scores: number[] | null;
  calibration: Calibration | null;
}

export interface TableEntry extends Entry {
  rows: Record<string, number | string>[];
  replacements: number[][] | null;
  calibration: Calibration | null;
}

export interface TensorInfo {
  name: string;
  shape: (number | string)[];
  dtype: string;
}

export interface GraphInfo {
  name: string;
  inputs: TensorInfo[];
  outputs: TensorInfo[];
  cost: { bytes: number; nodes: number; load_ms: number; latency_ms: number };
}

export interface Kind {
  kind: "real" | "positive" | "interval" | "periodic" | "integer" | "category";
  low?: number;
  high?: number;
  period?: number;
  levels?: string[];
}

export interface Column {
  name: string;
  kind: Kind;
  context: boolean;
}

export interface Manifest {
  likelihood: Entry["likelihood"];
  note: string | null;
  noise_seed: number | null;
  columns: Column[] | null;
  alpha: number | null;
  integers: boolean;
  levels: number | null;
  graphs: Record<string, GraphInfo>;
  inverse: { tolerance: number; max_iterations: number } | null;
  parity: { check: string; measured: number; tolerance: number }[];
}

/** An array of numbers with its shape; the first axis is that of the examples. */
export interface Tensor {
  data: Float32Array | Float64Array | Int32Array | Uint8Array;
  dims: number[];
}

export type Tensors = Record<string, Tensor>;
