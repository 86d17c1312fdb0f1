// internal: what the convolution layers share: checks, parameters, their first values and their text.
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import {
  checkBoolean,
  checkOptions,
  checkSize,
  checkSizes,
  checkWord,
  type FactoryOptions,
  factory,
} from "../arguments.js";
import { aten } from "../aten.js";
import type { Sizes } from "../functional/convolution.js";
import { type PaddingMode, pad } from "../functional/padding.js";
import { calculateFanInAndFanOut, kaimingUniform_, uniform_ } from "../init.js";
import { guardMembers } from "../members.js";
import { type AnyModule, Module } from "../module.js";
import { Parameter } from "../parameter.js";
import { pyTuple } from "../python-text.js";

/** Options of the convolution layers. */
export interface ConvOptions extends FactoryOptions {
  /** Step of the window (default 1). */
  stride?: Sizes;
  /** Padding around the input (default 0); `"same"` keeps the size, `"valid"` is 0. */
  padding?: Sizes | "same" | "valid";
  /** Distance between the elements of the window (default 1). */
  dilation?: Sizes;
  /** Splits the channels into groups that do not see each other (default 1). */
  groups?: number;
  /** Whether a bias is added (default true). */
  bias?: boolean;
  /** What the padding is filled with (default `"zeros"`). */
  paddingMode?: "zeros" | "reflect" | "replicate" | "circular";
}

const names = ["stride", "padding", "dilation", "groups", "bias", "paddingMode", "outputPadding", "dtype", "device"];
const empty = aten("empty");

/** internal: the base of the convolution layers over `dims` dimensions. */
export abstract class Convolution<A extends unknown[]> extends Module<A, Tensor> {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: number[];
  readonly stride: number[];
  readonly padding: number[] | "same" | "valid";
  readonly dilation: number[];
  readonly outputPadding: number[];
  readonly groups: number;
  readonly paddingMode: NonNullable<ConvOptions["paddingMode"]>;
  weight: Parameter;
  bias: Parameter | null;

  constructor(
    dims: number,
    transposed: boolean,
    inChannels: number,
    outChannels: number,
    kernelSize: Sizes,
    options: ConvOptions & { outputPadding?: Sizes },
  ) {
    super();
    const name = new.target.name;
    const example = `new nn.${name}(1, 16, 3, { stride: 2, padding: 1 })`;
    checkOptions(
      options,
      transposed ? names.filter((n) => n !== "paddingMode") : names.filter((n) => n !== "outputPadding"),
      example,
    );
    const {
      stride = 1,
      padding = 0,
      dilation = 1,
      groups = 1,
      bias = true,
      paddingMode = "zeros",
      outputPadding = 0,
    } = options;
    this.inChannels = checkSize("inChannels", inChannels, 1, example);
    this.outChannels = checkSize("outChannels", outChannels, 1, example);
    this.kernelSize = checkSizes("kernelSize", kernelSize, dims, 1, example);
    this.stride = checkSizes("stride", stride, dims, 1, example);
    this.padding =
      typeof padding === "string" && !transposed
        ? checkWord("padding", padding, ["same", "valid"])
        : checkSizes("padding", padding, dims, 0, example);
    this.dilation = checkSizes("dilation", dilation, dims, 1, example);
    this.outputPadding = checkSizes("outputPadding", outputPadding, dims, 0, example);
    this.groups = checkSize("groups", groups, 1, example);
    this.paddingMode = checkWord("paddingMode", paddingMode, ["zeros", "reflect", "replicate", "circular"]);
    if (inChannels % groups !== 0 || outChannels % groups !== 0) {
      throw new ConfigurationError(
        `${inChannels} input and ${outChannels} output channels cannot be split into ${groups} groups.`,
        {
          hint: "Both numbers have to be divisible by `groups`.",
        },
      );
    }
    if (padding === "same" && this.stride.some((step) => step !== 1)) {
      throw new ConfigurationError(
        `\`padding: "same"\` works only with a stride of 1, but the stride is ${pyTuple(this.stride)}.`,
        {
          hint: "Give the padding as a number.",
        },
      );
    }
    const made = factory(options);
    const channels = transposed ? [inChannels, outChannels / groups] : [outChannels, inChannels / groups];
    this.weight = new Parameter(empty([...channels, ...this.kernelSize], made));
    this.bias = checkBoolean("bias", bias) ? new Parameter(empty([outChannels], made)) : null;
    this.resetParameters();
    guardMembers(this as AnyModule);
  }

