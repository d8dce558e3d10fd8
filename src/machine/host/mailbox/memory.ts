/**
 * The shared bytes of a mailbox: where what is, and the few steps that both sides take.
 *
 * ```
 *   0     header words          closed, dead, sleeping, …
 *   64    two thread ids        the server's; who is at the door
 *   80    a bit for each slot   "server, look at this one"
 *   256   two texts             why it is closed, why it is dead
 *   1280  128 bytes a slot      owner, state, …, four progress numbers
 *   …     partBytes a slot      what is sent; pages that nobody used are never touched
 * ```
 */
import { writeSync } from "node:fs";
import { assert } from "../../../base/index.ts";
import { type HmmError, hmmError, invalid } from "../../error.ts";
import { isAlive, NOBODY, ownThread, type ThreadId } from "./thread.ts";

/** Whose turn it is in a slot: the drawing is in `index.ts`. */
export const State = {
  /** Free when the slot has no owner; else the owner has not sent anything yet. */
  idle: 0,
  requestPart: 1,
  takenPart: 2,
  request: 3,
  serving: 4,
  replyPart: 5,
  wantReply: 6,
  reply: 7,
} as const;
export type SlotState = (typeof State)[keyof typeof State];

/** What is in a slot: of a request whether somebody waits for the answer, of an answer which. */
export const Kind = { call: 0, post: 1, value: 2, error: 3 } as const;

/** Words of a slot. Words 0 and 1 are its owner, words 16 to 23 four progress numbers. */
export const SlotWord = {
  state: 2,
  /** Goes up when the caller has something to see; what it waits on. */
  events: 3,
  kind: 4,
  /** Of the part that is in the slot: where it belongs, its bytes, the bytes of the whole. */
  offset: 5,
  length: 6,
  total: 7,
  abort: 8,
  /** Goes up with each request of the mailbox. */
  ticket: 9,
  /** Odd while the progress numbers change. */
  progress: 10,
} as const;

/** Words of the header. */
export const HeaderWord = {
  magic: 0,
  slotCount: 1,
  partBytes: 2,
  closed: 3,
  /** 1: dead, and why is being written; 2: dead. */
  dead: 4,
  /** 1 while the server sleeps or is about to: ring. */
  sleeping: 5,
  /** What the server sleeps on when it has no doorbell. */
  bell: 6,
  /** A file descriptor, or -1. */
  doorbell: 7,
  beats: 8,
  ticket: 9,
  /** Goes up with each slot that becomes free. */
  freed: 10,
  /** Not 0: somebody may wait for a free slot. */
  waiters: 11,
  /** 1: the server shall look at everything, and reap. */
  nudge: 12,
} as const;

export interface MailboxOptions {
  /** Calls at the same time, 2 to 1024. Default 128. */
  readonly slots?: number;
  /** Bytes of a part, a multiple of 8, at least 64. Default 16 KiB. */
  readonly partBytes?: number;
}

const MAGIC = 0x6d_61_69_6c;
const SERVER = 8;
const DOOR = 9;
/** The first of the words with a bit for each slot. */
const PENDING = 20;
const SLOTS_MAX = 1024;
const CLOSED_TEXT = 256;
const DEAD_TEXT = 768;
/** A word with its length, then that many bytes. */
const TEXT_BYTES = 512;
const HEADER_BYTES = 1280;
const SLOT_BYTES = 128;
const PROGRESS_NUMBERS = 4;
const PAGE_BYTES = 4096;

/** An eventfd takes an 8-byte number to add: 1 in little-endian order. */
const ONE = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);
/** How often a caller without a slot looks whether the door is free. */
const DOOR_TRIES = 50;

/** A mailbox that nobody uses yet. */
export function newMailbox(options: MailboxOptions = {}): SharedArrayBuffer {
  const { slots = 128, partBytes = 16 * 1024 } = options;
  if (!Number.isInteger(slots) || slots < 2 || slots > SLOTS_MAX) {
    throw invalid("newMailbox", `slots must be from 2 to ${SLOTS_MAX}, got ${slots}`);
  }
  if (!Number.isInteger(partBytes / 8) || partBytes < 64) {
    throw invalid("newMailbox", `partBytes must be a multiple of 8 from 64, got ${partBytes}`);
  }
  const shared = new SharedArrayBuffer(payloadStart(slots) + slots * partBytes);
  const words = new Int32Array(shared);
  words[HeaderWord.slotCount] = slots;
  words[HeaderWord.partBytes] = partBytes;
  words[HeaderWord.doorbell] = -1;
  words[HeaderWord.magic] = MAGIC;
  return shared;
}

