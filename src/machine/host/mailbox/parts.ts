/** What is larger than a slot, in parts: one half puts them there, the other takes them. */
import { assert } from "../../../base/index.ts";
import { type MailboxMemory, SlotWord } from "./memory.ts";

export class OutgoingParts {
  readonly #bytes: Uint8Array;
  #sent = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Fills the slot with the next part; true when it is the last. Only with the turn. */
  put(memory: MailboxMemory, slot: number): boolean {
    const total = this.#bytes.length;
    const length = Math.min(total - this.#sent, memory.partBytes);
    memory.payload(slot).set(this.#bytes.subarray(this.#sent, this.#sent + length));
    memory.store(slot, SlotWord.offset, this.#sent);
    memory.store(slot, SlotWord.length, length);
    memory.store(slot, SlotWord.total, total);
    this.#sent += length;
    return this.#sent === total;
  }
}

export class IncomingParts {
  #bytes: Uint8Array | undefined;

  /** Takes what is in the slot; the whole when it is complete. Only with the turn. */
  take(memory: MailboxMemory, slot: number): Uint8Array | undefined {
    const offset = memory.load(slot, SlotWord.offset);
    const length = memory.load(slot, SlotWord.length);
    const total = memory.load(slot, SlotWord.total);
    // The first part begins anew: who sent before may have ended in the middle.
    if (offset === 0) this.#bytes = new Uint8Array(total);
    const bytes = this.#bytes;
    assert(bytes?.length === total, "parts of one thing agree about its size");
    bytes.set(memory.payload(slot).subarray(0, length), offset);
    if (offset + length < total) return undefined;
    this.#bytes = undefined;
    return bytes;
  }
}
