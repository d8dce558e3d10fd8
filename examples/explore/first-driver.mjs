/**
 * A small driver and its scenario: a device faults a page while the program unmaps it. One of the
 * two versions has a bug that few schedules show. `docs/explore.md` explains it.
 *
 *   npx onespace explore examples/explore/first-driver.mjs --scenario check-before-lock
 */
import {
  asPte,
  EBUSY,
  Mirror,
  Mutex,
  PageTable,
  PTE_NONE,
  ptePfn,
  vpn,
  vpnOf,
} from "onespace/driver";
import { Stage, Violation } from "onespace/explore";

const ATTEMPTS_MAX = 10;

class SmallDriver {
  constructor(space, checksUnderLock) {
    const { scheduler } = space.memory;
    this.space = space;
    this.checksUnderLock = checksUnderLock;
    this.table = new PageTable(scheduler.footprint);
    this.lock = new Mutex(scheduler, "driver", "the driver's lock");
  }

  *open() {
    this.mirror = yield* Mirror.register(this.space, { ops: this });
  }

  *close() {
    yield* this.mirror.unregister();
  }

  /** Something changes: the device forgets it. */
  *syncCpuDevicePagetables(event) {
    const held = yield* this.lock.acquire();
    for (let at = vpnOf(event.start); at < vpnOf(event.end); at = vpn(at + 1)) {
      this.table.set(at, PTE_NONE);
    }
    held[Symbol.dispose]();
    return true;
  }

  /** The device may reach the page at `start` afterwards; or a negated errno. */
  *fault(part) {
    const range = this.mirror.range(part);
    try {
      for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        if (!(yield* range.waitUntilValid())) return -EBUSY;
        const result = yield* range.fault();
        if (result === -EBUSY) continue;
        if (result < 0) return result;
        if (yield* this.program(range)) return 0;
      }
      return -EBUSY;
    } finally {
      range[Symbol.dispose]();
    }
  }

  /** False: the range is no longer valid. The bug is to ask before the lock is taken. */
  *program(range) {
    const wasValid = range.valid;
    const held = yield* this.lock.acquire();
    const isValid = this.checksUnderLock ? range.valid : wasValid;
    if (isValid) this.table.set(vpnOf(range.start), asPte(range.pfns[0]));
    held[Symbol.dispose]();
    return isValid;
  }
}

function scenario(name, checksUnderLock) {
  return {
    name,
    about: "A device faults a page while the program unmaps it and maps it afresh.",
    setUp(strategy) {
      const stage = new Stage(strategy, { pages: 1, devices: 0 });
      const { scheduler, space } = stage;
      const driver = new SmallDriver(space, checksUnderLock);
      scheduler.runTask("open", driver.open());
      stage.task("device", driver.fault({ start: stage.addressOf(0), end: stage.addressOf(1) }));
      stage.task("program", stage.remap(0));
      const page = vpnOf(stage.addressOf(0));
      return {
        scheduler,
        checkStep() {
          const entry = driver.table.get(page);
          if (entry === PTE_NONE || ptePfn(entry) === ptePfn(space.pageTable.get(page))) return;
          throw new Violation("stale-access", `the device reaches frame ${ptePfn(entry)}`);
        },
        checkEnd() {
          scheduler.runTask("close", driver.close());
          stage.checkEnd();
        },
      };
    },
  };
}

export const buggy = scenario("check-before-lock", false);
export const fixed = scenario("check-under-lock", true);
