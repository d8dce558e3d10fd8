/**
 * What drivers do above the range functions: a batch of GPU faults, a network card's
 * translations, and error paths that are seldom taken.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Model } from "../model/index.ts";

type Access = "prefetch" | "read" | "write" | "atomic";
const STRENGTH = { prefetch: 0, read: 1, write: 2, atomic: 3 } as const;

interface GpuFault {
  readonly address: number;
  readonly access: Access;
}

/** How a batch of faults is put in order and gone through. */
interface BatchRules {
  /** Keeps the whole difference of two addresses; else its low 32 bits. */
  readonly comparesWide: boolean;
  readonly strongestFirst: boolean;
  /** A fault is skipped if its own access is satisfied; else if the first fault's is. */
  readonly testsSkipped: boolean;
  /** Every fault says for itself whether it is atomic; else one makes all that follow so. */
  readonly resetsAtomic: boolean;
}

const LINUX_6_12: BatchRules = {
  comparesWide: false,
  strongestFirst: false,
  testsSkipped: false,
  resetsAtomic: false,
};
const CAREFUL: BatchRules = {
  comparesWide: true,
  strongestFirst: true,
  testsSkipped: true,
  resetsAtomic: true,
};

const A = 0x10_0000;
const FAR = 0x1_0000_0000;

/** A fault service gets a batch; no page is in the CPU's table yet, so a prefetch maps nothing. */
function buildBatch(model: Model, batch: readonly GpuFault[], rules: BatchRules): void {
  const rights = new Map<number, Access>();
  const handled: number[] = [];
  const compare = (a: GpuFault, b: GpuFault): number => {
    const difference = a.address - b.address;
    const byAddress = rules.comparesWide ? difference : difference | 0;
    if (byAddress !== 0) return byAddress;
    const byAccess = STRENGTH[a.access] - STRENGTH[b.access];
    return rules.strongestFirst ? -byAccess : byAccess;
  };
  const suffices = (access: Access, address: number): boolean =>
    access === "prefetch" || STRENGTH[rights.get(address) ?? "prefetch"] >= STRENGTH[access];

  model.task("fault service", function* (): Sleeps<void> {
    const faults = yield* model.step("sorts the batch", () => [...batch].sort(compare));
    let isAtomic = false;
    for (let at = 0; at < faults.length; ) {
      const first = faults[at]!;
      const { address, access } = first;
      isAtomic = access === "atomic" || (isAtomic && !rules.resetsAtomic);
      yield* model.step(`handles the ${access} of 0x${address.toString(16)}`, () => {
        handled.push(address);
        if (isAtomic) rights.set(address, "atomic");
        else if (access !== "prefetch") rights.set(address, access);
      });
      for (at++; at < faults.length && faults[at]!.address === address; at++) {
        const judged = rules.testsSkipped ? faults[at]! : first;
        if (!suffices(judged.access, address)) break;
      }
    }
  });
  model.finally("contract", () => {
    const lost = batch.find(({ access, address }) => !suffices(access, address));
    return lost && `the ${lost.access} of a page is replayed, and cannot succeed`;
  });
  model.finally("imprecise", () => {
    for (const [address, right] of rights) {
      const wants = batch.some((fault) => fault.address === address && fault.access === "atomic");
      if (right === "atomic" && !wants) return "a page is taken from the CPU for a read";
    }
    const isOnce = new Set(handled).size === handled.length;
    return isOnce ? undefined : "a page is handled twice";
  });
}

const EFAULT = -14;
const ENOMEM = -12;

/** Looks at the pages of a range while somebody unmaps it. */
function buildScan(model: Model, unlocksOnError: boolean): void {
  const isMapped = model.cell("the range is mapped", true);
  const notifierLock = model.lock("notifier_lock");

  model.task("scan", function* (): Sleeps<void> {
    const error = yield* model.step("walks the range", () => (isMapped.value ? 0 : EFAULT));
    if (error < 0) {
      if (unlocksOnError) notifierLock.giveRead();
      return;
    }
    yield* notifierLock.takeRead();
    yield* model.step("classifies the pages", () => notifierLock.giveRead());
  });
  model.task("unmapper", function* (): Sleeps<void> {
    yield* notifierLock.take();
    isMapped.value = false;
    notifierLock.give();
  });
}