const payloadStart = (slots: number): number =>
  Math.ceil((HEADER_BYTES + slots * SLOT_BYTES) / PAGE_BYTES) * PAGE_BYTES;

/** Whether `given` is what `newMailbox` made. */
export const isMailbox = (given: unknown): given is SharedArrayBuffer =>
  given instanceof SharedArrayBuffer &&
  given.byteLength % 8 === 0 &&
  new Int32Array(given)[HeaderWord.magic] === MAGIC;

/** One thread's view of a mailbox. */
export class MailboxMemory {
  readonly words: Int32Array;
  readonly slotCount: number;
  readonly partBytes: number;
  /** The thread that made this view: no other may use it. */
  readonly self: ThreadId;
  readonly #threads: BigInt64Array;
  readonly #bytes: Buffer;

  constructor(shared: SharedArrayBuffer) {
    this.words = new Int32Array(shared);
    assert(this.words[HeaderWord.magic] === MAGIC, "this is no mailbox");
    this.slotCount = this.words[HeaderWord.slotCount]!;
    this.partBytes = this.words[HeaderWord.partBytes]!;
    this.#threads = new BigInt64Array(shared);
    this.#bytes = Buffer.from(shared);
    this.self = ownThread();
  }

  /** The index in `words` of a slot's word. */
  wordOf(slot: number, word: number): number {
    return (HEADER_BYTES + slot * SLOT_BYTES) / 4 + word;
  }

  load(slot: number, word: number): number {
    return Atomics.load(this.words, this.wordOf(slot, word));
  }

  store(slot: number, word: number, value: number): void {
    Atomics.store(this.words, this.wordOf(slot, word), value);
  }

  /** What a slot holds of a part. Only who has the turn may look. */
  payload(slot: number): Buffer {
    const start = payloadStart(this.slotCount) + slot * this.partBytes;
    return this.#bytes.subarray(start, start + this.partBytes);
  }

  progressNumbers(slot: number): Float64Array {
    const start = HEADER_BYTES + slot * SLOT_BYTES + 64;
    return new Float64Array(this.words.buffer, start, PROGRESS_NUMBERS);
  }

  // Slots.

