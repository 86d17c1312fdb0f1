// Names of checkpoint files, with epochs, steps and metrics in them: `{epoch:02d}-{val_loss:.3f}` gives `epoch=03-val_loss=0.125`.
import { ConfigurationError } from "@fabric-ts/torch";
import { describe } from "../utilities/describe.js";

/** internal: how the names of checkpoints end. */
export const checkpointExtension = ".ckpt";

const field = /\{([^{}:]+)(?::([^{}]*))?\}/g;
const format = /^(0?)(\d*)(?:\.(\d+))?([dfe]?)$/;

/** internal: a pattern for names, checked. */
export class CheckpointName {
  readonly #pattern: string | undefined;
  readonly #autoInsert: boolean;

  /** @throws ConfigurationError for a pattern that cannot work. Without one a name has the epoch and the step, where they are known. */
  constructor(pattern: string | undefined, autoInsert: boolean) {
    this.#pattern = pattern;
    this.#autoInsert = autoInsert;
    if (pattern === undefined) return;
    if (typeof pattern !== "string" || pattern === "" || /[/\\\0{}]/.test(pattern.replace(field, ""))) {
      throw new ConfigurationError(`\`filename\` of ModelCheckpoint is ${describe(pattern)}.`, {
        hint: 'Give a pattern such as "{epoch:02d}-{val_loss:.3f}"; the folder goes into `dirpath`.',
      });
    }
    for (const [part, , spec = ""] of pattern.matchAll(field)) {
      if (format.test(spec)) continue;
      throw new ConfigurationError(`\`filename\` of ModelCheckpoint has ${describe(part)}, whose format is unknown.`, {
        hint: "Formats are Python's: `02d` for whole numbers, `.3f` or `.2e` for others.",
      });
    }
  }

  /** The name without ending. */
  of(values: Record<string, number>): string {
    const pattern = this.#pattern ?? defaultPattern(values);
    return pattern.replace(field, (_, name: string, spec: string | undefined) => {
      const value = values[name];
      if (value === undefined) {
        throw new ConfigurationError(`The name of the checkpoint needs \`${name}\`, which the hook was not given.`, {
          hint: `It was given: ${Object.keys(values).join(", ") || "nothing"}. Pass it as a metric, or change \`filename\`.`,
        });
      }
      const text = formatted(value, spec ?? "");
      // A metric called "val/loss" makes no folder.
      return this.#autoInsert ? `${name.replace(/[^\w.+-]+/g, "_")}=${text}` : text;
    });
  }
}

function defaultPattern(values: Record<string, number>): string {
  const known = ["epoch", "step"].filter((name) => name in values);
  if (known.length > 0) return known.map((name) => `{${name}}`).join("-");
  throw new ConfigurationError("The name of the checkpoint needs `epoch` or `step`, and the hook was given neither.", {
    hint: "Pass one of them to the hook, or set `filename`.",
  });
}

function formatted(value: number, spec: string): string {
  const [, zero, width, digits, type] = format.exec(spec) as RegExpExecArray;
  let text: string;
  if (type === "d") text = String(Math.round(value));
  else if (type === "e")
    text = value.toExponential(digits === undefined ? 6 : Number(digits)).replace(/e([+-])(\d)$/, "e$10$2");
  else if (type === "f" || digits !== undefined) text = value.toFixed(digits === undefined ? 6 : Number(digits));
  else text = String(Number.isInteger(value) ? value : Number(value.toPrecision(6)));
  const sign = zero && text.startsWith("-") ? "-" : "";
  return sign + text.slice(sign.length).padStart(Number(width) - sign.length, zero ? "0" : " ");
}
