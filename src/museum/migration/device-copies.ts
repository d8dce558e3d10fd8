/**
 * Who owns the bytes of a page while CPU and device both know it: a copy that is made, shared by
 * fork, marked for one device alone, or in memory that is about to go.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Model } from "../model/index.ts";

/** When the entry of the device is gone that a migration home would leave behind. */
type Teardown = "after the copy" | "before the copy" | "in the event";

/** A CPU fault brings D home to R while the device writes to D. */
function buildCopyHome(model: Model, teardown: Teardown): void {
  const pte = model.cell<"D" | "migrating" | "R">("pte[A]", "D");
  const device = model.cell<"D" | "none">("dev[A]", "D");
  const bytes = { D: model.cell("bytes of D", "old"), R: model.cell("bytes of R", "") };
  const isWritten = model.cell("the device has written", false);
  const update = model.lock("update");

  function* clearDevice(): Sleeps<void> {
    yield* update.take();
    device.value = "none";
    update.give();
  }
  model.task("CPU fault", function* (): Sleeps<void> {
    if (teardown === "in the event") yield* clearDevice();
    yield* model.step("sets up: pte[A] becomes a migration entry", () => {
      pte.value = "migrating";
    });
    if (teardown === "before the copy") yield* clearDevice();
    yield* model.step("copies D to R", () => {
      bytes.R.value = bytes.D.value;
    });
    if (teardown === "after the copy") yield* clearDevice();
    yield* model.step("finalizes: pte[A] becomes R", () => {
      pte.value = "R";
    });
  });
  model.task("device", function* (): Sleeps<void> {
    yield* model.step("writes to A, if it maps it", () => {
      if (device.value !== "D") return;
      bytes.D.value = "new";
      isWritten.value = true;
    });
  });
  model.finally("lost-update", () =>
    isWritten.value && bytes.R.value !== "new" ? "what the device wrote is not in R" : undefined,
  );
}

type Space = "parent" | "child";
interface Entry {
  readonly page: string;
  readonly isWritable: boolean;
}

/** A process with a device page forks; then the devices of parent and child write to it. */
function buildFork(model: Model, copies: "as it is" | "read-only"): void {
  const none: Entry | undefined = undefined;
  const page = (name: string) => model.cell(`bytes of ${name}`, name === "D" ? "old" : "");
  const bytes = new Map(["D", "the parent's", "the child's"].map((name) => [name, page(name)]));
  const first: Entry = { page: "D", isWritable: true };
  const cpu = {
    parent: model.cell<Entry | undefined>("the parent's pte[A]", first),
    child: model.cell<Entry | undefined>("the child's pte[A]", none),
  };
  const device = {
    parent: model.cell<Entry | undefined>("the parent's dev[A]", first),
    child: model.cell<Entry | undefined>("the child's dev[A]", none),
  };
  const mmapLock = model.lock("the parent's mmap_lock");
  const forked = model.queue("fork");

  /** What a write of the device comes to: through its entry, or by a fault that may copy. */
  function* write(space: Space): Sleeps<void> {
    const isDone = yield* model.step("writes to A, if it maps it writable", () => {
      const entry = device[space].value;
      if (!entry?.isWritable) return false;
      bytes.get(entry.page)!.value = space;
      return true;
    });
    if (isDone) return;
    if (space === "parent") yield* mmapLock.take();
    yield* model.step("faults for A, copies what is shared, and writes", () => {
      let entry = cpu[space].value!;
      if (!entry.isWritable) entry = { page: `the ${space}'s`, isWritable: true };
      cpu[space].value = entry;
      device[space].value = entry;
      bytes.get(entry.page)!.value = space;
    });
    if (space === "parent") mmapLock.give();
  }
  model.task("parent", function* (): Sleeps<void> {
    yield* mmapLock.take();
    yield* model.step("starts an event: clears the parent's dev[A]", () => {
      device.parent.value = none;
    });
    yield* model.step("copies pte[A] to the child", () => {
      const copied = { page: "D", isWritable: copies === "as it is" };
      cpu.parent.value = copied;
      cpu.child.value = copied;
    });
    mmapLock.give();
    forked.wakeAll();
  });
  model.task("device, for the parent", () => write("parent"));
  model.task("device, for the child", function* (): Sleeps<void> {
    yield* forked.until(() => cpu.child.value !== none);
    yield* write("child");
  });
  model.finally("contract", () => {
    for (const space of ["parent", "child"] as const) {
      const read = bytes.get(cpu[space].value!.page)!.value;
      if (read !== space) return `the ${space} reads what the ${read} wrote after the fork`;
    }
    return undefined;
  });
}

