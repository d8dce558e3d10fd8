/**
 * Invariants, always on. A broken one is a bug in this library, never bad input:
 * bad input gets an error code (inside) or an `HmmError` (at the public face).
 */

export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws when `condition` is false. Pass a function for a message that costs something. */
export function assert(condition: boolean, message: string | (() => string)): asserts condition {
  if (!condition) throw new AssertionError(typeof message === "string" ? message : message());
}

/** For the place that no path reaches. */
export function unreachable(message: string): never {
  throw new AssertionError(message);
}
