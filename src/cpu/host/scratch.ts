/**
 * One page of native memory for what system calls read and write: messages, arguments, poll
 * entries. 64-bit fields are two words, the lower one first (all our hosts are little-endian).
 */
import { PAGE_SIZE } from "../../base/index.ts";
import {
  type Linux,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
  unavailable,
} from "./linux.ts";

const WORD = 4;
const HIGH = 2 ** 32;

export class Scratch {
  readonly address: number;
  readonly words: Uint32Array;
  readonly #linux: Linux;

  constructor(linux: Linux) {
    this.#linux = linux;
    const protection = PROT_READ | PROT_WRITE;
    const flags = MAP_PRIVATE | MAP_ANONYMOUS;
    const address = linux.mmap(0, PAGE_SIZE, protection, flags, -1, 0);
    if (address < 0) throw unavailable("mmap", linux.errno());
    this.address = address;
    this.words = new Uint32Array(linux.view(address, PAGE_SIZE));
  }

  /** The address of a word, for a call. */
  addressOf(word: number): number {
    return this.address + word * WORD;
  }

  /** Writes a non-negative integer below 2^53 as 64 bits. */
  set64(word: number, value: number): void {
    this.words[word] = value;
    this.words[word + 1] = value / HIGH;
  }

  /** 64 bits as a signed number; exact between -2^53 and 2^53. */
  get64(word: number): number {
    return (this.words[word + 1]! | 0) * HIGH + this.words[word]!;
  }

  /** Writes a timespec, rounded up to a nanosecond: its address, or 0 (none) for infinity. */
  setTime(word: number, milliseconds: number): number {
    if (milliseconds === Number.POSITIVE_INFINITY) return 0;
    const seconds = Math.floor(milliseconds / 1000);
    this.set64(word, seconds);
    this.set64(word + 2, Math.ceil((milliseconds - 1000 * seconds) * 1e6));
    return this.addressOf(word);
  }

  /** Nobody may touch `words` any more. */
  free(): void {
    this.#linux.munmap(this.address, PAGE_SIZE);
  }
}
