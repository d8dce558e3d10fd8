/**
 * Who meets at a collision-retry lock: a driver that mirrors one page in its device's page table,
 * and those who take the page away. Whatever the lock, the rules are the same.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Cell, Lock, Model, Thing } from "../model/index.ts";
import type { CollisionLock, MmuEvent, Surroundings, Turn } from "./invlock.ts";

export interface Scene {
  /** So often the page is moved by the reverse map, which needs no mmap_sem. Default 1. */
  readonly migrations?: number;
  /** Who moves it holds mmap_sem for writing: munmap, mprotect. */
  readonly movesUnderMmapSem?: boolean;
  /** Who moves it holds the page's lock, and faults wait for that. */
  readonly locksPage?: boolean;
  /** One more event, which takes no page away: elsewhere, or on the driver's range. */
  readonly otherEvent?: "elsewhere" | "on A";
  /** The OOM reaper, whose event may not sleep; somebody else uses the device's ring, too. */
  readonly hasReaper?: boolean;
  /** The address space goes away, and its VMAs are freed so. */
  readonly exit?: "without mmap_sem" | "under mmap_sem";
  /** So many read sections the driver is patient. Default: for ever. */
  readonly patience?: number;
  /** More attempts than events can explain are a livelock (default), or the driver gives up. */
  readonly givesUp?: boolean;
  /** What the driver does wrong by itself. */
  readonly driver?: DriverBugs;
}

export interface DriverBugs {
  /** False means "start again", as the comment of the RFC has it. */
  readonly takesFalseForCollision?: boolean;
  /** The core may give mmap_sem back while it waits for a page, however the driver holds it. */
  readonly letsCoreDropLock?: boolean;
  /** It reads VMAs and holds no mm_users. */
  readonly holdsNoUsers?: boolean;
}

export type LockMaker = (around: Surroundings) => CollisionLock;

/** Fills `model` with a lock and those who meet there. */
export function buildScene(model: Model, scene: Scene, makeLock: LockMaker): void {
  new Meeting(model, scene, makeLock).build();
}

/** In pte[A] and in the device's entry for A. */
const NONE = -1;

class Meeting {
  readonly #model: Model;
  readonly #scene: Scene;
  readonly #update: Lock;
  readonly #mmapSem: Lock;
  readonly #pageLock: Lock;
  readonly #ring: Lock;
  readonly #lock: CollisionLock;
  readonly #pages: readonly Thing[];
  readonly #vma: Thing;
  readonly #users: Cell<number>;
  // index in #pages | NONE
  readonly #pte: Cell<number>;
  readonly #device: Cell<number>;
  // How many events may touch A.
  readonly #events: number;

  constructor(model: Model, scene: Scene, makeLock: LockMaker) {
    const migrations = scene.migrations ?? 1;
    const patience = scene.patience ?? Number.POSITIVE_INFINITY;
    this.#model = model;
    this.#scene = scene;
    this.#update = model.lock("the driver's lock");
    this.#mmapSem = model.lock("mmap_sem");
    this.#pageLock = model.lock("the lock of the page");
    this.#ring = model.lock("the ring");
    this.#lock = makeLock({ model, update: this.#update, mmapSem: this.#mmapSem, patience });
    this.#pages = Array.from({ length: migrations + 1 }, (_, i) => model.object(`page ${i}`));
    this.#vma = model.object("the VMA");
    this.#users = model.counter("mm_users", 1);
    this.#pte = model.cell("pte[A]", 0);
    this.#device = model.cell("dev[A]", NONE);
    const others = (scene.otherEvent === "on A" ? 1 : 0) + (scene.hasReaper ? 1 : 0);
    this.#events = migrations + others + (scene.exit ? 2 : 0);
  }

