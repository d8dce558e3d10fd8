/**
 * A GPU that cannot wait for a page: an access to a page that its table lacks ends the job. What
 * the driver has is a switch: stopped queues touch nothing, and go on later where they were.
 *
 * An access is two steps: the table is walked, and later the bytes are touched, in the frame that
 * the walk found. So a driver that takes an entry away without stopping the queues first is caught:
 * the access lands in a frame that belongs to somebody else by then.
 */
import {
  assert,
  EFAULT,
  ENODEV,
  type Memory,
  PAGE_SIZE,
  PageTable,
  type Pfn,
  PTE_VALID,
  PTE_WRITE,
  ptePfn,
  type Result,
  type Sleeps,
  type Vpn,
  WaitQueue,
  YIELD,
} from "onespace/driver";

/** What an access does when it reaches memory, in one step: the bytes of the page. */
export type Landing = (bytes: Uint8Array, frame: Pfn) => void;

export class Gpu {
  readonly memory: Memory;
  /** User page -> frame and rights. The driver writes it; jobs go through it. */
  readonly table = new PageTable();
  readonly #started: WaitQueue;
  readonly #idle: WaitQueue;
  #isStopped = false;
  #isDead = false;
  // accesses between walk and landing
  #underWay = 0;

  constructor(memory: Memory) {
    this.memory = memory;
    this.#started = new WaitQueue(memory.scheduler, "stopped user queues");
    this.#idle = new WaitQueue(memory.scheduler, "accesses under way");
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Stopping would have to wait for accesses. */
  get isBusy(): boolean {
    return this.#underWay > 0;
  }

  /** No job of the user queues touches memory after this, until `start`. */
  *stop(): Sleeps<void> {
    this.#isStopped = true;
    yield* this.#idle.until(() => this.#underWay === 0);
  }

  start(): void {
    assert(this.#underWay === 0, "queues are started before they have stopped");
    this.#isStopped = false;
    this.#started.wakeAll();
  }

  /** The queues never run again: jobs end with -ENODEV. */
  die(): void {
    this.#isDead = true;
    this.#started.wakeAll();
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /**
   * One access of a job, read or write. -EFAULT: the table has no such entry, the job is over;
   * -ENODEV: the queues are dead.
   */
  *access(page: Vpn, write: boolean, land: Landing): Sleeps<Result> {
    yield YIELD;
    yield* this.#started.until(() => !this.#isStopped || this.#isDead);
    if (this.#isDead) return -ENODEV;
    const entry = this.table.get(page);
    const need = PTE_VALID | (write ? PTE_WRITE : 0);
    if ((entry & need) !== need) return -EFAULT;
    this.#underWay++;
    try {
      yield YIELD;
      const frame = ptePfn(entry);
      const at = frame * PAGE_SIZE;
      land(this.memory.bytes.u8.subarray(at, at + PAGE_SIZE), frame);
      return 0;
    } finally {
      this.#underWay--;
      if (this.#underWay === 0) this.#idle.wakeAll();
    }
  }
}