/** Brings the pages of a range home while memory gets short. */
function buildEvict(model: Model, putsOnError: boolean): void {
  const users = model.counter("mm_users", 1);
  const hasMemory = model.cell("there is memory", true);

  model.task("eviction", function* (): Sleeps<void> {
    yield* model.step("takes a user of the mm", () => {
      users.value++;
    });
    const error = yield* model.step("allocates an array", () => (hasMemory.value ? 0 : ENOMEM));
    if (error < 0 && !putsOnError) return;
    yield* model.step("faults all pages, if it has an array, and puts the mm", () => {
      users.value--;
    });
  });
  model.task("others", function* (): Sleeps<void> {
    yield* model.step("use up the memory", () => {
      hasMemory.value = false;
    });
  });
  model.finally("leak", () =>
    users.value === 1 ? undefined : "mm_users is too high: the memory of the process stays",
  );
}

/** Allocates two large pages; when the second cannot be had the first is put. */
function buildPopulate(model: Model, readsOrderFirst: boolean): void {
  const page = model.object("the first page");
  const hasMemory = model.cell("there is memory", true);

  model.task("populate", function* (): Sleeps<void> {
    const isDone = yield* model.step("allocates a second page", () => hasMemory.value);
    if (isDone) return;
    if (readsOrderFirst) {
      yield* model.step("reads the order of the first page", () => page.use("the order"));
    }
    yield* model.step("puts the first page, which is its last reference", () => page.free());
    if (readsOrderFirst) return;
    yield* model.step("reads the order of the first page", () => page.use("the order"));
  });
  model.task("others", function* (): Sleeps<void> {
    yield* model.step("use up the memory", () => {
      hasMemory.value = false;
    });
  });
}

const EVENTS = 2;

/** A network card's translations are filled while events come; a clock runs. */
function buildDeadline(model: Model, isForAll: boolean): void {
  const page = model.counter("the page at A");
  const mapped = model.cell<number | undefined>("nic[A]", undefined);
  const sequence = model.counter("seq");
  const isLate = model.cell("the time is up", false);
  const hasBegun = model.cell("the clock runs", false);
  const begins = model.queue("the begin");
  const umem = model.lock("umem_mutex");

  model.task("map and lock", function* (): Sleeps<void> {
    let lateAttempts = 0;
    for (;;) {
      const seen = yield* model.step("samples seq", () => {
        hasBegun.value = true;
        begins.wakeAll();
        if (isLate.value) lateAttempts++;
        const message = "it tries again after its time is up, as long as events come";
        model.expect(lateAttempts <= 1, "livelock", message);
        return sequence.value;
      });
      const found = yield* model.step("faults A", () =>
        sequence.value === seen ? page.value : undefined,
      );
      if (found === undefined) {
        if (isLate.value) return;
        continue;
      }
      yield* umem.take();
      const isCurrent = sequence.value === seen;
      if (isCurrent) mapped.value = found;
      const isOver = isCurrent || (isForAll && isLate.value);
      umem.give();
      if (isOver) return;
    }
  });
  model.task("events", function* (): Sleeps<void> {
    for (let event = 0; event < EVENTS; event++) {
      yield* umem.take();
      sequence.value++;
      page.value++;
      mapped.value = undefined;
      umem.give();
    }
  });
  model.task("clock", function* (): Sleeps<void> {
    yield* begins.until(() => hasBegun.value);
    yield* model.step("says that the time is up", () => {
      isLate.value = true;
    });
  });
  model.always("stale-access", () =>
    mapped.value === undefined || mapped.value === page.value
      ? undefined
      : "the card maps a page that has gone",
  );
}

const writeAndPrefetch: readonly GpuFault[] = [
  { address: A, access: "write" },
  { address: A, access: "prefetch" },
];
const atomicAndRead: readonly GpuFault[] = [
  { address: A, access: "atomic" },
  { address: A + 0x1000, access: "read" },
];
const farApart: readonly GpuFault[] = [
  { address: A, access: "write" },
  { address: A + FAR, access: "write" },
  { address: A, access: "write" },
];

