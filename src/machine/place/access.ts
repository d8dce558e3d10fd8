/**
 * An open bracket: bytes that are here to stay until it is closed. Made by `Space.access`.
 */
import { formatAddress } from "../../base/index.ts";
import type { Window } from "../../cpu/index.ts";
import type { Ask } from "../engine/index.ts";
import { invalid } from "../error.ts";
import { show } from "../given.ts";
import { INSPECT, listText } from "../inspect.ts";
import { type Place, rangeOf } from "./place.ts";

export type AccessMode = "read" | "write";

export interface AccessParts {
  readonly start: number;
  readonly bytes: number;
  readonly mode: AccessMode;
  readonly window: Window;
  readonly close: () => void;
}

/** What a call that makes memory ready for access asks for. */
export function askFor(
  call: string,
  window: SharedArrayBuffer,
  place: Place,
  mode: AccessMode,
): Ask<"access"> {
  const range = rangeOf(call, window, place);
  if (mode === "read" || mode === "write") return { ...range, write: mode === "write" };
  throw invalid(call, `mode must be "read" or "write", got ${show(mode)}`);
}

interface Words {
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
}

const wordsAt = (buffer: SharedArrayBuffer, start: number, length: number): Words => ({
  u32: new Uint32Array(buffer, start, length),
  i32: new Int32Array(buffer, start, length),
  f32: new Float32Array(buffer, start, length),
});

export class Access {
  readonly start: number;
  readonly mode: AccessMode;
  /** Exactly the range, on the shared window: index 0 is `start`. Don't use after `close`. */
  readonly bytes: Uint8Array;
  readonly #words: Words | undefined;
  readonly #close: () => void;
  #isOpen = true;

  constructor(parts: AccessParts) {
    const { start, bytes, window } = parts;
    this.start = start;
    this.mode = parts.mode;
    this.bytes = new Uint8Array(window.buffer, start, bytes);
    this.#words = start % 4 === 0 ? wordsAt(window.buffer, start, bytes >>> 2) : undefined;
    this.#close = parts.close;
  }

  /** The same bytes as words, all that are whole. Throws EINVAL where `start` is not aligned. */
  get u32(): Uint32Array {
    return this.#wordsAligned("u32").u32;
  }

  get i32(): Int32Array {
    return this.#wordsAligned("i32").i32;
  }

  get f32(): Float32Array {
    return this.#wordsAligned("f32").f32;
  }

  #wordsAligned(name: string): Words {
    if (this.#words !== undefined) return this.#words;
    const rule = `${name} needs a start that is a multiple of 4`;
    throw invalid("access", `${rule}, got ${formatAddress(this.start)}: use bytes`);
  }

  /** Ends the bracket; a second call does nothing. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#close();
  }

  /** Its bytes are here as long as it is open. */
  [INSPECT](): string {
    const { length } = this.bytes;
    const what = `${length} bytes at ${formatAddress(this.start)}, to ${this.mode}`;
    if (!this.#isOpen) return `Access (${what}, closed)`;
    return `Access (${what}) ${listText(Array.from(this.bytes.subarray(0, 8), String), length)}`;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
