// Recurrent networks over whole sequences: RNN, LSTM, GRU. Single steps are in recurrent-cells.ts.

import { typeError } from "../../check.js";
import { ConfigurationError } from "../../errors.js";
import { Tensor } from "../../tensor.js";
import {
  checkBoolean,
  checkNumber,
  checkOptions,
  checkSize,
  checkWord,
  type FactoryOptions,
  factory,
} from "../arguments.js";
import { aten, atenAny } from "../aten.js";
import { uniform_ } from "../init.js";
import { guardMembers } from "../members.js";
import { type AnyModule, Module } from "../module.js";
import { PackedSequence } from "../packed-sequence.js";
import { Parameter } from "../parameter.js";
import { pyFloat } from "../python-text.js";

/** Options of `LSTM`, `GRU` and `RNN`. */
export interface RecurrentOptions extends FactoryOptions {
  /** Networks one above the other (default 1). */
  numLayers?: number;
  /** Whether there are biases (default true). */
  bias?: boolean;
  /** Sequences of the shape `[N, L, features]` instead of `[L, N, features]` (default false). */
  batchFirst?: boolean;
  /** Probability of dropping what goes from one layer to the next in training (default 0). */
  dropout?: number;
  /** A second network reads the sequence backwards, and the outputs are joined (default false). */
  bidirectional?: boolean;
}

const optionNames = ["numLayers", "bias", "batchFirst", "dropout", "bidirectional", "dtype", "device"];
const empty = aten("empty");
const zeros = aten("zeros");

/** internal: the base of the three; `gates` is how many times `hiddenSize` rows the weights have. */
abstract class Recurrent<A extends unknown[], R> extends Module<A, R> {
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly bias: boolean;
  readonly batchFirst: boolean;
  readonly dropout: number;
  readonly bidirectional: boolean;
  readonly projSize: number;
  /** internal: not private, which could not be copied. */
  protected readonly weightNames: string[] = [];

  constructor(inputSize: number, hiddenSize: number, gates: number, options: RecurrentOptions, projSize = 0) {
    super();
    const example = `new nn.${new.target.name}(10, 20, { numLayers: 2, batchFirst: true })`;
    this.inputSize = checkSize("inputSize", inputSize, 1, example);
    this.hiddenSize = checkSize("hiddenSize", hiddenSize, 1, example);
    this.numLayers = checkSize("numLayers", options.numLayers ?? 1, 1, example);
    this.bias = checkBoolean("bias", options.bias ?? true);
    this.batchFirst = checkBoolean("batchFirst", options.batchFirst ?? false);
    this.dropout = checkNumber("dropout", options.dropout ?? 0, 0, 1);
    this.bidirectional = checkBoolean("bidirectional", options.bidirectional ?? false);
    this.projSize = projSize;
    if (this.dropout > 0 && this.numLayers === 1) {
      process.emitWarning(
        `\`dropout\` of ${new.target.name} acts between layers, but there is only one: it does nothing.`,
        { type: "UserWarning", code: "FABRIC_NN" },
      );
    }
    const made = factory(options);
    const rows = gates * hiddenSize;
    const outSize = projSize > 0 ? projSize : hiddenSize;
    for (let layer = 0; layer < this.numLayers; layer++) {
      for (const suffix of this.directions.map((direction) => `_l${layer}${direction}`)) {
        const width = layer === 0 ? inputSize : outSize * this.directions.length;
        this.addWeight(`weight_ih${suffix}`, empty([rows, width], made));
        this.addWeight(`weight_hh${suffix}`, empty([rows, outSize], made));
        if (this.bias) this.addWeight(`bias_ih${suffix}`, empty([rows], made));
        if (this.bias) this.addWeight(`bias_hh${suffix}`, empty([rows], made));
        if (projSize > 0) this.addWeight(`weight_hr${suffix}`, empty([projSize, hiddenSize], made));
      }
    }
    this.resetParameters();
    guardMembers(this as unknown as AnyModule);
  }

  /** internal: the ends of the parameters' names. */
  protected get directions(): string[] {
    return this.bidirectional ? ["", "_reverse"] : [""];
  }

  /** internal: a parameter of the engine's list. */
  protected addWeight(name: string, values: Tensor): void {
    this.registerParameter(name, new Parameter(values));
    this.weightNames.push(name);
  }

  /** internal: the parameters in the order in which the engine takes them. */
  protected get weights(): Parameter[] {
    return this.weightNames.map((name) => (this as unknown as Record<string, Parameter>)[name] as Parameter);
  }

  /** Draws all parameters uniformly within `1 / sqrt(hiddenSize)`. */
  resetParameters(): void {
    const bound = 1 / Math.sqrt(this.hiddenSize);
    for (const parameter of this.weights) uniform_(parameter, -bound, bound);
  }

