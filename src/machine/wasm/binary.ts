/**
 * The alphabet of the WebAssembly binary format: bytes, LEB128 numbers, names. Every read is
 * checked against the end of its part. Source: WebAssembly specification, "Binary Format".
 */
import { type HmmError, hmmError, invalid } from "../error.ts";

/** What is wrong with a binary, for `throw malformed(…)`. */
export const malformed = (offset: number, what: string): HmmError =>
  invalid("adopt", `not a well-formed WebAssembly module: ${what} at byte ${offset}`);

/** What a binary uses that is not known here, for `throw unsupported(…)`. */
export const unsupported = (what: string): HmmError =>
  hmmError({ code: "EOPNOTSUPP", call: "adopt", detail: `the module uses ${what}` });

const U32_BYTES = 5;

/** Reads a part of a binary from front to back. */
export class Reader {
  readonly bytes: Uint8Array;
  /** Where the part ends. */
  readonly end: number;
  /** The next byte to be read. */
  at: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  get isAtEnd(): boolean {
    return this.at === this.end;
  }

  byte(): number {
    if (this.at >= this.end) throw malformed(this.at, "a part that ends too early");
    return this.bytes[this.at++]!;
  }

  /** The next byte, which stays the next. */
  peek(): number {
    const byte = this.byte();
    this.at--;
    return byte;
  }

  /** An unsigned number of at most 32 bits. */
  u32(): number {
    const start = this.at;
    let value = 0;
    for (let i = 0; i < U32_BYTES; i++) {
      const byte = this.byte();
      if (i === U32_BYTES - 1 && byte > 0x0f) throw malformed(start, "a number above 32 bits");
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte < 0x80) return value;
    }
    throw malformed(start, "a number above 32 bits");
  }

  /** Passes over a signed number of at most `bits` bits. */
  skipSigned(bits: 32 | 33 | 64): void {
    const start = this.at;
    for (let left = Math.ceil(bits / 7); left > 0; left--) if (this.byte() < 0x80) return;
    throw malformed(start, `a number above ${bits} bits`);
  }

  skip(count: number): void {
    if (count > this.end - this.at) throw malformed(this.at, "a part that ends too early");
    this.at += count;
  }

  name(): string {
    const start = this.at;
    const part = this.part(this.u32());
    try {
      // A copy, because the binary may itself lie in shared memory.
      const bytes = this.bytes.slice(part.at, part.end);
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw malformed(start, "a name that is not UTF-8");
    }
  }

  /** The next `count` bytes as a part of their own; this one goes on behind them. */
  part(count: number): Reader {
    const start = this.at;
    this.skip(count);
    return new Reader(this.bytes, start, this.at);
  }

  /** The bytes from `start` up to where reading has come. */
  since(start: number): Uint8Array {
    return this.bytes.subarray(start, this.at);
  }

  /** All that is left. */
  rest(): Uint8Array {
    return this.bytes.subarray(this.at, this.end);
  }

  expectEnd(what: string): void {
    if (!this.isAtEnd) throw malformed(this.at, `${what} with bytes left over`);
  }
}

/** Collects the bytes of a binary. */
export class Writer {
  #bytes: Uint8Array;
  #length = 0;

  constructor(capacity = 64) {
    this.#bytes = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  byte(...values: number[]): this {
    this.#reserve(values.length);
    for (const value of values) this.#bytes[this.#length++] = value;
    return this;
  }

  u32(value: number): this {
    let left = value;
    for (; left >= 0x80; left = Math.floor(left / 128)) this.byte((left % 128) | 0x80);
    return this.byte(left);
  }

  raw(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  name(text: string): this {
    const bytes = new TextEncoder().encode(text);
    return this.u32(bytes.length).raw(bytes);
  }

  /** What was written so far; not to be written on. */
  done(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    grown.set(this.done());
    this.#bytes = grown;
  }
}
