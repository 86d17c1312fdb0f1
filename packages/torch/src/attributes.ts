// Attributes of tensors that PyTorch has beside those of the class itself, JSON, and what brackets would do silently.
import { native } from "./native.js";
import { handleOf, Tensor } from "./tensor.js";

declare module "./tensor.js" {
  interface Tensor {
    /** True on a CUDA device. */
    readonly isCuda: boolean;
    /** True on the device "meta": a shape without values. */
    readonly isMeta: boolean;
    /** True for the sparse layouts. */
    readonly isSparse: boolean;
    /** Bytes of one element. */
    readonly itemsize: number;
    /** Bytes of all elements. */
    readonly nbytes: number;
    /** internal: `JSON.stringify` writes the values, as `tolist` gives them. */
    toJSON(): unknown;
  }
}

const getters: Record<string, (tensor: Tensor) => unknown> = {
  isCuda: (tensor) => tensor.device.startsWith("cuda"),
  isMeta: (tensor) => tensor.device === "meta",
  isSparse: (tensor) => native().isSparse(handleOf(tensor)),
  itemsize: (tensor) => tensor.elementSize(),
  nbytes: (tensor) => tensor.elementSize() * tensor.numel(),
};

for (const [name, get] of Object.entries(getters)) {
  Object.defineProperty(Tensor.prototype, name, {
    get(this: Tensor) {
      return get(this);
    },
    configurable: true,
  });
}

Object.defineProperty(Tensor.prototype, "toJSON", {
  value(this: Tensor) {
    return this.tolist();
  },
  writable: true,
  configurable: true,
});

// `x[0]` would be undefined and `x[0] = 1` change nothing that counts: TypeScript refuses both, JavaScript would not.
function noBrackets(index: number, assigning: boolean): TypeError {
  return new TypeError(
    `Brackets do not ${assigning ? "assign to" : "index"} tensors in JavaScript.\nType \`${assigning ? `x.setAt([${index}], value)` : `x.at(${index})`}\`.`,
  );
}
for (let index = 0; index < 64; index++) {
  Object.defineProperty(Tensor.prototype, index, {
    get() {
      throw noBrackets(index, false);
    },
    set() {
      throw noBrackets(index, true);
    },
    configurable: true,
  });
}
