/**
 * The kernel thread's end of a mailbox. It is passive: its owner's loop asks it for calls, tells
 * it before and after it sleeps, and may call it from anywhere in that loop.
 *
 * ```ts
 * for (;;) {
 *   for (let call = server.next(); call !== undefined; call = server.next()) serve(call);
 *   if (server.beforeSleep()) poll([faults, doorbell]);
 *   server.afterSleep();
 * }
 * ```
 */
import { hmmError } from "../../error.ts";
import { Call } from "./call.ts";
import { decode } from "./codec.ts";
import { HeaderWord, Kind, MailboxMemory, type SlotState, SlotWord, State } from "./memory.ts";
import { IncomingParts } from "./parts.ts";
import { isAlive, NOBODY, type ThreadId } from "./thread.ts";

export interface ServerOptions {
  /** An eventfd that ends the owner's sleep. Without one the owner sleeps in `sleep`. */
  readonly doorbell?: number;
}

/** After so many calls the slots of threads that are gone are freed unasked. */
const REAP_EVERY = 4096;
/** How long `drain` sleeps between two looks. */
const DRAIN_SLICE_MS = 5;

export class MailboxServer {
  readonly #memory: MailboxMemory;
  /** Per slot: the call that is served, until its answer is there. */
  readonly #calls: (Call | undefined)[];
  /** Per slot: a request of which more is to come. */
  readonly #incoming: (IncomingParts | undefined)[];
  /** Taken and not handed out, oldest first. */
  #ready: Call[] = [];
  #takenCount = 0;

  /** For the thread that serves from now on. */
  constructor(shared: SharedArrayBuffer, options: ServerOptions = {}) {
    this.#memory = new MailboxMemory(shared);
    this.#calls = new Array(this.#memory.slotCount).fill(undefined);
    this.#incoming = new Array(this.#memory.slotCount).fill(undefined);
    this.#memory.becomeServer(options.doorbell ?? -1);
  }

