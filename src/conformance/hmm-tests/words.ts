/**
 * Contents of buffers: every 32-bit word is a function of its place, so that a page that is lost,
 * stale or in the wrong place shows.
 */
import { PAGE_SIZE } from "../../base/index.ts";
import { fail } from "./expect.ts";

export const PAGE_WORDS = PAGE_SIZE / 4;

/** What word number `index` of a buffer holds; taken modulo 2^32. */
export type WordAt = (index: number) => number;

export const counted: WordAt = (index) => index;
export const negated: WordAt = (index) => -index;
export const zeros: WordAt = () => 0;
export const countedFrom =
  (start: number): WordAt =>
  (index) =>
    index + start;

/** The words of one page, wherever its bytes are. */
export const wordsOf = (page: Uint8Array): Uint32Array =>
  new Uint32Array(page.buffer, page.byteOffset, PAGE_WORDS);

/** `first`: the number of the word that `words` begins with. */
export function fillWords(words: Uint32Array, wordAt: WordAt, first: number): void {
  for (let i = 0; i < words.length; i++) words[i] = wordAt(first + i);
}

export function expectWords(what: string, words: Uint32Array, wordAt: WordAt, first: number): void {
  for (let i = 0; i < words.length; i++) {
    const wanted = wordAt(first + i) >>> 0;
    if (words[i] !== wanted) fail(`${what}, word ${first + i}: ${words[i]}, not ${wanted}`);
  }
}

/** An ordinary buffer beside the tested one: what a device read, or what it is to write. */
export class WordBuffer {
  readonly words: Uint32Array;

  constructor(pages: number, wordAt: WordAt = zeros) {
    this.words = new Uint32Array(pages * PAGE_WORDS);
    this.fill(wordAt);
  }

  fill(wordAt: WordAt): void {
    fillWords(this.words, wordAt, 0);
  }

  /** `first`: the number of the word that the buffer begins with. */
  expect(what: string, wordAt: WordAt, first = 0): void {
    expectWords(what, this.words, wordAt, first);
  }

  page(index: number): Uint32Array {
    return this.words.subarray(index * PAGE_WORDS, (index + 1) * PAGE_WORDS);
  }
}
