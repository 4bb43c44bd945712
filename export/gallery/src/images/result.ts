/** What one flow makes of a drawing. */

import type { ImageFlow, Score } from "./flow.ts";
import { colour } from "../ui/colour.ts";
import { h, numbers } from "../ui/dom.ts";
import { count, fixed, nats, pValue, small, title } from "../ui/format.ts";
import { View } from "../ui/view.ts";

export class Result {
  readonly element: HTMLElement;
  private readonly flow: ImageFlow;
  private readonly readout;
  private readonly chart: View | null = null;
  private score: Score | null = null;

  constructor(flow: ImageFlow) {
    this.flow = flow;
    const { entry } = flow.opened;
    this.readout = numbers("log_prob", "percentile", "p-value", ...(entry.labels === null ? [] : ["label"]));
    if (entry.scores) {
      this.chart = new View([0, 1, 0, 1], {
        class: "strip",
        role: "img",
        "aria-label": `Histogram of log_prob of ${entry.scores.length} test images, the drawing marked.`,
      });
      this.chart.draw = () => this.draw();
    }
    this.element = h(
      "section",
      { class: "score", "aria-label": `Score by ${entry.name}` },
      h("h3", {}, title(entry.name)),
      h("div", { "aria-live": "polite" }, this.readout.element),
      this.chart &&
        h(
          "figure",
          {},
          this.chart.canvas,
          h("figcaption", {}, `log_prob of ${count(entry.scores!.length)} test images, and of the drawing`),
        ),
    );
    this.showPlaces();
  }

  show(score: Score): void {
    this.score = score;
    const { entry, manifest } = this.flow.opened;
    this.readout.set(
      "log_prob",
      nats(score.logProb),
      `nats, ${fixed(score.bitsPerDim, 2)} bits/dim (${entry.likelihood.replace("_", " ")})`,
    );
    if (score.percentile !== null) {
      this.readout.set(
        "percentile",
        fixed(100 * score.percentile, 1),
        `% of ${count(entry.scores!.length)} test images are less probable`,
      );
    }
    if (score.pValue !== null) {
      this.readout.set(
        "p-value",
        pValue(score.pValue),
        `${score.flag ? "flagged" : "not flagged"} at ${small(manifest.alpha!)}`,
      );
    }
    if (score.labels) {
      const likely = score.labels.indexOf(Math.max(...score.labels));
      const percent = fixed(100 * score.labels[likely], 1);
      this.readout.set("label", String(likely), `${percent} % by Bayes’ rule; the score is given ${score.given}`);
    }
    this.element.classList.toggle("flagged", score.flag === true);
    this.chart?.refresh();
  }

  refresh(): void {
    this.chart?.refresh();
  }

  private showPlaces(): void {
    const { entry } = this.flow.opened;
    if (!entry.scores) this.readout.set("percentile", "–", "the scores of test images are not at hand");
    if (!entry.calibration) this.readout.set("p-value", "–", "none: this entry has no calibration");
  }

  private draw(): void {
    const { scores } = this.flow.opened.entry;
    const { chart } = this;
    if (!scores || !chart) return;
    const { context, width, height } = chart;
    // From the lowest test scores to the highest; a drawing far below is at the edge.
    const [low, high] = [scores[Math.floor(0.01 * scores.length)], scores[scores.length - 1]];
    const [from, to] = [low - 0.25 * (high - low), high + 0.05 * (high - low)];
    const bins = new Array<number>(40).fill(0);
    const bin = (score: number) =>
      Math.min(Math.max(Math.floor(((score - from) / (to - from)) * bins.length), 0), bins.length - 1);
    for (const score of scores) bins[bin(score)] += 1;
    const most = Math.max(...bins);
    context.fillStyle = colour("faint");
    bins.forEach((n, i) => {
      const tall = (n / most) * (height - 14);
      context.fillRect((i / bins.length) * width + 0.5, height - tall, width / bins.length - 1, tall);
    });
    if (!this.score) return;
    const share = Math.min(Math.max((this.score.logProb - from) / (to - from), 0.004), 0.996);
    context.fillStyle = colour("data");
    context.fillRect(share * width - 1.25, 0, 2.5, height);
    if (share === 0.004) {
      context.font = `12px ${colour("font")}`;
      context.textBaseline = "top";
      context.fillStyle = colour("data-text");
      context.fillText("below the scale", 8, 1);
    }
  }
}
