// Parameters by name that their module knows of.
import { typeError } from "../../check.js";
import { NotSupportedError } from "../../errors.js";
import { Tensor } from "../../tensor.js";
import { Module } from "../module.js";
import { moduleState } from "../module-state.js";
import { Parameter } from "../parameter.js";

/**
 * Parameters by name, for names that are known only at run time. Other tensors become parameters.
 *
 *     scales = new nn.ParameterDict({ left: torch.ones([3]), right: torch.zeros([3]) });
 */
export class ParameterDict extends Module<unknown[], unknown> implements Iterable<[string, Parameter]> {
  constructor(parameters: Readonly<Record<string, Tensor>> | Iterable<readonly [string, Tensor]> = {}) {
    super();
    if (typeof parameters !== "object" || parameters === null) {
      throw typeError(
        "parameters",
        "an object or Map of tensors",
        parameters,
        "Type `new nn.ParameterDict({ a, b })`.",
      );
    }
    this.update(parameters);
  }

  /** Number of parameters. */
  get size(): number {
    return this[moduleState].parameters.size;
  }

  /** The parameter of a name. Throws when there is none. */
  get(name: string): Parameter {
    const found = this[moduleState].parameters.get(name);
    if (found) return found;
    throw new RangeError(
      `The dict has no parameter called "${name}". It has: ${[...this.keys()].join(", ") || "none"}.`,
    );
  }

  /** True when there is a parameter of that name. */
  has(name: string): boolean {
    return this[moduleState].parameters.has(name);
  }

  /** Adds a parameter or replaces the one of that name. */
  set(name: string, parameter: Tensor): this {
    if (typeof name !== "string" || name === "" || name.includes(".")) {
      throw typeError("name", "a string that is not empty and has no dot", name, "Names are parts of dotted paths.");
    }
    if (!(parameter instanceof Tensor)) {
      throw typeError(name, "a Parameter", parameter, "Type `new nn.Parameter(tensor)`.");
    }
    const made = parameter instanceof Parameter ? parameter : new Parameter(parameter);
    this[moduleState].parameters.set(name, made);
    return this;
  }

  /** Adds or replaces several. */
  update(parameters: Readonly<Record<string, Tensor>> | Iterable<readonly [string, Tensor]>): this {
    const entries =
      Symbol.iterator in parameters
        ? (parameters as Iterable<readonly [string, Tensor]>)
        : Object.entries(parameters as Readonly<Record<string, Tensor>>);
    for (const [name, parameter] of entries) this.set(name, parameter);
    return this;
  }

  /** Removes a parameter; true when there was one. */
  delete(name: string): boolean {
    return this[moduleState].parameters.delete(name);
  }

  /** The names, in the order in which they were added. */
  keys(): IterableIterator<string> {
    return this[moduleState].parameters.keys();
  }
  /** The parameters, in the order in which they were added. */
  values(): IterableIterator<Parameter> {
    return this[moduleState].parameters.values();
  }
  /** Names and parameters, in the order in which they were added. */
  entries(): IterableIterator<[string, Parameter]> {
    return this[moduleState].parameters.entries();
  }
  [Symbol.iterator](): Iterator<[string, Parameter]> {
    return this.entries();
  }

  forward(): unknown {
    throw new NotSupportedError("A ParameterDict cannot be called.", {
      hint: "Take its parameters with `dict.get(name)`.",
    });
  }

  override extraRepr(): string {
    return [...this]
      .map(([name, p]) => `(${name}): Parameter containing: [torch.${torchName(p)} of size ${p.shape.join("x")}]`)
      .join("\n");
  }
}

const tensorNames: Record<string, string> = { float32: "FloatTensor", float64: "DoubleTensor", int64: "LongTensor" };
const torchName = (p: Tensor): string => tensorNames[p.dtype] ?? p.dtype;
