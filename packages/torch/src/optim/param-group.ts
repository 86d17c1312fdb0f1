// What an optimizer is told: parameters, and groups of them with options of their own.
import type { Tensor } from "../tensor.js";

/** A list of parameters with the options that hold for them. Options may be changed between steps. */
export interface ParamGroup {
  /** The parameters, in an order that is the same in every run. */
  params: Tensor[];
  /** Learning rate. */
  lr: number;
  /** Options of the optimizer, and entries of your own, which are saved with them. */
  [option: string]: unknown;
}

/** A parameter group as an optimizer takes it: options that are missing come from the optimizer's defaults. */
export type ParamGroupInput<Options extends object> = { params: Tensor | Iterable<Tensor> } & Partial<Options> &
  Record<string, unknown>;

/** What an optimizer's first argument may be: parameters, or groups of them. */
export type ParamsInput<Options extends object> = Iterable<Tensor> | Iterable<ParamGroupInput<Options>>;
