// Accelerators by name.
import { ConfigurationError } from "@fabric-ts/torch";
import { describe } from "../utilities/describe.js";
import type { Accelerator } from "./accelerator.js";
import { CPUAccelerator } from "./cpu.js";
import { CUDAAccelerator } from "./cuda.js";
import { MPSAccelerator } from "./mps.js";
import { TPUAccelerator } from "./tpu.js";

/** The names that `Fabric({ accelerator })` accepts beside registered ones. */
export type AcceleratorName = "auto" | "cpu" | "cuda" | "gpu" | "mps" | "tpu";

/** Accelerators that `Fabric({ accelerator })` knows by name. */
export class AcceleratorRegistry {
  readonly #entries = new Map<string, new () => Accelerator>();

  /** Adds a class under a name; replacing one needs `{ override: true }`. Returns the class. */
  register<A extends new () => Accelerator>(name: string, accelerator: A, options: { override?: boolean } = {}): A {
    if (typeof name !== "string") throw new TypeError(`\`name\` must be a string, found ${describe(name)}.`);
    if (typeof accelerator !== "function") {
      throw new TypeError(
        `Expected a class of accelerators, but got ${describe(accelerator)}.\nType \`acceleratorRegistry.register("${name}", MyAccelerator)\`.`,
      );
    }
    if (this.#entries.has(name) && !options.override) {
      throw new ConfigurationError(`'${name}' is already present in the registry.`, {
        hint: "Pass `{ override: true }` to replace it.",
      });
    }
    this.#entries.set(name, accelerator);
    return accelerator;
  }
  /** A new object of the class that has this name; for an unknown one `otherwise`, where it is given. */
  get(name: string): Accelerator;
  get<D>(name: string, otherwise: D): Accelerator | D;
  get<D>(name: string, ...otherwise: [D?]): Accelerator | D | undefined {
    const found = this.#entries.get(name);
    if (!found) {
      if (otherwise.length > 0) return otherwise[0];
      throw new ConfigurationError(`'${name}' not found in registry.`, {
        hint: `Available names: ${this.names().join(", ")}.`,
      });
    }
    return new found();
  }
  /** True when the name is taken. */
  has(name: string): boolean {
    return this.#entries.has(name);
  }
  /** Takes a name away. */
  remove(name: string): void {
    this.#entries.delete(name);
  }
  /** All names, in the order of registration. */
  names(): string[] {
    return [...this.#entries.keys()];
  }
  /** The same as a set. */
  availableAccelerators(): Set<string> {
    return new Set(this.#entries.keys());
  }
  toString(): string {
    return `Registered Accelerators: ${this.names().join(", ")}`;
  }
}

/** The accelerators of this process: `cpu`, `cuda`, `mps`, `tpu` and what is added. */
export const acceleratorRegistry = new AcceleratorRegistry();
acceleratorRegistry.register("cpu", CPUAccelerator);
acceleratorRegistry.register("cuda", CUDAAccelerator);
acceleratorRegistry.register("mps", MPSAccelerator);
acceleratorRegistry.register("tpu", TPUAccelerator);