interface ExclusiveOptions {
  readonly keepsPageLock: boolean;
  readonly checksSequence: boolean;
}

/**
 * A device takes A for its atomics while one thread touches A and another drops it. Both threads
 * and the driver hold mmap_lock to read, which keeps nobody away from anybody.
 */
function buildExclusive(model: Model, options: ExclusiveOptions): void {
  const pte = model.cell<"P" | "exclusive" | "none">("pte[A]", "P");
  const device = model.cell<"P, atomic" | "none">("dev[A]", "none");
  const sequence = model.counter("seq");
  const active = model.counter("events");
  const ended = model.queue("the end of the event");
  const page = model.lock("the lock of P");
  const update = model.lock("update");

  /** Part of every step that changes one of the two entries. */
  function checkOwners(): void {
    if (device.value === "none" || pte.value === "exclusive") return;
    const isUnmapped = pte.value === "none";
    const words = isUnmapped ? "which is unmapped" : "and so does the CPU";
    model.fail("stale-access", `the device does atomics on P, ${words}`);
  }
  /** An event that no owner filters, around a change of pte[A]. */
  function* change(to: "P" | "none", words: string): Sleeps<void> {
    yield* update.take();
    active.value++;
    sequence.value++;
    device.value = "none";
    update.give();
    yield* model.step(words, () => {
      pte.value = to;
      checkOwners();
      active.value--;
      ended.wakeAll();
    });
  }
  model.task("driver", function* (): Sleeps<void> {
    for (let attempt = 0; attempt < 3; attempt++) {
      let seen = 0;
      yield* ended.until(() => {
        seen = sequence.value;
        return active.value === 0;
      });
      yield* page.take();
      const isMarked = yield* model.step("makes pte[A] exclusive, if P is there", () => {
        if (pte.value === "P") pte.value = "exclusive";
        return pte.value === "exclusive";
      });
      if (!isMarked || !options.keepsPageLock) page.give();
      if (!isMarked) return;
      yield* update.take();
      const isCurrent = !options.checksSequence || sequence.value === seen;
      if (isCurrent) device.value = "P, atomic";
      checkOwners();
      update.give();
      if (options.keepsPageLock) page.give();
      if (isCurrent) return;
    }
  });
  model.task("thread", function* (): Sleeps<void> {
    const isExclusive = yield* model.step("touches A", () => pte.value === "exclusive");
    if (!isExclusive) return;
    yield* page.take();
    if (pte.value === "exclusive") yield* change("P", "makes pte[A] present again");
    page.give();
  });
  model.task("madvise(DONTNEED)", () => change("none", "clears pte[A]"));
}

/** A device goes away while a driver still moves pages to its memory. */
function buildDyingDevice(model: Model, stopsAllocation: boolean): void {
  const chunk = model.object("the chunk");
  const isDying = model.cell("the chunk is dying", false);
  const used = model.counter("allocated pages", 1);
  const old = model.cell<"device" | "RAM">("pte[A]", "device");
  const fresh = model.cell<"device" | "RAM">("pte[B]", "RAM");
  const changes = model.queue("the chunk's pages");

  model.task("driver", function* (): Sleeps<void> {
    const hasPage = yield* model.step("allocates a page of the chunk", () => {
      if (stopsAllocation && isDying.value) return false;
      chunk.use("the driver takes a page of the free list");
      used.value++;
      return true;
    });
    if (!hasPage) return;
    yield* model.step("copies B to it and maps it", () => {
      chunk.use("the driver copies to the page");
      fresh.value = "device";
      changes.wakeAll();
    });
  });
  model.task("removal", function* (): Sleeps<void> {
    yield* model.step("says that the chunk is dying", () => {
      isDying.value = true;
    });
    const pages = [old, fresh];
    while (used.value > 0) {
      yield* changes.until(() => pages.some((entry) => entry.value === "device"));
      yield* model.step("brings home what is mapped", () => {
        for (const entry of pages) {
          if (entry.value !== "device") continue;
          entry.value = "RAM";
          used.value--;
        }
      });
    }
    yield* model.step("removes the chunk", () => chunk.free());
  });
  model.always("use-after-free", () =>
    chunk.isFreed && used.value > 0 ? "a page of the chunk is in use, which is freed" : undefined,
  );
}

