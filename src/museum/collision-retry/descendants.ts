/** What became of the collision-retry lock of 2019: Linux's interval notifiers, and ours. */
import type { Sleeps } from "../../sync/index.ts";
import type { Cell, Queue } from "../model/index.ts";
import {
  type CollisionLock,
  isOdd,
  type MmuEvent,
  type Surroundings,
  type Turn,
} from "./invlock.ts";

/**
 * Linux since 5.5: a sequence for the address space, odd while an event is open that touches a
 * subscription, and one for each subscription, which the callback sets under the driver's lock. The
 * sample is taken before the wait. A reader whose time is over gives up.
 */
export class IntervalNotifierLock implements CollisionLock {
  readonly #around: Surroundings;
  readonly #active: Cell<number>;
  readonly #spaceSeq: Cell<number>;
  readonly #seq: Cell<number>;
  readonly #wq: Queue;
  #sample = 0;
  #attempts = 0;

  constructor(around: Surroundings) {
    const { model } = around;
    this.#around = around;
    this.#active = model.counter("active_invalidate_ranges");
    this.#spaceSeq = model.counter("invalidate_seq of the space", 2);
    this.#seq = model.counter("invalidate_seq of the subscription", 1);
    this.#wq = model.queue("wq");
  }

  *begin(): Sleeps<Turn> {
    if (++this.#attempts > this.#around.patience) return "never";
    let sample: number | undefined;
    yield* this.#wq.until(() => {
      sample ??= this.#seq.value;
      return this.#spaceSeq.value !== sample;
    });
    this.#sample = sample!;
    yield* this.#around.mmapSem.takeRead();
    return "fast";
  }

  end(): boolean {
    this.#around.mmapSem.giveRead();
    return this.#seq.value !== this.#sample;
  }

  close(): void {
    // Every section has given back what it took.
  }

  *start(event: MmuEvent): Sleeps<void> {
    const { model, update } = this.#around;
    yield* model.step("starts an event", () => this.#collide(event));
    if (!event.touches) return;
    yield* update.take();
    this.#seq.value = this.#spaceSeq.value;
    event.forget();
    update.give();
  }

  tryStart(event: MmuEvent): boolean {
    const { update } = this.#around;
    if (!update.tryTake()) return false;
    this.#collide(event);
    this.#seq.value = this.#spaceSeq.value;
    const isForgotten = event.forget();
    if (!isForgotten) this.#settle();
    update.give();
    return isForgotten;
  }

  *finish(): Sleeps<void> {
    yield* this.#around.model.step("ends the event", () => this.#settle());
  }

  /** One event more; the subscription hears of those that follow, too. */
  *release(event: MmuEvent): Sleeps<void> {
    yield* this.start(event);
    yield* this.finish();
  }

  left(): string | undefined {
    const isQuiet = this.#active.value === 0 && !isOdd(this.#spaceSeq.value);
    return isQuiet ? undefined : "all events are over, and the sequence is odd";
  }

  #collide({ touches }: MmuEvent): void {
    this.#active.value++;
    if (touches && !isOdd(this.#spaceSeq.value)) this.#spaceSeq.value++;
  }

  #settle(): void {
    this.#active.value--;
    if (this.#active.value > 0 || !isOdd(this.#spaceSeq.value)) return;
    this.#spaceSeq.value++;
    this.#wq.wakeAll();
  }
}

/**
 * Here: a sequence and a count of open events for each subscription, both moved in one step before
 * the first callback (src/notifier). A reader whose time is over takes precedence: events that have
 * not begun, and whose tasks hold nothing that it may need, let it pass.
 */
export class PrecedenceLock implements CollisionLock {
  readonly #around: Surroundings;
  readonly #seq: Cell<number>;
  readonly #active: Cell<number>;
  readonly #isFirst: Cell<boolean>;
  readonly #quiet: Queue;
  readonly #passing: Queue;
  #sample = 0;
  #attempts = 0;
  // The reader's own: what it holds.
  #hasMmapSem = false;
  #hasPrecedence = false;

  constructor(around: Surroundings) {
    const { model } = around;
    this.#around = around;
    this.#seq = model.counter("seq");
    this.#active = model.counter("active");
    this.#isFirst = model.cell("a reader goes first", false);
    this.#quiet = model.queue("the end of an event");
    this.#passing = model.queue("a reader that goes first");
  }

  *begin(): Sleeps<Turn> {
    const { mmapSem, patience } = this.#around;
    const timeout = patience < Number.POSITIVE_INFINITY;
    if (++this.#attempts > patience) yield* this.#goFirst();
    const isBegun = yield* this.#readBegin(timeout && !this.#hasPrecedence);
    if (!isBegun) {
      yield* this.#goFirst();
      yield* this.#readBegin(false);
    }
    if (!this.#hasMmapSem) yield* mmapSem.takeRead();
    this.#hasMmapSem = true;
    return this.#hasPrecedence ? "slow" : "fast";
  }

  end(): boolean {
    const collides = this.#seq.value !== this.#sample || this.#active.value > 0;
    if (!collides || !this.#hasPrecedence) this.#giveBack();
    return collides;
  }

  close(): void {
    this.#giveBack();
  }

  *start(event: MmuEvent): Sleeps<void> {
    const { model, update } = this.#around;
    if (!event.touches) {
      yield* model.step("starts an event, which no subscription overlaps", () => {});
      return;
    }
    const isFree = (): boolean => !this.#isFirst.value || event.holdsPage === true;
    yield* this.#passing.until(isFree);
    this.#collide();
    yield* update.take();
    event.forget();
    update.give();
  }

  tryStart(event: MmuEvent): boolean {
    const { update } = this.#around;
    if (this.#isFirst.value) return false;
    this.#collide();
    const isTaken = update.tryTake();
    const isForgotten = isTaken && event.forget();
    if (isTaken) update.give();
    if (!isForgotten) this.#settle();
    return isForgotten;
  }

  *finish(event: MmuEvent): Sleeps<void> {
    if (!event.touches) return;
    yield* this.#around.model.step("ends the event", () => this.#settle());
  }

  *release(event: MmuEvent): Sleeps<void> {
    yield* this.start(event);
    yield* this.finish(event);
  }

  left(): string | undefined {
    const isQuiet = this.#active.value === 0 && !this.#isFirst.value;
    return isQuiet ? undefined : "all events are over, and somebody still has to wait";
  }

  *#goFirst(): Sleeps<void> {
    if (this.#hasPrecedence) return;
    yield* this.#around.mmapSem.takeRead();
    this.#hasMmapSem = true;
    yield* this.#around.model.step("takes precedence", () => {
      this.#isFirst.value = true;
    });
    this.#hasPrecedence = true;
  }

  *#readBegin(timeout: boolean): Sleeps<boolean> {
    return yield* this.#quiet.until(
      () => {
        this.#sample = this.#seq.value;
        return this.#active.value === 0;
      },
      { timeout },
    );
  }

  #giveBack(): void {
    if (this.#hasPrecedence) {
      this.#isFirst.value = false;
      this.#passing.wakeAll();
    }
    if (this.#hasMmapSem) this.#around.mmapSem.giveRead();
    this.#hasPrecedence = false;
    this.#hasMmapSem = false;
  }

  #collide(): void {
    this.#seq.value++;
    this.#active.value++;
  }

  #settle(): void {
    this.#active.value--;
    this.#quiet.wakeAll();
  }
}
