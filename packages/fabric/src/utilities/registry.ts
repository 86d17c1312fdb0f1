// What the registries of strategies and accelerators have in common: classes by name, with the arguments to make objects of them.
import { ConfigurationError } from "@fabric-ts/torch";
import { isPlainObject } from "./apply-to-collection.js";
import { checkOptions, describe } from "./describe.js";

/** What a registry makes objects with: a class, or a function that returns a new object. */
// biome-ignore lint/suspicious/noExplicitAny: any constructor arguments
export type Maker<T> = (new (...args: any[]) => T) | (() => T);

/** Options of `register`. */
export interface RegisterOptions {
  /** A sentence about what is registered (default empty). */
  description?: string | undefined;
  /** Replace what has the name (default false). */
  override?: boolean | undefined;
  /** Constructor arguments, for a class. */
  init?: readonly unknown[] | undefined;
}

interface Entry<T> {
  create: () => T;
  description: string;
}

/** internal: what a registry is of, for its error texts. */
interface Kind<T> {
  /** What everything registered has to extend. */
  readonly base: abstract new (
    ...args: never[]
  ) => T;
  readonly one: string;
  readonly many: string;
  /** How users call the registry. */
  readonly variable: string;
}

/** Objects by name. */
export abstract class Registry<T extends object> {
  readonly #entries = new Map<string, Entry<T>>();
  readonly #kind: Kind<T>;

  constructor(kind: Kind<T>) {
    this.#kind = kind;
  }

  /**
   * Adds a class, or a function that makes an object, under a name; replacing one needs `{ override: true }`. Returns what was added. Without
   * a class it is a decorator: `@strategyRegistry.register("mine", { description: "..." })`.
   */
  register<M extends Maker<T>>(name: string, maker: M, options?: RegisterOptions): M;
  register(name: string, options?: RegisterOptions): <M extends Maker<T>>(maker: M, context?: unknown) => M;
  register(name: string, maker?: unknown, options: RegisterOptions = {}): unknown {
    if (typeof name !== "string") throw new TypeError(`\`name\` must be a string, found ${describe(name)}.`);
    if (maker === undefined || isPlainObject(maker)) {
      return (decorated: Maker<T>) => this.register(name, decorated, maker as RegisterOptions | undefined);
    }
    const { many, variable, base } = this.#kind;
    checkOptions(`${variable}.register`, options, ["description", "override", "init"]);
    if (typeof maker !== "function") {
      throw new TypeError(
        `Expected a class of ${many} or a function that makes one, but got ${describe(maker)}.\nType \`${variable}.register("${name}", My${base.name})\`.`,
      );
    }
    const key = this.keyOf(name);
    if (this.#entries.has(key) && !options.override) {
      throw new ConfigurationError(`'${name}' is already present in the registry.`, {
        hint: "Pass `{ override: true }` to replace it.",
      });
    }
    const { init = [], description = "" } = options;
    this.#entries.set(key, { create: () => this.#make(name, maker as Maker<T>, init), description });
    return maker;
  }

  /** A new object of what has this name; for an unknown one `otherwise`, where it is given. */
  get(name: string): T;
  get<D>(name: string, otherwise: D): T | D;
  get<D>(name: string, ...otherwise: [D?]): T | D | undefined {
    const found = this.#entry(name);
    if (found) return found.create();
    if (otherwise.length > 0) return otherwise[0];
    throw this.notFound(name);
  }
  /** True when the name is taken. */
  has(name: string): boolean {
    return this.#entry(name) !== undefined;
  }
  /** Takes a name away. */
  remove(name: string): void {
    this.#entries.delete(this.keyOf(name));
  }
  /** The sentence that was registered with a name; undefined for an unknown one. */
  description(name: string): string | undefined {
    return this.#entry(name)?.description;
  }
  /** All names, in the order of registration. */
  names(): string[] {
    return [...this.#entries.keys()];
  }
  toString(): string {
    const { many } = this.#kind;
    return `Registered ${many.charAt(0).toUpperCase()}${many.slice(1)}: ${this.names().join(", ")}`;
  }

  /** internal: under which key a name is kept. */
  protected keyOf(name: string): string {
    return name;
  }
  /** internal: what `get` throws for an unknown name. */
  protected notFound(name: string): Error {
    return new ConfigurationError(`'${name}' not found in registry.`, {
      hint: `Available names: ${this.names().sort().join(", ")}.`,
    });
  }

  #entry(name: string): Entry<T> | undefined {
    return this.#entries.get(this.keyOf(name));
  }
  #make(name: string, maker: Maker<T>, init: readonly unknown[]): T {
    const { base, one } = this.#kind;
    const made: unknown = isClass(maker, base) ? new maker(...init) : (maker as () => T)();
    if (made instanceof base) return made;
    const article = /^[aeiou]/i.test(base.name) ? "an" : "a";
    throw new TypeError(
      `What is registered as the ${one} '${name}' made ${describe(made)}, not ${article} ${base.name}.\nRegister a class that extends \`${base.name}\`, or a function that returns such an object.`,
    );
  }
}

function isClass<T>(
  maker: Maker<T>,
  base: abstract new (...args: never[]) => T,
): maker is new (
  ...args: unknown[]
) => T {
  return maker.prototype instanceof base;
}
