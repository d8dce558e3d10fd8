/**
 * An open bracket: bytes that are here to stay until it is closed. Made by `Space.access`.
 */
import type { Window } from "../cpu/index.ts";

export type AccessMode = "read" | "write";

export interface AccessParts {
  readonly start: number;
  readonly bytes: number;
  readonly mode: AccessMode;
  readonly window: Window;
  readonly close: () => void;
}

export class Access {
  readonly start: number;
  readonly mode: AccessMode;
  /** Exactly the range, on the shared window: index 0 is `start`. Don't use after `close`. */
  readonly bytes: Uint8Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  readonly #close: () => void;
  #isOpen = true;

  constructor(parts: AccessParts) {
    const { start, bytes, window } = parts;
    const words = bytes >>> 2;
    this.start = start;
    this.mode = parts.mode;
    this.bytes = new Uint8Array(window.buffer, start, bytes);
    this.u32 = new Uint32Array(window.buffer, start, words);
    this.i32 = new Int32Array(window.buffer, start, words);
    this.f32 = new Float32Array(window.buffer, start, words);
    this.#close = parts.close;
  }

  /** Ends the bracket; a second call does nothing. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
