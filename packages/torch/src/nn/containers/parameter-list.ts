// A list of parameters that their module knows of.
import { typeError } from "../../check.js";
import { NotSupportedError } from "../../errors.js";
import { Tensor } from "../../tensor.js";
import { Module } from "../module.js";
import { moduleState } from "../module-state.js";
import { Parameter } from "../parameter.js";

/** Parameters by position. Other tensors become parameters. A plain array would hide them from `parameters()` and `to()`. */
export class ParameterList extends Module<unknown[], unknown> implements Iterable<Parameter> {
  constructor(parameters: Iterable<Tensor> = []) {
    super();
    for (const parameter of parameters) this.append(parameter);
  }

  /** Number of parameters. */
  override get length(): number {
    return this[moduleState].parameters.size;
  }

  /** The parameter at a position; negative ones count from the end. */
  at(index: number): Parameter | undefined {
    return [...this].at(index);
  }

  /** Adds a parameter at the end. */
  append(parameter: Tensor): this {
    if (!(parameter instanceof Tensor))
      throw typeError("parameter", "a Parameter", parameter, "Type `new nn.Parameter(tensor)`.");
    this[moduleState].parameters.set(
      String(this.length),
      parameter instanceof Parameter ? parameter : new Parameter(parameter),
    );
    return this;
  }

  [Symbol.iterator](): Iterator<Parameter> {
    return this[moduleState].parameters.values();
  }

  forward(): unknown {
    throw new NotSupportedError("A ParameterList cannot be called.", {
      hint: "Take its parameters with `list.at(0)`.",
    });
  }

  override extraRepr(): string {
    return [...this]
      .map((p, i) => `(${i}): Parameter containing: [torch.${p.dtype} of size ${p.shape.join("x")}]`)
      .join("\n");
  }
}
