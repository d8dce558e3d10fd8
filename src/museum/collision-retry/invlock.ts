/**
 * The collision-retry lock as the RFC of June 2019 mailed it ("mm: Provide helpers to implement
 * the common mmu_notifier locking", mmu_invlock), with everything that is wrong with it mended,
 * and a switch to bring each bug back. `descendants.ts` has its two descendants.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Cell, Lock, Model, Queue } from "../model/index.ts";

/** An event as the lock sees it. */
export interface MmuEvent {
  /** It overlaps the driver's range. */
  readonly touches: boolean;
  /** Whoever starts it holds the lock of the page. */
  readonly holdsPage?: boolean;
  /** Makes the device forget the range; false: it would have to sleep. Under the driver's lock. */
  readonly forget: () => boolean;
}

/**
 * How a read section has begun: patiently, or with whatever is there for a reader whose time is
 * over; or not at all, because the reader has to give up (then nothing is held).
 */
export type Turn = "fast" | "slow" | "never";

/** A driver's side and the events' side of the lock. */
export interface CollisionLock {
  /** Waits for events, samples, takes mmap_sem. With no lock held. */
  begin(): Sleeps<Turn>;
  /** True: what was read may be old. Under the driver's lock. */
  end(): boolean;
  /** The reader will not begin again. */
  close(): void;
  start(event: MmuEvent): Sleeps<void>;
  /** Within one step, for events that may not sleep. False, when there is no event: try later. */
  tryStart(event: MmuEvent): boolean;
  finish(event: MmuEvent): Sleeps<void>;
  /** The address space goes away, or the driver unsubscribes. */
  release(event: MmuEvent): Sleeps<void>;
  /** What is wrong when all events are over. */
  left(): string | undefined;
}

export interface Surroundings {
  readonly model: Model;
  /** The driver's: held while the device's page table changes. */
  readonly update: Lock;
  readonly mmapSem: Lock;
  /** So many read sections long the reader is patient; waits have a time limit then. */
  readonly patience: number;
}

/** Every one of them is on in the mail. */
export interface LockBugs {
  /** The end of an event adds one to the active events. */
  readonly endCountsUp?: boolean;
  /** Only an event that finds no other one active makes the sequence odd. */
  readonly onlyFirstMakesOdd?: boolean;
  /** Nobody writes the reader's sample: it stays 0. */
  readonly neverSamples?: boolean;
  /** The sample is taken when mmap_sem is held, whatever it is (what the mail seems to mean). */
  readonly samplesAfterLock?: boolean;
  /** The sequence begins anew after so many numbers. */
  readonly sequenceEnd?: number;
  /** The end of a slow section says true, which the mail's example takes for a collision. */
  readonly slowEndSaysTrue?: boolean;
  readonly slowIsUnchecked?: boolean;
  /** The slow path begins while an event is open. */
  readonly slowWaitsForNobody?: boolean;
  /** `write_locked` of one attempt is there in the next. */
  readonly keepsMode?: boolean;
  /** A wait whose time is over leaves the time as it was. */
  readonly keepsTimeout?: boolean;
  /** Only waiting uses up the reader's time. */
  readonly onlyWaitsCount?: boolean;
  /** An event that the driver refuses stays counted. */
  readonly refusedStaysActive?: boolean;
  /** Release stops the device, and no reader hears of it. */
  readonly releaseIsSilent?: boolean;
}

export const isOdd = (seq: number): boolean => seq % 2 === 1;

export class Invlock implements CollisionLock {
  readonly #around: Surroundings;
  readonly #bugs: LockBugs;
  readonly #active: Cell<number>;
  readonly #seq: Cell<number>;
  readonly #isReleased: Cell<boolean>;
  readonly #wq: Queue;
  // The reader's own: struct mmu_invlock_state.
  #timeout: number;
  #sample = 0;
  #isWriteLocked = false;

  constructor(around: Surroundings, bugs: LockBugs = {}) {
    const { model } = around;
    this.#around = around;
    this.#bugs = bugs;
    this.#active = model.counter("active_invalidates");
    this.#seq = model.counter("invalidate_seq");
    this.#isReleased = model.cell("released", false);
    this.#wq = model.queue("wq");
    this.#timeout = around.patience;
  }

