// Dropout of single elements.
import { typeError } from "../../check.js";
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkNumber, checkOptions } from "../arguments.js";
import { dropout } from "../functional/dropout.js";
import { Module } from "../module.js";
import { pyBool, pyFloat } from "../python-text.js";

/** In training, zeroes elements with probability `p` and scales the rest by `1 / (1 - p)`. */
export class Dropout extends Module<[Tensor], Tensor> {
  /** Probability of a zero. */
  p: number;
  /** Whether the input is overwritten. */
  inplace: boolean;

  /** @param given the probability (default 0.5), alone or as `{ p, inplace }` */
  constructor(given: number | { p?: number; inplace?: boolean } = 0.5, more: { inplace?: boolean } = {}) {
    super();
    const isNamed = typeof given === "object" && given !== null;
    const options: { p?: number; inplace?: boolean } = isNamed ? given : more;
    checkOptions(options, isNamed ? ["p", "inplace"] : ["inplace"], "new nn.Dropout(0.5, { inplace: true })");
    const p = isNamed ? (given.p ?? 0.5) : given;
    if (typeof p !== "number") throw typeError("p", "a number", p, "Type `new nn.Dropout(0.5)`.");
    this.p = checkNumber("p", p, 0, 1);
    this.inplace = checkBoolean("inplace", options.inplace ?? false);
  }

  forward(input: Tensor): Tensor {
    return dropout(input, this.p, { training: this.training, inplace: this.inplace });
  }

  override extraRepr(): string {
    return `p=${pyFloat(this.p)}, inplace=${pyBool(this.inplace)}`;
  }
}
