// Reading numbers from the environment, with errors that name the variable.
import { ConfigurationError } from "@fabric-ts/torch/base";

/** internal: a whole number >= 0 from a variable that has to be there. `who` says which cluster should have set it. */
export function requiredNumber(name: string, who: string): number {
  const value = optionalNumber(name);
  if (value !== undefined) return value;
  throw new ConfigurationError(`The environment variable ${name} is not set, although ${who} should have set it.`, {
    hint: `Start the program with ${who}, or set ${name}.`,
  });
}

/** internal: a whole number >= 0 from a variable, undefined when it is not set. */
export function optionalNumber(name: string): number | undefined {
  const text = process.env[name];
  if (text === undefined || text === "") return undefined;
  if (/^\s*\d{1,15}\s*$/.test(text)) return Number(text);
  throw new ConfigurationError(
    `The environment variable ${name} should be a whole number, but is ${JSON.stringify(text)}.`,
    {
      hint: `Correct or unset ${name}.`,
    },
  );
}

/** internal: a port number from a variable, undefined when it is not set. */
export function optionalPort(name: string): number | undefined {
  const port = optionalNumber(name);
  if (port === undefined || port <= 65535) return port;
  throw new ConfigurationError(`The environment variable ${name} should be a port, but is ${port}.`, {
    hint: "Ports go up to 65535.",
  });
}