  /** internal: the sequence with batches, and how to take them away again. */
  protected batched(input: Tensor): { sequence: Tensor; isBatched: boolean; batch: number } {
    const name = this.constructor.name;
    if (!(input instanceof Tensor)) throw typeError("input", "a Tensor", input);
    if ((input.ndim !== 2 && input.ndim !== 3) || input.size(-1) !== this.inputSize) {
      throw new ConfigurationError(`${name} got an input of shape [${input.shape.join(", ")}].`, {
        hint: `It takes ${this.batchFirst ? "[N, L, H]" : "[L, N, H]"}, or [L, H] without batches, with H = ${this.inputSize}.`,
      });
    }
    const isBatched = input.ndim === 3;
    const sequence = isBatched ? input : input.unsqueeze(this.batchFirst ? 0 : 1);
    return { sequence, isBatched, batch: sequence.size(this.batchFirst ? 0 : 1) };
  }

  /** internal: a state at the start: zeros, or the given one with batches. */
  protected stateOf(
    given: Tensor | null | undefined,
    size: number,
    batch: number,
    like: Tensor,
    isBatched: boolean,
  ): Tensor {
    const shape = [this.numLayers * this.directions.length, batch, size];
    if (given === null || given === undefined) return zeros(shape, { dtype: like.dtype, device: like.device });
    if (!(given instanceof Tensor)) throw typeError("the state", "a Tensor", given);
    const state = isBatched ? given : given.unsqueeze(1);
    if (state.shape.join() === shape.join()) return state;
    throw new ConfigurationError(`${this.constructor.name} got a state of shape [${given.shape.join(", ")}].`, {
      hint: `It takes [${(isBatched ? shape : [shape[0], shape[2]]).join(", ")}]: layers times directions first.`,
    });
  }

  /** internal: the same for a packed batch, whose sequences are sorted. */
  protected packedStateOf(
    given: Tensor | null | undefined,
    size: number,
    { data, batchSizes, sortedIndices }: PackedSequence,
  ): Tensor {
    if (data.ndim !== 2 || data.size(-1) !== this.inputSize) {
      throw new ConfigurationError(
        `${this.constructor.name} got a packed sequence with data of shape [${data.shape.join(", ")}].`,
        { hint: `Its elements have to have ${this.inputSize} features.` },
      );
    }
    const state = this.stateOf(given, size, batchSizes.select(0, 0).item(), data, true);
    return given && sortedIndices !== null ? state.indexSelect(1, sortedIndices) : state;
  }

  /** internal: calls the engine's operator on a packed batch; states come back in the order of the batch. */
  protected runPacked(
    operator: string,
    sequence: PackedSequence,
    state: Tensor | Tensor[],
  ): [PackedSequence, Tensor[]] {
    const { bias, numLayers, dropout, training, bidirectional } = this;
    const { data, batchSizes, unsortedIndices: back } = sequence;
    const call = atenAny(`${operator}.data`);
    const [output, ...states] = call(
      data,
      batchSizes,
      state,
      this.weights,
      bias,
      numLayers,
      dropout,
      training,
      bidirectional,
    ) as [Tensor, ...Tensor[]];
    const ordered = back === null ? states : states.map((last) => last.indexSelect(1, back));
    return [sequence.withData(output), ordered];
  }

  /** internal: calls the engine's operator; the sequence comes first in what it returns. */
  protected run(operator: string, sequence: Tensor, state: Tensor | Tensor[]): Tensor[] {
    const { bias, numLayers, dropout, training, bidirectional, batchFirst } = this;
    const call = atenAny(`${operator}.input`);
    return call(
      sequence,
      state,
      this.weights,
      bias,
      numLayers,
      dropout,
      training,
      bidirectional,
      batchFirst,
    ) as Tensor[];
  }

  override extraRepr(): string {
    let text = `${this.inputSize}, ${this.hiddenSize}`;
    if (this.projSize !== 0) text += `, proj_size=${this.projSize}`;
    if (this.numLayers !== 1) text += `, num_layers=${this.numLayers}`;
    if (!this.bias) text += ", bias=False";
    if (this.batchFirst) text += ", batch_first=True";
    if (this.dropout !== 0) text += `, dropout=${pyFloat(this.dropout)}`;
    if (this.bidirectional) text += ", bidirectional=True";
    return text;
  }
}

/** One state: RNN and GRU. */
abstract class SingleStateRecurrent extends Recurrent<[input: Tensor, state?: Tensor | null], [Tensor, Tensor]> {
  protected abstract get operatorName(): string;

  forward(input: Tensor, state?: Tensor | null): [Tensor, Tensor];
  forward(input: PackedSequence, state?: Tensor | null): [PackedSequence, Tensor];
  forward(input: Tensor | PackedSequence, state?: Tensor | null): [Tensor | PackedSequence, Tensor] {
    if (input instanceof PackedSequence) {
      const start = this.packedStateOf(state, this.hiddenSize, input);
      const [output, [last]] = this.runPacked(this.operatorName, input, start);
      return [output, last as Tensor];
    }
    const { sequence, isBatched, batch } = this.batched(input);
    const start = this.stateOf(state, this.hiddenSize, batch, sequence, isBatched);
    const [output, last] = this.run(this.operatorName, sequence, start) as [Tensor, Tensor];
    return isBatched ? [output, last] : [output.squeeze(this.batchFirst ? 0 : 1), last.squeeze(1)];
  }
}