  build(): void {
    const { otherEvent, hasReaper, exit, migrations } = this.#scene;
    const model = this.#model;
    model.task("driver", () => this.#fault());
    if (otherEvent) model.task(otherEvent, () => this.#otherEvent());
    if (hasReaper) model.task("submitter", () => this.#submit());
    if (hasReaper) model.task("reaper", () => this.#reap());
    if (exit) model.task("exit", () => this.#mmput());
    if (migrations !== 0) model.task("mover", () => this.#moveAll());
    model.finally("leak", () => this.#lock.left());
  }

  /** A device fault, as in the RFC's example. */
  *#fault(): Sleeps<void> {
    const { exit, driver } = this.#scene;
    const holdsUsers = exit !== undefined && !driver?.holdsNoUsers;
    if (holdsUsers && !(yield* this.#mmgetNotZero())) return;
    for (let attempt = 1; this.#mayTry(attempt); attempt++) {
      const turn = yield* this.#lock.begin();
      if (turn === "never") break;
      this.#expectBounded(turn, attempt);
      const seen = yield* this.#readPage(turn);
      yield* this.#update.take();
      const answer = this.#lock.end();
      this.#model.footprint?.note(`ends its section: ${answer}`);
      const isDone = driver?.takesFalseForCollision ? answer : !answer;
      if (isDone && seen !== NONE) this.#program(seen);
      this.#update.give();
      if (isDone) break;
    }
    this.#lock.close();
    if (holdsUsers) yield* this.#mmput();
  }

  /** Every event can cost one attempt. */
  #mayTry(attempt: number): boolean {
    const mayTry = attempt <= this.#events + 1;
    const message = `attempt ${attempt}, and there is no more than ${this.#events} event`;
    if (!this.#scene.givesUp) this.#model.expect(mayTry, "livelock", message);
    return mayTry;
  }

  /** When its time is over a reader gets its turn or gives up. */
  #expectBounded(turn: Turn, attempt: number): void {
    const { patience = Number.POSITIVE_INFINITY } = this.#scene;
    const isOver = attempt > patience;
    const message = `the reader's time is over, and attempt ${attempt} begins like the first`;
    this.#model.expect(!isOver || turn === "slow", "livelock", message);
  }

  /** Looks up the VMA and faults the page in: what the core does under mmap_sem. */
  *#readPage(turn: Turn): Sleeps<number> {
    const mayDrop = turn === "fast" || this.#scene.driver?.letsCoreDropLock === true;
    for (;;) {
      const seen = yield* this.#model.step("faults on A", () => {
        if (this.#scene.exit === "under mmap_sem" && this.#vma.isFreed) return NONE;
        this.#vma.use("the driver looks up the VMA");
        if (!this.#scene.locksPage || !this.#pageLock.isHeld) return this.#pte.value;
        if (mayDrop) this.#mmapSem.giveRead();
        return undefined;
      });
      if (seen !== undefined) return seen;
      yield* this.#pageLock.take();
      this.#pageLock.give();
      if (mayDrop) yield* this.#mmapSem.takeRead();
    }
  }

  #program(page: number): void {
    this.#device.value = page;
    this.#model.footprint?.note(`writes page ${page} to dev[A]`);
    this.#expectFresh();
  }

  #free(page: number): void {
    this.#pte.value = NONE;
    this.#pages[page]!.free();
    this.#expectFresh();
  }

  /** Looked at in every step that programs or frees, so that none of them trades places. */
  #expectFresh(): void {
    const page = this.#device.value;
    const isFresh = page === NONE || !this.#pages[page]!.isFreed;
    this.#model.expect(isFresh, "stale-access", `the device maps page ${page}, which is freed`);
  }

  readonly #forget = (): boolean => {
    this.#device.value = NONE;
    this.#model.footprint?.note("clears dev[A]");
    return true;
  };

  *#moveAll(): Sleeps<void> {
    const { migrations = 1, locksPage = false, movesUnderMmapSem } = this.#scene;
    const event: MmuEvent = { touches: true, holdsPage: locksPage, forget: this.#forget };
    for (let page = 0; page < migrations; page++) {
      if (movesUnderMmapSem) yield* this.#mmapSem.take();
      if (locksPage) yield* this.#pageLock.take();
      yield* this.#lock.start(event);
      yield* this.#model.step(`moves page ${page} to ${page + 1} and frees it`, () => {
        this.#free(page);
        this.#pte.value = page + 1;
      });
      yield* this.#lock.finish(event);
      if (locksPage) yield* this.#model.step("is done with the page", () => this.#pageLock.give());
      if (movesUnderMmapSem) this.#mmapSem.give();
    }
  }

  *#otherEvent(): Sleeps<void> {
    const touches = this.#scene.otherEvent === "on A";
    const event: MmuEvent = { touches, forget: this.#forget };
    yield* this.#lock.start(event);
    yield* this.#lock.finish(event);
  }

  *#submit(): Sleeps<void> {
    yield* this.#ring.take();
    yield* this.#model.step("has submitted", () => this.#ring.give());
  }

  /** Leaves the page alone when the driver would have to sleep. */
  *#reap(): Sleeps<void> {
    const forget = (): boolean => {
      if (!this.#ring.tryTake()) return false;
      this.#ring.give();
      return this.#forget();
    };
    const event: MmuEvent = { touches: true, forget };
    const isOpen = yield* this.#model.step("may not sleep", () => this.#lock.tryStart(event));
    if (!isOpen) return;
    yield* this.#model.step("frees page 0", () => this.#free(0));
    yield* this.#lock.finish(event);
  }

  *#mmgetNotZero(): Sleeps<boolean> {
    return yield* this.#model.step("takes mm_users, if there are any", () => {
      if (this.#users.value === 0) return false;
      this.#users.value++;
      return true;
    });
  }

  /** The last user tears the address space down. */
  *#mmput(): Sleeps<void> {
    const isLast = yield* this.#model.step("gives mm_users back", () => --this.#users.value === 0);
    if (!isLast) return;
    const event: MmuEvent = { touches: true, forget: this.#forget };
    const isLocked = this.#scene.exit === "under mmap_sem";
    yield* this.#lock.release(event);
    if (isLocked) yield* this.#mmapSem.take();
    yield* this.#lock.start(event);
    yield* this.#model.step("unmaps and frees page 0", () => this.#free(0));
    yield* this.#lock.finish(event);
    yield* this.#model.step("frees the VMA", () => this.#vma.free());
    if (isLocked) this.#mmapSem.give();
  }
}
