/**
 * Who goes first when readers and writers of page tables meet too often. Writers never wait for
 * readers, but a reader that has lost many times in a row may ask them to: from then on whoever is
 * about to take pages away lets it pass. One reader of a machine at a time.
 */
import { type AddrRange, overlaps } from "../base/index.ts";
import {
  type LockGuard,
  Mutex,
  type Scheduler,
  Shared,
  type Sleeps,
  type Task,
  WaitQueue,
} from "../sync/index.ts";
import { eventId } from "../trace/index.ts";

/** How long a writer lets a reader pass before it goes on, whatever the reader waits for. */
const GIVE_WAY_MS = 1000;

const GIVE_WAY = eventId("notifier:give-way");

/** Locks that the one who has precedence may need: who holds one goes on, and gives it back. */
const NEEDED = ["precedence", "page", "rmap", "invalidation", "srcu", "driver"] as const;

interface Holder {
  readonly task: Task;
  /** Whose range it is; compared for identity. */
  readonly space: object;
  readonly range: AddrRange;
}

export class Precedence {
  readonly #scheduler: Scheduler;
  readonly #lock: Mutex;
  readonly #queue: WaitQueue;
  readonly #shared: Shared | undefined;
  #holder: Holder | undefined;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
    this.#shared = Shared.of(scheduler);
    this.#lock = new Mutex(scheduler, "precedence", "precedence over writers");
    this.#queue = new WaitQueue(scheduler, "a reader that goes first");
  }

  /** Somebody has it. */
  get isTaken(): boolean {
    this.#shared?.read();
    return this.#holder !== undefined;
  }

  /**
   * Waits for its turn and takes precedence over `range` of `space`, until the guard is disposed.
   * The caller holds the space's mmapLock for reading, so nobody changes its Vmas meanwhile.
   */
  *take(space: object, range: AddrRange): Sleeps<LockGuard> {
    const guard = yield* this.#lock.acquire();
    const holder = { task: this.#scheduler.current, space, range };
    this.#shared?.write();
    this.#holder = holder;
    return {
      [Symbol.dispose]: () => {
        this.#shared?.write();
        if (this.#holder !== holder) return;
        this.#holder = undefined;
        guard[Symbol.dispose]();
        this.#queue.wakeAll();
      },
    };
  }

  /**
   * True: the running task, which is about to change `range` of `space` (neither given: anything,
   * anywhere), should let somebody pass first. Never the one who has precedence, and nobody who
   * holds what that one may be waiting for.
   */
  isOwed(space?: object, range?: AddrRange): boolean {
    this.#shared?.read();
    const holder = this.#holder;
    if (holder === undefined) return false;
    if (space !== undefined && space !== holder.space) return false;
    if (range !== undefined && !overlaps(range, holder.range)) return false;
    const task = this.#scheduler.current;
    return task !== holder.task && !NEEDED.some((lockClass) => task.holdsAny(lockClass));
  }

  /** Lets pass who has precedence, for up to a second. */
  *giveWay(space?: object, range?: AddrRange): Sleeps<void> {
    if (!this.isOwed(space, range)) return;
    this.#scheduler.tracer.emit(GIVE_WAY, this.#holder!.task.id, this.#scheduler.current.id, 0);
    const deadlineMs = this.#scheduler.nowMs + GIVE_WAY_MS;
    yield* this.#queue.until(() => !this.isOwed(space, range), deadlineMs);
  }
}
