/** A thread's end of a mailbox: calls that block, calls that are promises, and posts. */
import { assert } from "../../../base/index.ts";
import { type HmmError, hmmError } from "../../error.ts";
import { encode } from "./codec.ts";
import { Exchange, type Letter } from "./exchange.ts";
import { HeaderWord, Kind, MailboxMemory, SlotWord } from "./memory.ts";
import { Pulse } from "./pulse.ts";
import { isAlive, NOBODY } from "./thread.ts";

export interface CallOptions {
  /** The newest four numbers that the kernel thread reported. If it throws, the call is aborted. */
  readonly onProgress?: (values: Float64Array) => void;
  /** Tells the kernel thread that the answer is not wanted any more; it decides what to answer. */
  readonly signal?: AbortSignal;
  /** False: the process may end before there is an answer. Default true. */
  readonly ref?: boolean;
}

/** A call that waits for a slot. */
interface Waiting {
  readonly letter: Letter;
  readonly start: (slot: number) => void;
  readonly fail: (error: HmmError) => void;
}

/** How long a blocked thread sleeps before it looks whether somebody still answers. */
const SLICE_MS = 1000;

/** TypeScript's library for ES2023 does not know it; every Node that we run on has it. */
type WaitAsync = (
  words: Int32Array,
  index: number,
  value: number,
) => { readonly async: boolean; readonly value: unknown };
const { waitAsync } = Atomics as unknown as { readonly waitAsync: WaitAsync };

/**
 * Serves one thread, the one that made it; a thread may have several. All calls throw (or reject
 * with) what the kernel thread answered them with, EINVAL for a request that is no plain data,
 * and ENODEV when the mailbox is closed or the kernel thread dead. Errors name the call after the
 * request's `name`, if it has one.
 *
 * Calls of a thread are taken in the order in which they got their slots, which is the order in
 * which they were made unless all slots were in use.
 */
export class MailboxClient {
  readonly #memory: MailboxMemory;
  readonly #pulse: Pulse;
  /** Slots that a promise may hold. A thread that blocks cannot read the answers of its promises,
   * so it never waits for a slot that only they could give back. */
  readonly #sharedSlots: number;
  readonly #queue: Waiting[] = [];
  #isFeeding = false;
  /** Where the last free slot was found. */
  #hint = 0;

  constructor(shared: SharedArrayBuffer) {
    this.#memory = new MailboxMemory(shared);
    const { slotCount } = this.#memory;
    this.#sharedSlots = slotCount - Math.max(1, slotCount >> 3);
    this.#pulse = new Pulse(SLICE_MS, () => this.#lookUp());
  }

  /** Why no call is taken any more, or undefined. */
  get closedBecause(): string | undefined {
    return this.#memory.endedBecause;
  }

  /** A word that is not 0 once no call is taken: for who has to look before each access. */
  get closedWord(): Int32Array {
    const at = HeaderWord.closed;
    return this.#memory.words.subarray(at, at + 1);
  }

  /** Goes up while the kernel thread's loop turns: how to tell a busy one from a stuck one. */
  get beats(): number {
    return Atomics.load(this.#memory.words, HeaderWord.beats);
  }

  /** The answer, when it is there. Rejects with EINTR, unsent, if `signal` was faster. */
  async call<R>(request: unknown, options: CallOptions = {}): Promise<R> {
    return (await this.#run(seal(Kind.call, request), options)) as R;
  }

  /** The answer; this thread is blocked until it is there. */
  callNow<R>(request: unknown): R {
    const letter = seal(Kind.call, request);
    const slot = this.#claimNow(letter.call);
    const exchange = new Exchange(this.#memory, slot, letter);
    const { words } = this.#memory;
    const events = this.#memory.wordOf(slot, SlotWord.events);
    for (;;) {
      const seen = Atomics.load(words, events);
      if (exchange.step()) break;
      if (Atomics.wait(words, events, seen, SLICE_MS) === "timed-out") this.#lookUp();
    }
    return exchange.finish()() as R;
  }

  /**
   * Sends a request whose answer nobody waits for. Unless all slots are in use, it is served even
   * if this thread is terminated now. A failure becomes a warning of the process. Throws EINVAL
   * like the others.
   */
  post(request: unknown): void {
    const letter = seal(Kind.post, request);
    this.#run(letter, {}).catch((error: unknown) => {
      process.emitWarning(`${letter.call} failed: ${String(error)}`, "OnespaceWarning");
    });
  }

  /** Wakes the kernel thread for a reason of the caller's own. */
  ring(): void {
    this.#memory.nudge();
  }

  /** Says that the kernel thread answers no more: all who wait for it, on any thread, are told. */
  die(reason: string): void {
    this.#memory.die(reason);
  }

  // Calls that are promises.

  async #run(letter: Letter, options: CallOptions): Promise<unknown> {
    const { signal, ref = true } = options;
    if (signal?.aborted) throw aborted(letter, signal);
    this.#pulse.begin(ref);
    try {
      let slot = this.#queue.length > 0 ? -1 : this.#claim(this.#sharedSlots);
      if (slot < 0) slot = await this.#queueUp(letter, signal);
      return await this.#exchange(slot, letter, options);
    } finally {
      this.#pulse.end(ref);
    }
  }

