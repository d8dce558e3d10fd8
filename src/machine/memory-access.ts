/**
 * What a view needs of the memory below it: the window as words, and a way to say which bytes
 * it is about to touch. The engine supplies it; views never look at pages.
 */

import { formatAddress, SPACE_BYTES } from "../base/index.ts";
import { type HmmError, invalid } from "./error.ts";
import { show, showAddress } from "./given.ts";
import type { Layout } from "./layout.ts";
import { asAddress } from "./place/index.ts";

export interface MemoryAccess {
  // The whole window: the word of an address is at `address >>> 2`.
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  /** Called before each access. Throws an `HmmError` when the CPU may not touch these bytes. */
  need(address: number, bytes: number, write: boolean): void;
  /** Whether they may be read now, for who shows them: never throws. Without it `need` is asked. */
  mayRead?(address: number, bytes: number): boolean;
}

/** Throws EINVAL for what is no memory: an address that was given in its place, say. */
export function checkMemory(memory: MemoryAccess): void {
  if (typeof memory?.need === "function") return;
  throw invalid("at", `memory must be a space (machine.space), got ${show(memory)}`);
}

/** For views: the address that is meant by `given`. Throws EINVAL when `what` cannot lie there. */
export function placeFor(what: string, layout: Layout, given: number): number {
  const address = asAddress(given);
  const isIn = Number.isInteger(address) && address >= 0 && address <= SPACE_BYTES - layout.size;
  if (isIn && address % layout.align === 0) return address;
  throw badAddress(what, layout, given);
}

/** What is wrong with an address that is no place for `what`. */
export function badAddress(what: string, layout: Layout, given: number): HmmError {
  const address = asAddress(given);
  const limit = SPACE_BYTES - layout.size;
  const isIn = Number.isInteger(address) && address >= 0 && address <= limit;
  const rule = isIn ? `a multiple of ${layout.align}` : `an integer in 0..${formatAddress(limit)}`;
  const got = isIn ? showAddress(given) : show(given);
  return invalid("at", `address of ${what} must be ${rule}, got ${got}`);
}
