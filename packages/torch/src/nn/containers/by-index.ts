// internal: `list[0]` for containers of modules. Getters on the class, not on each container: they are none of its members.
import type { AnyModule } from "../module.js";

const HIGHEST = 512;

/** A container whose modules have positions. */
interface Positioned {
  at(index: number): AnyModule | undefined;
  set(index: number, module: AnyModule): unknown;
}

const prepared = new Set<Positioned>();

/**
 * internal: lets brackets read and replace the modules of a class of containers. Constructors call it: a program without containers
 * starts without the thousand properties.
 */
export function indexable(prototype: Positioned): void {
  if (prepared.has(prototype)) return;
  prepared.add(prototype);
  for (let index = 0; index < HIGHEST; index++) {
    Object.defineProperty(prototype, index, {
      get(this: Positioned) {
        return this.at(index);
      },
      set(this: Positioned, module: AnyModule) {
        this.set(index, module);
      },
      configurable: true,
    });
  }
}