  /** Draws new values: Kaiming-uniform weights with `a = sqrt(5)`, biases within `1 / sqrt(fanIn)`. */
  resetParameters(): void {
    kaimingUniform_(this.weight, { a: Math.sqrt(5) });
    if (this.bias === null) return;
    const { fanIn } = calculateFanInAndFanOut(this.weight);
    if (fanIn === 0) return;
    const bound = 1 / Math.sqrt(fanIn);
    uniform_(this.bias, -bound, bound);
  }

  override extraRepr(): string {
    const { kernelSize, stride, padding, dilation, outputPadding } = this;
    let text = `${this.inChannels}, ${this.outChannels}, kernel_size=${pyTuple(kernelSize)}, stride=${pyTuple(stride)}`;
    if (typeof padding === "string") text += `, padding=${padding}`;
    else if (padding.some((size) => size !== 0)) text += `, padding=${pyTuple(padding)}`;
    if (dilation.some((size) => size !== 1)) text += `, dilation=${pyTuple(dilation)}`;
    if (outputPadding.some((size) => size !== 0)) text += `, output_padding=${pyTuple(outputPadding)}`;
    if (this.groups !== 1) text += `, groups=${this.groups}`;
    if (this.bias === null) text += ", bias=False";
    if (this.paddingMode !== "zeros") text += `, padding_mode=${this.paddingMode}`;
    return text;
  }
}

// biome-ignore lint/suspicious/noExplicitAny: a convolution of any arguments
type AnyConvolution = Convolution<any[]>;

/** internal: pads the input as `layer.paddingMode` says; the convolution itself pads with zeros only. */
export function padded(layer: AnyConvolution, input: Tensor): Tensor {
  const { padding, kernelSize, dilation } = layer;
  const sizes: number[] = [];
  for (let d = kernelSize.length - 1; d >= 0; d--) {
    if (padding === "same") {
      const total = (dilation[d] as number) * ((kernelSize[d] as number) - 1);
      sizes.push(Math.floor(total / 2), total - Math.floor(total / 2));
    } else if (padding === "valid") sizes.push(0, 0);
    else sizes.push(padding[d] as number, padding[d] as number);
  }
  return pad(input, sizes, { mode: layer.paddingMode as PaddingMode });
}

/** internal: the output padding that leads to `outputSize`, within what the stride leaves open. */
export function outputPaddingFor(
  layer: AnyConvolution,
  input: Tensor,
  outputSize: readonly number[] | undefined,
): number[] {
  if (outputSize === undefined) return layer.outputPadding;
  const { kernelSize, stride, dilation } = layer;
  const padding = layer.padding as number[];
  const dims = kernelSize.length;
  const spatial = input.shape.slice(-dims);
  const wanted = outputSize.slice(-dims);
  return wanted.map((size, d) => {
    const step = stride[d] as number;
    const least =
      ((spatial[d] as number) - 1) * step -
      2 * (padding[d] as number) +
      (dilation[d] as number) * ((kernelSize[d] as number) - 1) +
      1;
    if (size < least || size >= least + step) {
      throw new ConfigurationError(
        `\`outputSize\` asks for ${size} in dimension ${d}, but only ${least} to ${least + step - 1} can be had from an input of ${spatial[d]}.`,
      );
    }
    return size - least;
  });
}