// What the three take beside tensors: packed sequences, from `nn.utils.rnn.packPaddedSequence`, give packed outputs.
type PackedCall<S> = (
  input: PackedSequence,
  state?: S | null,
) => [PackedSequence, S extends Tensor ? Tensor : [Tensor, Tensor]];
export interface RNN extends PackedCall<Tensor> {}
export interface GRU extends PackedCall<Tensor> {}
export interface LSTM extends PackedCall<readonly [Tensor, Tensor]> {}

/**
 * An Elman network: `[L, N, inputSize]` -> the outputs `[L, N, hiddenSize]` and the last state `[numLayers, N, hiddenSize]`.
 * A state at the start may follow the input; it is zero otherwise.
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the call signature of packed sequences
export class RNN extends SingleStateRecurrent {
  readonly nonlinearity: "tanh" | "relu";

  constructor(
    inputSize: number,
    hiddenSize: number,
    options: RecurrentOptions & { nonlinearity?: "tanh" | "relu" } = {},
  ) {
    checkOptions(options, ["nonlinearity", ...optionNames], "new nn.RNN(10, 20, { numLayers: 2, batchFirst: true })");
    super(inputSize, hiddenSize, 1, options);
    this.nonlinearity = checkWord("nonlinearity", options.nonlinearity ?? "tanh", ["tanh", "relu"]);
  }
  protected override get operatorName(): string {
    return `rnn_${this.nonlinearity}`;
  }
}

/** Gated recurrent units (https://arxiv.org/abs/1406.1078); input, outputs and state as of `RNN`. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the call signature of packed sequences
export class GRU extends SingleStateRecurrent {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    checkOptions(options, optionNames, "new nn.GRU(10, 20, { numLayers: 2, batchFirst: true })");
    super(inputSize, hiddenSize, 3, options);
  }
  protected override get operatorName(): string {
    return "gru";
  }
}

/**
 * Long short-term memory (Hochreiter and Schmidhuber, 1997): input and outputs as of `RNN`; the state is a pair of hidden and
 * cell state, `[h, c]`.
 *
 *     const [outputs, [h, c]] = new nn.LSTM(10, 20, { batchFirst: true })(x);
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the call signature of packed sequences
export class LSTM extends Recurrent<
  [input: Tensor, state?: readonly [Tensor, Tensor] | null],
  [Tensor, [Tensor, Tensor]]
> {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions & { projSize?: number } = {}) {
    const example = "new nn.LSTM(10, 20, { numLayers: 2, batchFirst: true })";
    checkOptions(options, ["projSize", ...optionNames], example);
    const projSize = checkSize("projSize", options.projSize ?? 0, 0, example);
    if (projSize >= hiddenSize) {
      throw new ConfigurationError(`\`projSize\` (${projSize}) has to be smaller than \`hiddenSize\` (${hiddenSize}).`);
    }
    super(inputSize, hiddenSize, 4, options, projSize);
  }

  forward(input: Tensor, state?: readonly [Tensor, Tensor] | null): [Tensor, [Tensor, Tensor]];
  forward(input: PackedSequence, state?: readonly [Tensor, Tensor] | null): [PackedSequence, [Tensor, Tensor]];
  forward(
    input: Tensor | PackedSequence,
    state?: readonly [Tensor, Tensor] | null,
  ): [Tensor | PackedSequence, [Tensor, Tensor]] {
    if (state !== undefined && state !== null && !(Array.isArray(state) && state.length === 2))
      throw typeError("the state", "a pair of hidden and cell state", state, "Type `lstm(x, [h, c])`.");
    const size = this.projSize > 0 ? this.projSize : this.hiddenSize;
    if (input instanceof PackedSequence) {
      const start = [
        this.packedStateOf(state?.[0], size, input),
        this.packedStateOf(state?.[1], this.hiddenSize, input),
      ];
      const [output, [h, c]] = this.runPacked("lstm", input, start);
      return [output, [h as Tensor, c as Tensor]];
    }
    const { sequence, isBatched, batch } = this.batched(input);
    const start = [
      this.stateOf(state?.[0], size, batch, sequence, isBatched),
      this.stateOf(state?.[1], this.hiddenSize, batch, sequence, isBatched),
    ];
    const [output, h, c] = this.run("lstm", sequence, start) as [Tensor, Tensor, Tensor];
    if (isBatched) return [output, [h, c]];
    return [output.squeeze(this.batchFirst ? 0 : 1), [h.squeeze(1), c.squeeze(1)]];
  }
}
