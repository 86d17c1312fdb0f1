// Makes one object answer for another without a Proxy: every member becomes an accessor or a bound function.

/**
 * internal: gives `wrapper` all members of `inner` that it does not define itself. Values are read and written live on `inner`, methods run with
 * `inner` as `this`, so that private fields work. Members that `inner` gets later are not seen.
 */
export function forwardMembers(wrapper: object, inner: object): void {
  const defined = new Set<PropertyKey>();
  for (
    let level: object | null = wrapper;
    level !== null && level !== Object.prototype && level !== inner;
    level = Object.getPrototypeOf(level)
  ) {
    for (const key of Reflect.ownKeys(level)) defined.add(key);
  }
  for (
    let level: object | null = inner;
    level !== null && level !== Object.prototype;
    level = Object.getPrototypeOf(level)
  ) {
    for (const key of Reflect.ownKeys(level)) {
      if (defined.has(key)) continue;
      defined.add(key);
      forwardMember(
        wrapper,
        inner,
        key,
        Object.getOwnPropertyDescriptor(level, key) as PropertyDescriptor,
        level !== inner,
      );
    }
  }
}

function forwardMember(
  wrapper: object,
  inner: object,
  key: PropertyKey,
  found: PropertyDescriptor,
  isInherited: boolean,
): void {
  const target = inner as Record<PropertyKey, unknown>;
  if (isInherited && typeof found.value === "function") {
    const method = (...args: unknown[]): unknown => {
      const result = (target[key] as (...args: unknown[]) => unknown).apply(inner, args);
      return result === inner ? wrapper : result;
    };
    Object.defineProperty(method, "name", { value: typeof key === "symbol" ? (key.description ?? "") : String(key) });
    Object.defineProperty(wrapper, key, { value: method, writable: true, configurable: true, enumerable: false });
    return;
  }
  Object.defineProperty(wrapper, key, {
    get: () => target[key],
    set: (value: unknown) => {
      target[key] = value;
    },
    configurable: true,
    enumerable: found.enumerable === true,
  });
}
