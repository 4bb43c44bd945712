/** Standard normal and logistic numbers from a seed. */

export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** Uniform in (0, 1): the mixing function of SplitMix32. */
  uniform(): number {
    this.state = (this.state + 0x9e3779b9) >>> 0;
    let t = this.state ^ (this.state >>> 16);
    t = Math.imul(t, 0x21f0aaad);
    t ^= t >>> 15;
    t = Math.imul(t, 0x735a2d97);
    t ^= t >>> 15;
    return ((t >>> 0) + 0.5) / 4294967296;
  }

  logistic(n: number): Float32Array {
    return Float32Array.from({ length: n }, () => {
      const u = this.uniform();
      return Math.log(u) - Math.log1p(-u);
    });
  }

  normal(n: number, deviation = 1): Float32Array {
    return Float32Array.from({ length: n }, () => {
      const radius = Math.sqrt(-2 * Math.log(this.uniform()));
      return deviation * radius * Math.cos(2 * Math.PI * this.uniform());
    });
  }
}