  owner(slot: number): ThreadId {
    return Atomics.load(this.#threads, this.#ownerIndex(slot));
  }

  /** Takes a slot if it is free. */
  claim(slot: number): boolean {
    if (this.owner(slot) !== NOBODY) return false;
    const index = this.#ownerIndex(slot);
    return Atomics.compareExchange(this.#threads, index, NOBODY, this.self) === NOBODY;
  }

  /** Gives a slot back; for its owner, or for the server when the owner is gone. */
  free(slot: number): void {
    this.store(slot, SlotWord.abort, 0);
    this.store(slot, SlotWord.state, State.idle);
    Atomics.store(this.#threads, this.#ownerIndex(slot), NOBODY);
    this.announceFree();
  }

  /** Everybody who waits for a slot looks again: one of them alone might be gone. */
  announceFree(): void {
    Atomics.add(this.words, HeaderWord.freed, 1);
    if (Atomics.load(this.words, HeaderWord.waiters) === 0) return;
    Atomics.notify(this.words, HeaderWord.freed);
  }

  /** The caller of a slot has something to see. */
  announce(slot: number): void {
    const events = this.wordOf(slot, SlotWord.events);
    Atomics.add(this.words, events, 1);
    Atomics.notify(this.words, events);
  }

  #ownerIndex(slot: number): number {
    return (HEADER_BYTES + slot * SLOT_BYTES) / 8;
  }

  // The server: who it is, what it has to look at, how it is woken.

  get server(): ThreadId {
    return Atomics.load(this.#threads, SERVER);
  }

  /** This thread is the server from now on. */
  becomeServer(doorbell: number): void {
    Atomics.store(this.words, HeaderWord.doorbell, doorbell);
    const before = Atomics.compareExchange(this.#threads, SERVER, NOBODY, this.self);
    assert(before === NOBODY, "a mailbox has one server");
  }

  /** For the owner of a slot: the server shall look at it. */
  ask(slot: number): void {
    Atomics.or(this.words, PENDING + (slot >> 5), 1 << (slot & 31));
    this.#ring();
  }

  nextTicket(): number {
    return Atomics.add(this.words, HeaderWord.ticket, 1);
  }

  get isAnythingPending(): boolean {
    for (let word = 0; word * 32 < this.slotCount; word++) {
      if (Atomics.load(this.words, PENDING + word) !== 0) return true;
    }
    return Atomics.load(this.words, HeaderWord.nudge) !== 0;
  }

  /** Calls `visit` for each slot that the server shall look at, once. */
  takePending(visit: (slot: number) => void): void {
    for (let word = 0; word * 32 < this.slotCount; word++) {
      if (Atomics.load(this.words, PENDING + word) === 0) continue;
      let bits = Atomics.exchange(this.words, PENDING + word, 0);
      for (; bits !== 0; bits &= bits - 1) visit(word * 32 + 31 - Math.clz32(bits & -bits));
    }
  }

  /**
   * For who has no slot: the server shall wake up, look at everything and reap. The door takes
   * the place of the slot: while somebody is there the doorbell is not closed.
   */
  nudge(): void {
    Atomics.store(this.words, HeaderWord.nudge, 1);
    for (let tries = 0; tries < DOOR_TRIES; tries++) {
      const before = Atomics.load(this.#threads, DOOR);
      if (before !== NOBODY && isAlive(before)) continue;
      if (Atomics.compareExchange(this.#threads, DOOR, before, this.self) !== before) continue;
      if (!this.isClosed && !this.isDead) this.#ring();
      Atomics.store(this.#threads, DOOR, NOBODY);
      return;
    }
  }

  /**
   * Wakes the server if it sleeps. Only with a slot (or the door) that was claimed before the
   * mailbox was seen open, because a closed descriptor's number may soon be another file's:
   * ```
   *   caller                       server
   *   claim                        closed = 1
   *   closed? then go away         no claims left? then close the doorbell
   *   write to the doorbell
   * ```
   * One of the two sees the other. And no ring is lost, because one of these two does too:
   * ```
   *   state = request, its bit     sleeping = 1
   *   sleeping? then ring          any bit? then do not sleep
   * ```
   * A caller never clears `sleeping`: it might end before it rings, and the others would not.
   */
  #ring(): void {
    if (Atomics.load(this.words, HeaderWord.sleeping) === 0) return;
    const doorbell = Atomics.load(this.words, HeaderWord.doorbell);
    if (doorbell >= 0) {
      writeSync(doorbell, ONE);
      return;
    }
    Atomics.add(this.words, HeaderWord.bell, 1);
    Atomics.notify(this.words, HeaderWord.bell);
  }

  // The end.

  get isClosed(): boolean {
    return Atomics.load(this.words, HeaderWord.closed) !== 0;
  }

  get isDead(): boolean {
    return Atomics.load(this.words, HeaderWord.dead) !== 0;
  }

  /** Why no call is taken any more, or undefined. */
  get endedBecause(): string | undefined {
    if (this.isClosed) return this.#readText(CLOSED_TEXT);
    const dead = Atomics.load(this.words, HeaderWord.dead);
    if (dead === 0) return undefined;
    // Who declares it dead may end between the flag and the text.
    return dead === 1 ? "the kernel thread has ended" : this.#readText(DEAD_TEXT);
  }

  refusal(call: string): HmmError {
    const detail = this.endedBecause;
    assert(detail !== undefined, "a mailbox that is open refuses nobody");
    return hmmError({ code: "ENODEV", call, detail });
  }

  /** No call is taken any more. For the server only. */
  close(reason: string): void {
    if (this.isClosed) return;
    this.#writeText(CLOSED_TEXT, reason);
    Atomics.store(this.words, HeaderWord.closed, 1);
    this.wakeAll();
  }

  /** No call is answered any more. For any thread; the first reason stays. */
  die(reason: string): void {
    if (Atomics.compareExchange(this.words, HeaderWord.dead, 0, 1) !== 0) return;
    this.#writeText(DEAD_TEXT, reason);
    Atomics.store(this.words, HeaderWord.dead, 2);
    this.wakeAll();
  }

  wakeAll(): void {
    for (let slot = 0; slot < this.slotCount; slot++) this.announce(slot);
    Atomics.add(this.words, HeaderWord.freed, 1);
    Atomics.notify(this.words, HeaderWord.freed);
  }

  /** Whether no living thread holds a slot or is at the door. */
  get isQuiet(): boolean {
    for (let slot = 0; slot < this.slotCount; slot++) {
      const owner = this.owner(slot);
      if (owner !== NOBODY && isAlive(owner)) return false;
    }
    const visitor = Atomics.load(this.#threads, DOOR);
    return visitor === NOBODY || !isAlive(visitor);
  }

  #writeText(start: number, text: string): void {
    const length = this.#bytes.write(text, start + 4, TEXT_BYTES - 4, "utf8");
    this.#bytes.writeInt32LE(length, start);
  }

  #readText(start: number): string {
    return this.#bytes.toString("utf8", start + 4, start + 4 + this.#bytes.readInt32LE(start));
  }
}