  async #exchange(slot: number, letter: Letter, options: CallOptions): Promise<unknown> {
    const { signal } = options;
    const { words } = this.#memory;
    const exchange = new Exchange(this.#memory, slot, letter);
    const events = this.#memory.wordOf(slot, SlotWord.events);
    const abort = (): void => {
      this.#memory.store(slot, SlotWord.abort, 1);
      this.#memory.ask(slot);
    };
    signal?.addEventListener("abort", abort, { once: true });
    const reporter = new Reporter(options.onProgress, abort);
    for (let isFirst = true; ; isFirst = false) {
      const seen = Atomics.load(words, events);
      const isOver = exchange.step();
      reporter.report(exchange.takeProgress());
      if (isOver) break;
      // It may have happened while the call queued.
      if (isFirst && signal?.aborted) abort();
      const waited = waitAsync(words, events, seen);
      if (waited.async) await waited.value;
    }
    signal?.removeEventListener("abort", abort);
    const open = exchange.finish();
    reporter.check();
    return open();
  }

  /** A slot, once it is this call's turn. */
  #queueUp(letter: Letter, signal: AbortSignal | undefined): Promise<number> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#queue.splice(this.#queue.indexOf(waiting), 1);
        reject(aborted(letter, signal));
      };
      const stay = (): void => signal?.removeEventListener("abort", leave);
      const waiting: Waiting = {
        letter,
        start: (slot) => {
          stay();
          resolve(slot);
        },
        fail: (error) => {
          stay();
          reject(error);
        },
      };
      signal?.addEventListener("abort", leave, { once: true });
      this.#queue.push(waiting);
      if (!this.#isFeeding) void this.#feed();
    });
  }

  /** Gives free slots to those who queue, until nobody does. Never throws. */
  async #feed(): Promise<void> {
    const { words } = this.#memory;
    this.#isFeeding = true;
    Atomics.add(words, HeaderWord.waiters, 1);
    while (this.#queue.length > 0) {
      const seen = Atomics.load(words, HeaderWord.freed);
      this.#feedNow();
      if (this.#queue.length === 0) break;
      const waited = waitAsync(words, HeaderWord.freed, seen);
      if (waited.async) await waited.value;
    }
    Atomics.sub(words, HeaderWord.waiters, 1);
    this.#isFeeding = false;
  }

  #feedNow(): void {
    const memory = this.#memory;
    while (this.#queue.length > 0) {
      const isOver = memory.endedBecause !== undefined;
      const slot = isOver ? -1 : this.#claim(this.#sharedSlots);
      if (slot < 0 && !isOver) return;
      const { letter, start, fail } = this.#queue.shift()!;
      if (isOver) fail(memory.refusal(letter.call));
      else start(slot);
    }
  }

  // Slots.

  /** A slot; this thread is blocked until there is one. */
  #claimNow(call: string): number {
    const { words, slotCount, server, self } = this.#memory;
    assert(server !== self, "the kernel thread cannot wait for itself");
    let slot = this.#claim(slotCount);
    if (slot < 0) {
      // A thread that is terminated here leaves the count too high: that costs notifications.
      Atomics.add(words, HeaderWord.waiters, 1);
      while (slot < 0) {
        const seen = Atomics.load(words, HeaderWord.freed);
        slot = this.#claim(slotCount);
        if (slot >= 0 || this.#memory.endedBecause !== undefined) break;
        if (Atomics.wait(words, HeaderWord.freed, seen, SLICE_MS) === "timed-out")
          this.#lookUp(true);
      }
      Atomics.sub(words, HeaderWord.waiters, 1);
      if (slot < 0) throw this.#memory.refusal(call);
    }
    return slot;
  }

  /** A free one of the first `count` slots, or -1. Each thread keeps to its own while it can. */
  #claim(count: number): number {
    for (let i = 0; i < count; i++) {
      const slot = (this.#hint + i) % count;
      if (!this.#memory.claim(slot)) continue;
      this.#hint = slot;
      return slot;
    }
    return -1;
  }

  /** Once a second while anybody waits: does somebody still answer, are there slots at all? */
  #lookUp(isOutOfSlots = this.#queue.length > 0): void {
    const memory = this.#memory;
    const { server } = memory;
    if (server !== NOBODY && !memory.isDead && !isAlive(server)) {
      memory.die("the kernel thread has ended");
    }
    // Who declared it dead may have ended before it woke everybody.
    if (memory.isDead) memory.wakeAll();
    else if (isOutOfSlots) memory.nudge();
  }
}

function seal(kind: Letter["kind"], request: unknown): Letter {
  const { name } = (request ?? {}) as { readonly name?: unknown };
  const call = typeof name === "string" ? name : "call";
  return { call, kind, bytes: encode(call, request) };
}

const aborted = ({ call }: Letter, signal: AbortSignal | undefined): HmmError =>
  hmmError({
    code: "EINTR",
    call,
    detail: "it was aborted before it began",
    cause: signal?.reason,
  });

/** Hands progress to the user's function, whose errors must not leave a slot behind. */
class Reporter {
  readonly #onProgress: ((values: Float64Array) => void) | undefined;
  readonly #abort: () => void;
  #failure: { readonly error: unknown } | undefined;

  constructor(onProgress: ((values: Float64Array) => void) | undefined, abort: () => void) {
    this.#onProgress = onProgress;
    this.#abort = abort;
  }

  report(values: Float64Array | undefined): void {
    if (values === undefined || this.#onProgress === undefined) return;
    if (this.#failure !== undefined) return;
    try {
      this.#onProgress(values);
    } catch (error) {
      this.#failure = { error };
      this.#abort();
    }
  }

  /** Throws what the user's function threw. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