const lockAndSequence = { keepsPageLock: true, checksSequence: true } as const;

export const DEVICE_COPIES: readonly Exhibit[] = [
  {
    id: "B-97",
    title: "the driver copies a page home before it stops the device, and a device write is lost",
    story:
      "The driver's own migration event is not for itself, so nobody else clears the entry " +
      "of its device. It must do so between setup and copy.",
    kind: "lost-update",
    says: /not in R/,
    buggy: {
      name: "a driver that clears its entry before finalize",
      build: (model) => buildCopyHome(model, "after the copy"),
    },
    fixed: [
      {
        name: "clears its entry before it copies (nouveau)",
        build: (model) => buildCopyHome(model, "before the copy"),
      },
      {
        name: "does not filter its own event",
        build: (model) => buildCopyHome(model, "in the event"),
      },
    ],
  },
  {
    id: "B-98",
    title: "fork copies a writable device entry as it is, and parent and child share their writes",
    story:
      "A device entry looks like a swapped page, which needs no protection. Linux makes " +
      "both copies read-only, as it does with present pages.",
    kind: "contract",
    says: /wrote after the fork/,
    buggy: {
      name: "a fork that copies device entries unchanged",
      build: (model) => buildFork(model, "as it is"),
    },
    fixed: [
      { name: "both entries read-only (Linux)", build: (model) => buildFork(model, "read-only") },
    ],
  },
  {
    id: "B-100",
    title: "an exclusive page is revoked before the device is programmed, and then has two owners",
    story:
      "A CPU fault restores the entry as soon as the page lock is free. The sequence would " +
      "tell, but with the sequence alone threads that touch the page can win for ever.",
    kind: "stale-access",
    says: /and so does the CPU/,
    buggy: {
      name: "a driver that drops the page lock at once and looks at no sequence",
      build: (model) => buildExclusive(model, { keepsPageLock: false, checksSequence: false }),
    },
    fixed: [
      {
        name: "page lock until programmed, and the sequence (nouveau, Linux 6.12)",
        build: (model) => buildExclusive(model, lockAndSequence),
      },
      {
        name: "the sequence alone",
        build: (model) => buildExclusive(model, { keepsPageLock: false, checksSequence: true }),
      },
    ],
  },
  {
    id: "B-100b",
    title: "the page lock alone does not keep an exclusive page from being dropped",
    story:
      "The kernel's test driver asks no sequence when it programs an exclusive page. The " +
      "page lock and mmap_lock keep CPU faults and munmap() away, but MADV_DONTNEED needs " +
      "neither alone.",
    kind: "stale-access",
    says: /which is unmapped/,
    buggy: {
      name: "lib/test_hmm.c, Linux 6.12",
      build: (model) => buildExclusive(model, { keepsPageLock: true, checksSequence: false }),
    },
    fixed: [
      {
        name: "page lock until programmed, and the sequence",
        build: (model) => buildExclusive(model, lockAndSequence),
      },
    ],
  },
  {
    id: "B-108",
    title: "a page of a device that goes away is handed out again after it was brought home",
    story:
      "Teardown in Linux stops allocation first, then brings all pages home, waits until " +
      "none is in use and removes the memory map.",
    kind: "use-after-free",
    says: /page of the/,
    buggy: {
      name: "an allocator that does not know that its chunk is dying",
      build: (model) => buildDyingDevice(model, false),
    },
    fixed: [
      {
        name: "stops allocation first (Linux)",
        build: (model) => buildDyingDevice(model, true),
      },
    ],
  },
];
