// The command line of the example: --devices N, --precision NAME, --epochs N.
import { parseArgs } from "node:util";
import type { PrecisionInput } from "@fabric-ts/fabric";

/** What the user may choose. */
export interface Options {
  /** Number of processes. */
  devices: number;
  /** A precision name of Fabric, such as `"bf16-mixed"`. */
  precision: PrecisionInput;
  /** Passes over the training digits. */
  epochs: number;
}

function fail(message: string): never {
  console.error(
    `${message}\nUsage: npm start -- [--devices N] [--precision 32-true|bf16-mixed|bf16-true|64-true] [--epochs N]`,
  );
  process.exit(2);
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) fail(`--${name} must be a whole number of at least 1, but got "${text}".`);
  return value;
}

/** Reads the command line; explains itself and exits with code 2 when it is wrong. */
export function readOptions(): Options {
  try {
    const { values } = parseArgs({
      options: {
        devices: { type: "string", default: "2" },
        precision: { type: "string", default: "32-true" },
        epochs: { type: "string", default: "3" },
      },
    });
    return {
      devices: count("devices", values.devices),
      precision: values.precision as PrecisionInput,
      epochs: count("epochs", values.epochs),
    };
  } catch (error) {
    return fail((error as Error).message);
  }
}
