/**
 * What the exhibits about lost validity share: an address that the CPU and a device have entries
 * for, and the ways in which a range has known whether what was read of it still holds.
 */
import type { Cell, Model, Thing } from "../model/index.ts";

/** A page, as an entry names it; `undefined`: the entry is empty. */
export type Page = Thing | undefined;

/**
 * One address of a mirrored space. Who programs the device and who frees a page look for the one
 * thing that must not be, a device entry for a freed page, in that very step.
 */
export class Address {
  readonly name: string;
  readonly #model: Model;
  readonly #cpu: Cell<Page>;
  readonly #device: Cell<Page>;

  constructor(model: Model, name: string, page: Page) {
    this.name = name;
    this.#model = model;
    this.#cpu = model.cell(`pte[${name}]`, page);
    this.#device = model.cell<Page>(`dev[${name}]`, undefined);
  }

  /** The CPU's entry. */
  get page(): Page {
    return this.#cpu.value;
  }

  set page(page: Page) {
    this.#cpu.value = page;
  }

  get isProgrammed(): boolean {
    return this.#device.value !== undefined;
  }

  /** Writes the device's entry. */
  program(page: Page): void {
    this.#device.value = page;
    this.#look();
  }

  /** The page that was here is given back. */
  free(page: Thing): void {
    page.free();
    this.#look();
  }

  #look(): void {
    const page = this.#device.value;
    if (page === undefined || !page.isFreed) return;
    this.#model.fail("stale-access", `dev[${this.name}] maps ${page.name}, which is freed`);
  }
}

/** How one range knows; all of them under the lock of the list of ranges, so each is one step. */
export interface Validity {
  /** The driver registers before every attempt, not once: the range lives for one snapshot. */
  readonly isForOneSnapshot?: boolean;
  register(): void;
  /** An event begins; `hits`: it overlaps the range. */
  start(hits: boolean): void;
  /** The driver's callback has returned. */
  calledBack?(hits: boolean): void;
  end(hits: boolean): void;
  /** Asked by the range's owner, who sleeps until it is true and then reads. */
  isReady(): boolean;
  /** Asked under the driver's lock. */
  isValid(): boolean;
}

export interface FlagOptions {
  /** Which events a range counts. Default: every one of the space. */
  readonly counts?: "every event" | "those that hit";
  /** What makes the flag true again once there is no event. */
  readonly armedBy: "last event" | "owner" | "nobody";
  /** When an event is counted. Default: with the marking. */
  readonly countedAt?: "start" | "callback";
}

/** Linux 5.1 to 5.4: a flag that events make false, and a count of the active ones. */
export function countedFlag(model: Model, options: FlagOptions): Validity {
  const { counts = "every event", armedBy, countedAt = "start" } = options;
  const valid = model.cell("valid", false);
  const notifiers = model.counter("notifiers");
  const isCounted = (hits: boolean): boolean => hits || counts === "every event";
  return {
    register() {
      valid.value = notifiers.value === 0;
    },
    start(hits) {
      if (countedAt === "start" && isCounted(hits)) notifiers.value++;
      if (hits) valid.value = false;
    },
    calledBack(hits) {
      if (countedAt === "callback" && isCounted(hits)) notifiers.value++;
    },
    end(hits) {
      if (!isCounted(hits)) return;
      notifiers.value--;
      if (notifiers.value === 0 && armedBy === "last event") valid.value = true;
    },
    isReady() {
      if (armedBy === "owner" && notifiers.value === 0) valid.value = true;
      return valid.value;
    },
    isValid: () => valid.value,
  };
}

/** Before Linux 5.1: a flag that both ends of an event make false and nobody makes true again. */
export function uncountedLatch(model: Model): Validity {
  const valid = model.cell("valid", false);
  const isListed = model.cell("the range is listed", false);
  const hit = (hits: boolean): void => {
    if (hits && isListed.value) valid.value = false;
  };
  return {
    isForOneSnapshot: true,
    register() {
      isListed.value = true;
      valid.value = true;
    },
    start: hit,
    end: hit,
    isReady: () => true,
    isValid() {
      isListed.value = false;
      return valid.value;
    },
  };
}

/** Linux 5.5, in short: a number that moves with every event that hits. */
export function sequence(model: Model): Validity {
  const seq = model.counter("seq");
  const active = model.counter("active events");
  const read = model.counter("seq when the owner began to read");
  return {
    register() {},
    start(hits) {
      if (!hits) return;
      active.value++;
      seq.value++;
    },
    end(hits) {
      if (hits) active.value--;
    },
    isReady() {
      if (active.value > 0) return false;
      read.value = seq.value;
      return true;
    },
    isValid: () => active.value === 0 && seq.value === read.value,
  };
}
