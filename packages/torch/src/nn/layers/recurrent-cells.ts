// One step of a recurrent network: RNNCell, LSTMCell, GRUCell.
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkOptions, checkSize, checkWord, type FactoryOptions, factory } from "../arguments.js";
import { aten, atenAny } from "../aten.js";
import { uniform_ } from "../init.js";
import { guardMembers } from "../members.js";
import { type AnyModule, Module } from "../module.js";
import { Parameter } from "../parameter.js";

/** Options of the cells. */
export interface RecurrentCellOptions extends FactoryOptions {
  /** Whether there are biases (default true). */
  bias?: boolean;
}

const optionNames = ["bias", "dtype", "device"];
const empty = aten("empty");
const zeros = aten("zeros");

abstract class RecurrentCell<A extends unknown[], R> extends Module<A, R> {
  readonly inputSize: number;
  readonly hiddenSize: number;
  // The names in state dictionaries.
  weight_ih: Parameter;
  weight_hh: Parameter;
  bias_ih: Parameter | null;
  bias_hh: Parameter | null;

  constructor(inputSize: number, hiddenSize: number, gates: number, options: RecurrentCellOptions) {
    super();
    const example = `new nn.${new.target.name}(10, 20)`;
    this.inputSize = checkSize("inputSize", inputSize, 1, example);
    this.hiddenSize = checkSize("hiddenSize", hiddenSize, 1, example);
    const made = factory(options);
    const rows = gates * hiddenSize;
    const hasBias = checkBoolean("bias", options.bias ?? true);
    this.weight_ih = new Parameter(empty([rows, inputSize], made));
    this.weight_hh = new Parameter(empty([rows, hiddenSize], made));
    this.bias_ih = hasBias ? new Parameter(empty([rows], made)) : null;
    this.bias_hh = hasBias ? new Parameter(empty([rows], made)) : null;
    this.resetParameters();
    guardMembers(this as unknown as AnyModule);
  }

  /** Draws all parameters uniformly within `1 / sqrt(hiddenSize)`. */
  resetParameters(): void {
    const bound = 1 / Math.sqrt(this.hiddenSize);
    for (const parameter of [this.weight_ih, this.weight_hh, this.bias_ih, this.bias_hh])
      if (parameter !== null) uniform_(parameter, -bound, bound);
  }

  /** internal: runs the operator on `[N, inputSize]` and states `[N, hiddenSize]`, zero where there is none. */
  protected run<T>(operator: string, input: Tensor, states: readonly (Tensor | null | undefined)[]): T {
    if ((input.ndim !== 1 && input.ndim !== 2) || input.size(-1) !== this.inputSize) {
      throw new ConfigurationError(`${this.constructor.name} got an input of shape [${input.shape.join(", ")}].`, {
        hint: `It takes [N, ${this.inputSize}], or [${this.inputSize}] without batches.`,
      });
    }
    const isBatched = input.ndim === 2;
    const x = isBatched ? input : input.unsqueeze(0);
    const made = states.map((state) => {
      if (!state) return zeros([x.size(0), this.hiddenSize], { dtype: x.dtype, device: x.device });
      return isBatched ? state : state.unsqueeze(0);
    });
    const hx = operator === "lstm_cell" ? made : made[0];
    const result = atenAny(operator)(x, hx, this.weight_ih, this.weight_hh, this.bias_ih, this.bias_hh);
    if (isBatched) return result as T;
    const plain = Array.isArray(result) ? result.map((item: Tensor) => item.squeeze(0)) : (result as Tensor).squeeze(0);
    return plain as T;
  }

  override extraRepr(): string {
    return `${this.inputSize}, ${this.hiddenSize}${this.bias_ih === null ? ", bias=False" : ""}`;
  }
}

/** One step of `RNN`: `[N, inputSize]` and the state `[N, hiddenSize]` (zero unless given) -> the next state. */
export class RNNCell extends RecurrentCell<[input: Tensor, state?: Tensor | null], Tensor> {
  readonly nonlinearity: "tanh" | "relu";

  constructor(
    inputSize: number,
    hiddenSize: number,
    options: RecurrentCellOptions & { nonlinearity?: "tanh" | "relu" } = {},
  ) {
    checkOptions(options, ["nonlinearity", ...optionNames], 'new nn.RNNCell(10, 20, { nonlinearity: "relu" })');
    super(inputSize, hiddenSize, 1, options);
    this.nonlinearity = checkWord("nonlinearity", options.nonlinearity ?? "tanh", ["tanh", "relu"]);
  }
  forward(input: Tensor, state?: Tensor | null): Tensor {
    return this.run(`rnn_${this.nonlinearity}_cell`, input, [state]);
  }
  override extraRepr(): string {
    return super.extraRepr() + (this.nonlinearity === "tanh" ? "" : `, nonlinearity=${this.nonlinearity}`);
  }
}

/** One step of `GRU`: `[N, inputSize]` and the state `[N, hiddenSize]` (zero unless given) -> the next state. */
export class GRUCell extends RecurrentCell<[input: Tensor, state?: Tensor | null], Tensor> {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentCellOptions = {}) {
    checkOptions(options, optionNames, "new nn.GRUCell(10, 20, { bias: false })");
    super(inputSize, hiddenSize, 3, options);
  }
  forward(input: Tensor, state?: Tensor | null): Tensor {
    return this.run("gru_cell", input, [state]);
  }
}

/** One step of `LSTM`: `[N, inputSize]` and the states `[h, c]` (zero unless given) -> the next ones. */
export class LSTMCell extends RecurrentCell<
  [input: Tensor, state?: readonly [Tensor, Tensor] | null],
  [Tensor, Tensor]
> {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentCellOptions = {}) {
    checkOptions(options, optionNames, "new nn.LSTMCell(10, 20, { bias: false })");
    super(inputSize, hiddenSize, 4, options);
  }
  forward(input: Tensor, state?: readonly [Tensor, Tensor] | null): [Tensor, Tensor] {
    return this.run("lstm_cell", input, [state?.[0], state?.[1]]);
  }
}