export const DRIVER_LOOPS: readonly Exhibit[] = [
  {
    id: "B-101",
    title: "a GPU write is skipped because a prefetch of the same page came before it",
    story:
      "nouveau of Linux 6.12 sorts a batch by rising access, and skips what follows if the " +
      "first fault's access is satisfied, as if the strongest came first. The GPU faults " +
      "once more.",
    kind: "contract",
    says: /write of a page/,
    buggy: {
      name: "nouveau, Linux 6.12",
      build: (model) => buildBatch(model, writeAndPrefetch, LINUX_6_12),
    },
    fixed: [
      {
        name: "strongest first, and every skipped fault is judged by its own access",
        build: (model) => buildBatch(model, writeAndPrefetch, CAREFUL),
      },
    ],
  },
  {
    id: "B-101b",
    title: "after one atomic fault every fault of the batch is handled as atomic",
    story:
      "nouveau of Linux 6.12 sets a variable for atomics outside its loop and never clears " +
      "it.",
    kind: "imprecise",
    says: /for a read/,
    buggy: {
      name: "nouveau, Linux 6.12",
      build: (model) => buildBatch(model, atomicAndRead, LINUX_6_12),
    },
    fixed: [
      {
        name: "every fault says for itself",
        build: (model) => buildBatch(model, atomicAndRead, CAREFUL),
      },
    ],
  },
  {
    id: "B-101c",
    title:
      "addresses that differ by 4 GiB count as equal, and one page's faults are not neighbours",
    story:
      "nouveau of Linux 6.12 gives the 64-bit difference of two addresses back as a 32-bit " +
      "result of its comparison.",
    kind: "imprecise",
    says: /handled twice/,
    buggy: {
      name: "nouveau, Linux 6.12",
      build: (model) => buildBatch(model, farApart, LINUX_6_12),
    },
    fixed: [
      {
        name: "compares whole addresses",
        build: (model) => buildBatch(model, farApart, CAREFUL),
      },
    ],
  },
  {
    id: "B-102",
    title: "the error path of a scan gives back a lock that it never took",
    story: "drm_gpusvm, as of 2025: the walk fails before notifier_lock is taken.",
    kind: "lock",
    says: /notifier_lock/,
    buggy: { name: "drm_gpusvm, 2025", build: (model) => buildScan(model, true) },
    fixed: [{ name: "gives back nothing", build: (model) => buildScan(model, false) }],
  },
  {
    id: "B-102b",
    title: "an eviction that gets no memory keeps the process's memory for ever",
    story: "drm_gpusvm, as of 2025: the failed allocation comes after mm_users was raised.",
    kind: "leak",
    says: /mm_users/,
    buggy: { name: "drm_gpusvm, 2025", build: (model) => buildEvict(model, false) },
    fixed: [{ name: "puts the mm on every path", build: (model) => buildEvict(model, true) }],
  },
  {
    id: "B-102c",
    title: "a page's order is read after its last reference was dropped",
    story: "drm_gpusvm, as of 2025: how far to step is asked of the page that was just put.",
    kind: "use-after-free",
    says: /the order/,
    buggy: { name: "drm_gpusvm, 2025", build: (model) => buildPopulate(model, false) },
    fixed: [{ name: "reads it first", build: (model) => buildPopulate(model, true) }],
  },
  {
    id: "B-103",
    title: "a collision starts the loop again without a look at the clock",
    story:
      "RDMA on-demand paging of Linux 6.12 tests its deadline when the fault returns " +
      "-EBUSY, not when the sequence has moved under the lock.",
    kind: "livelock",
    says: /time is up/,
    buggy: { name: "ODP, Linux 6.12", build: (model) => buildDeadline(model, false) },
    fixed: [
      {
        name: "tests the deadline before every new attempt",
        build: (model) => buildDeadline(model, true),
      },
    ],
  },
];
