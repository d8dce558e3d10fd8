/** A request that the server took, until it is answered. */
import { assert } from "../../../base/index.ts";
import { hmmError } from "../../error.ts";
import { encode, packError } from "./codec.ts";
import { Kind, type MailboxMemory, SlotWord, State } from "./memory.ts";
import { OutgoingParts } from "./parts.ts";
import { type ThreadId, threadNumber } from "./thread.ts";

export interface CallParts {
  readonly memory: MailboxMemory;
  readonly slot: number;
  readonly request: unknown;
  readonly owner: ThreadId;
  readonly ticket: number;
  readonly isPost: boolean;
  /** The slot is the caller's again. */
  readonly onAnswered: () => void;
}

export class Call {
  readonly request: unknown;
  /** The calling thread. It may be gone. */
  readonly owner: ThreadId;
  /** Linux's number of it. */
  readonly ownerThread: number;
  /** Nobody waits for the answer of a post. */
  readonly isPost: boolean;
  /** Which of two calls is older: the difference, modulo 2^32, is negative. */
  readonly ticket: number;
  /** Called by `MailboxServer.next` when it finds that nobody wants the answer any more. */
  onAborted: (() => void) | undefined;
  readonly #memory: MailboxMemory;
  readonly #onAnswered: () => void;
  /** -1: the caller is gone, and the slot another's. */
  #slot: number;
  #answer: OutgoingParts | undefined;
  #hasNoticed = false;

  constructor(parts: CallParts) {
    this.request = parts.request;
    this.owner = parts.owner;
    this.ownerThread = threadNumber(parts.owner);
    this.isPost = parts.isPost;
    this.ticket = parts.ticket;
    this.#memory = parts.memory;
    this.#slot = parts.slot;
    this.#onAnswered = parts.onAnswered;
  }

  /** Whether nobody wants the answer: the caller aborted, or is gone. It still has to be given. */
  get isAborted(): boolean {
    if (this.#slot < 0) return !this.isPost;
    return this.#memory.load(this.#slot, SlotWord.abort) !== 0;
  }

  /** Whether `reply` or `fail` was called. */
  get isAnswered(): boolean {
    return this.#answer !== undefined;
  }

  /** What cannot cross to another thread becomes an EIO for the caller. */
  reply(value: unknown): void {
    let bytes: Uint8Array;
    try {
      bytes = encode("reply", value);
    } catch (cause) {
      const detail = "the answer cannot cross to another thread";
      this.fail(hmmError({ code: "EIO", call: "reply", detail, cause }));
      return;
    }
    this.#send(Kind.value, bytes);
  }

  fail(error: unknown): void {
    this.#send(Kind.error, encode("fail", packError(error)));
  }

  /** The caller sees the newest of what is reported, up to four numbers, not all of it. */
  progress(values: ArrayLike<number>): void {
    if (this.#slot < 0 || this.#memory.isDead) return;
    assert(!this.isAnswered, "a call that was answered makes no progress");
    const numbers = this.#memory.progressNumbers(this.#slot);
    assert(values.length <= numbers.length, "progress is up to four numbers");
    const { words } = this.#memory;
    const word = this.#memory.wordOf(this.#slot, SlotWord.progress);
    Atomics.add(words, word, 1);
    numbers.fill(0).set(values);
    Atomics.add(words, word, 1);
    this.#memory.announce(this.#slot);
  }

  #send(kind: typeof Kind.value | typeof Kind.error, bytes: Uint8Array): void {
    assert(!this.isAnswered, "a call is answered once");
    this.#answer = new OutgoingParts(bytes);
    if (this.#slot < 0) return;
    this.#memory.store(this.#slot, SlotWord.kind, kind);
    this.sendPart();
  }

  // What only the server calls.

  /** The caller has read a part of the answer, or is to get the first. */
  sendPart(): void {
    const slot = this.#slot;
    // Who was told that there is no answer may have left already.
    if (this.#memory.isDead) return;
    assert(slot >= 0 && this.#answer !== undefined, "an answer has a reader");
    const isLast = this.#answer.put(this.#memory, slot);
    this.#memory.store(slot, SlotWord.state, isLast ? State.reply : State.replyPart);
    this.#memory.announce(slot);
    if (isLast) this.#onAnswered();
  }

  /** Tells who serves it, once, that the answer is not wanted. */
  notice(): void {
    if (!this.isAborted || this.isAnswered || this.#hasNoticed) return;
    this.#hasNoticed = true;
    this.onAborted?.();
  }

  /** The caller is gone: its slot will be another's. */
  detach(): void {
    this.#slot = -1;
    this.notice();
  }
}
