/** What is behind a file of a test, and words as bytes. */
import { PAGE_SIZE } from "../../src/base/index.ts";
import type { FileBacking } from "../../src/mm/index.ts";

const offsetOf = (index: number): number => index * PAGE_SIZE;

/** What is behind a file: bytes, a note of each call, and errors on demand. */
export class TestBacking implements FileBacking {
  readonly bytes: Uint8Array;
  readonly log: string[] = [];
  readError = 0;
  writeError = 0;
  resizeError = 0;

  /** Pages that begin with 100, 101, … */
  constructor(count: number) {
    this.bytes = new Uint8Array(offsetOf(count + 8));
    for (let i = 0; i < count; i++) this.bytes.set(wordBytes(100 + i), offsetOf(i));
  }

  /** The first word of page `index` as it is stored. */
  word(index: number): number {
    return firstWord(this.bytes.subarray(offsetOf(index)));
  }

  readPage(index: number, page: Uint8Array): number {
    this.log.push(`read ${index}`);
    if (this.readError < 0) return this.readError;
    page.set(this.bytes.subarray(offsetOf(index), offsetOf(index + 1)));
    return 0;
  }

  writePage(index: number, page: Uint8Array): number {
    this.log.push(`write ${index} ${page.length}`);
    if (this.writeError < 0) return this.writeError;
    this.bytes.set(page, offsetOf(index));
    return 0;
  }

  resize(bytes: number): number {
    this.log.push(`resize ${bytes}`);
    return this.resizeError;
  }

  close(): void {
    this.log.push("close");
  }
}

export const firstWord = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);

/** A word as bytes. */
export const wordBytes = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  setFirstWord(bytes, value);
  return bytes;
};

export const setFirstWord = (bytes: Uint8Array, value: number): void =>
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, value, true);