  *begin(): Sleeps<Turn> {
    const { mmapSem, patience } = this.#around;
    if (!this.#bugs.keepsMode) this.#isWriteLocked = false;
    const hasTimeout = patience < Number.POSITIVE_INFINITY;
    const isPatient = this.#timeout > 0;
    if (!isPatient || !(yield* this.#wq.until(() => this.#isIdle(), { timeout: hasTimeout }))) {
      if (!this.#bugs.keepsTimeout) this.#timeout = 0;
      return yield* this.#beginSlow();
    }
    if (this.#isDead) return "never";
    yield* mmapSem.takeRead();
    if (this.#bugs.samplesAfterLock) this.#sample = this.#seq.value;
    return "fast";
  }

  *#beginSlow(): Sleeps<Turn> {
    yield* this.#around.mmapSem.take();
    this.#isWriteLocked = true;
    if (this.#bugs.slowWaitsForNobody) this.#sample = this.#seq.value;
    else yield* this.#wq.until(() => this.#isIdle());
    if (!this.#isDead) return "slow";
    this.#around.mmapSem.give();
    return "never";
  }

  end(): boolean {
    const { mmapSem } = this.#around;
    if (!this.#bugs.onlyWaitsCount) this.#timeout = Math.max(0, this.#timeout - 1);
    if (this.#isWriteLocked) {
      mmapSem.give();
      if (this.#bugs.slowEndSaysTrue) return true;
      if (this.#bugs.slowIsUnchecked) return false;
    } else mmapSem.giveRead();
    return this.#seq.value !== this.#sample;
  }

  close(): void {
    // Every section has given back what it took.
  }

  *start(event: MmuEvent): Sleeps<void> {
    const { update } = this.#around;
    yield* update.take();
    if (!this.#isReleased.value) {
      this.#invStart(event.touches);
      if (event.touches) event.forget();
    }
    update.give();
  }

  tryStart(event: MmuEvent): boolean {
    const { update } = this.#around;
    if (!update.tryTake()) return false;
    this.#invStart(event.touches);
    const isForgotten = event.forget();
    if (!isForgotten && !this.#bugs.refusedStaysActive) this.#invEnd();
    update.give();
    return isForgotten;
  }

  *finish(): Sleeps<void> {
    const { update } = this.#around;
    yield* update.take();
    if (!this.#isReleased.value) this.#invEnd();
    update.give();
  }

  /** An event without an end: nobody hears of the later ones. */
  *release(event: MmuEvent): Sleeps<void> {
    const { update } = this.#around;
    yield* update.take();
    event.forget();
    this.#isReleased.value = true;
    if (!this.#bugs.releaseIsSilent) {
      if (!isOdd(this.#seq.value)) this.#seq.value = this.#next();
      this.#wq.wakeAll();
    }
    update.give();
  }

  left(): string | undefined {
    const active = this.#active.value;
    const isStuck = isOdd(this.#seq.value);
    if (this.#isReleased.value || (active === 0 && !isStuck)) return undefined;
    const seq = isStuck ? "odd for ever: every reader sleeps until its time is over" : "even";
    return `all events are over, ${active} count as active, the sequence is ${seq}`;
  }

  /** The sample is taken in the step that ends the wait, so it is never odd. */
  #isIdle(): boolean {
    const { neverSamples, samplesAfterLock } = this.#bugs;
    if (!neverSamples && !samplesAfterLock) this.#sample = this.#seq.value;
    return !isOdd(this.#seq.value) || this.#isDead;
  }

  get #isDead(): boolean {
    return this.#isReleased.value && !this.#bugs.releaseIsSilent;
  }

  /** mmu_invlock_inv_start() */
  #invStart(isInteresting: boolean): void {
    const { onlyFirstMakesOdd } = this.#bugs;
    const begins = onlyFirstMakesOdd ? this.#active.value === 0 : !isOdd(this.#seq.value);
    if (isInteresting && begins) this.#seq.value = this.#next();
    this.#active.value++;
    this.#tell("starts an event");
  }

  /** mmu_invlock_inv_end() */
  #invEnd(): void {
    this.#active.value += this.#bugs.endCountsUp ? 1 : -1;
    if (this.#active.value === 0 && isOdd(this.#seq.value)) {
      this.#seq.value = this.#next();
      this.#wq.wakeAll();
    }
    this.#tell("ends its event");
  }

  #tell(what: string): void {
    const words = `${what}: ${this.#active.value} active, sequence ${this.#seq.value}`;
    this.#around.model.footprint?.note(words);
  }

  #next(): number {
    return (this.#seq.value + 1) % (this.#bugs.sequenceEnd ?? Number.POSITIVE_INFINITY);
  }
}