  /**
   * The oldest call of those that were found together. Also does what callers with larger things
   * to send wait for, and calls `onAborted`: to be asked until it says undefined.
   */
  next(): Call | undefined {
    if (this.#memory.isAnythingPending) this.#look();
    for (let call = this.#ready.shift(); call !== undefined; call = this.#ready.shift()) {
      if (!call.isAborted) return call;
      const detail = "it was aborted before it began";
      call.fail(hmmError({ code: "EINTR", call: nameOf(call), detail }));
    }
    return undefined;
  }

  /**
   * True if the owner may sleep: whoever wants something from now on rings. False if somebody
   * does already.
   */
  beforeSleep(): boolean {
    Atomics.store(this.#memory.words, HeaderWord.sleeping, 1);
    if (this.#ready.length === 0 && !this.#memory.isAnythingPending) return true;
    this.afterSleep();
    return false;
  }

  afterSleep(): void {
    Atomics.store(this.#memory.words, HeaderWord.sleeping, 0);
  }

  /** For an owner without a doorbell: sleeps until somebody wants something, or for `limitMs`. */
  sleep(limitMs = Number.POSITIVE_INFINITY): void {
    const { words } = this.#memory;
    const seen = Atomics.load(words, HeaderWord.bell);
    if (this.beforeSleep()) Atomics.wait(words, HeaderWord.bell, seen, limitMs);
    this.afterSleep();
  }

  /** For who watches: the owner's loop turns. */
  beat(): void {
    Atomics.add(this.#memory.words, HeaderWord.beats, 1);
  }

  /**
   * No call is taken any more, and those that were not handed out fail with ENODEV. Those that
   * were get the answers that they are given; call `drain` then.
   */
  close(reason: string): void {
    this.#memory.close(reason);
    const ready = this.#ready;
    this.#ready = [];
    for (const call of ready) call.fail(this.#memory.refusal(nameOf(call)));
  }

  /** Nobody gets an answer any more: all who wait fail with ENODEV. */
  die(reason: string): void {
    this.#memory.die(reason);
    this.#ready = [];
  }

  /**
   * After `close`, when all calls are answered: lets callers read their answers. True when nobody
   * can ring any more, so that the doorbell may be closed; false if `limitMs` was too short.
   */
  drain(limitMs: number): boolean {
    const { words } = this.#memory;
    const deadline = performance.now() + limitMs;
    Atomics.add(words, HeaderWord.waiters, 1);
    for (;;) {
      const seen = Atomics.load(words, HeaderWord.freed);
      this.next();
      const isQuiet = this.isQuiet();
      if (isQuiet || performance.now() >= deadline) {
        Atomics.sub(words, HeaderWord.waiters, 1);
        return isQuiet;
      }
      Atomics.wait(words, HeaderWord.freed, seen, DRAIN_SLICE_MS);
    }
  }

  /** Whether no living thread holds a slot. After `close` it stays so. */
  isQuiet(): boolean {
    return this.#memory.isQuiet;
  }

  /**
   * Frees the slots of threads that are gone, and answers how many. What they asked and nobody
   * took yet is dropped, but for posts; what is being served becomes `isAborted`.
   *
   * A slot may change hands while its owner is looked up, so the owner is read again:
   * ```
   *   server                       others
   *   owner? A                     A frees the slot and ends; B claims it
   *   A alive? no
   *   owner? B: leave it
   * ```
   * If it is still A, it stays A: nobody else may take or free what A holds.
   */
  reap(): number {
    Atomics.store(this.#memory.words, HeaderWord.nudge, 0);
    const isGone = new Map<ThreadId, boolean>([[NOBODY, false]]);
    let freed = 0;
    for (let slot = 0; slot < this.#memory.slotCount; slot++) {
      const owner = this.#memory.owner(slot);
      if (!isGone.has(owner)) isGone.set(owner, !isAlive(owner));
      if (!isGone.get(owner) || this.#memory.owner(slot) !== owner) continue;
      this.#freeOfDead(slot);
      freed++;
    }
    return freed;
  }

  #freeOfDead(slot: number): void {
    const state = this.#memory.load(slot, SlotWord.state);
    const isPost = this.#memory.load(slot, SlotWord.kind) === Kind.post;
    if (state === State.request && isPost) this.#receive(slot);
    this.#incoming[slot] = undefined;
    const call = this.#calls[slot];
    this.#calls[slot] = undefined;
    this.#memory.free(slot);
    if (call === undefined) return;
    if (!call.isPost) this.#ready = this.#ready.filter((each) => each !== call);
    call.detach();
  }

  /** Everything that callers have asked this thread to look at. */
  #look(): void {
    const before = this.#ready.length;
    this.#memory.takePending((slot) => this.#visit(slot));
    const isNudged = Atomics.load(this.#memory.words, HeaderWord.nudge) !== 0;
    if (isNudged || this.#takenCount >= REAP_EVERY) {
      this.#takenCount = 0;
      this.reap();
    }
    if (this.#ready.length > before + 1) this.#ready.sort((a, b) => (a.ticket - b.ticket) | 0);
  }

  #visit(slot: number): void {
    const state = this.#memory.load(slot, SlotWord.state) as SlotState;
    switch (state) {
      case State.requestPart:
      case State.request:
        this.#receive(slot);
        return;
      case State.wantReply:
        this.#calls[slot]?.sendPart();
        return;
      case State.serving:
        this.#calls[slot]?.notice();
        return;
      default:
    }
  }

  #receive(slot: number): void {
    const memory = this.#memory;
    // The caller leaves by itself.
    if (memory.isClosed || memory.isDead) return;
    let request: unknown;
    try {
      this.#incoming[slot] ??= new IncomingParts();
      const bytes = this.#incoming[slot].take(memory, slot);
      if (bytes === undefined) {
        memory.store(slot, SlotWord.state, State.takenPart);
        memory.announce(slot);
        return;
      }
      request = decode(bytes);
    } catch (error) {
      // There is no memory for it: the caller is told, and this thread goes on.
      this.#take(slot, undefined).fail(error);
      return;
    }
    memory.store(slot, SlotWord.state, State.serving);
    this.#ready.push(this.#take(slot, request));
  }

  #take(slot: number, request: unknown): Call {
    const call = new Call({
      memory: this.#memory,
      slot,
      request,
      owner: this.#memory.owner(slot),
      ticket: this.#memory.load(slot, SlotWord.ticket),
      isPost: this.#memory.load(slot, SlotWord.kind) === Kind.post,
      onAnswered: () => {
        this.#calls[slot] = undefined;
      },
    });
    this.#takenCount++;
    this.#calls[slot] = call;
    return call;
  }
}

function nameOf({ request }: Call): string {
  const { name } = (request ?? {}) as { readonly name?: unknown };
  return typeof name === "string" ? name : "call";
}
