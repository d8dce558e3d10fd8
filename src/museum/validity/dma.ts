/**
 * DMA mappings of a range's pages in Linux 5.2: hmm_range_dma_map() asks before each page whether
 * the range is still valid, but nobody holds a lock, and hmm_range_dma_unmap() goes by what the
 * entries say by then.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Model } from "../model/index.ts";
import { Address, countedFlag, sequence, type Validity } from "./validity.ts";

/** Where the driver maps: before it takes its lock, or under it after the last question. */
type MapsWhen = "before the lock" | "under the lock";

/** A driver maps P, which is at [A], and a neighbour for DMA, and then programs [A]. */
function buildDmaMap(model: Model, validity: Validity, mapsWhen: MapsWhen): void {
  const page = model.object("P");
  const address = new Address(model, "A", page);
  const isMapped = model.cell("the IOMMU maps P", false);
  const update = model.lock("update");
  const events = model.queue("the end of events");
  function unmap(): void {
    address.program(undefined);
    isMapped.value = false;
  }
  /** Linux: hmm_range_dma_map(); false: busy. */
  function* mapAll(): Sleeps<boolean> {
    const isMine = yield* model.step("finds the range valid and maps P", () => {
      if (!validity.isValid()) return false;
      isMapped.value = true;
      return true;
    });
    if (!isMine) return false;
    return yield* model.step("looks again and maps the neighbour", () => {
      if (!validity.isValid()) isMapped.value = false;
      return isMapped.value;
    });
  }
  model.task("driver", function* (): Sleeps<void> {
    yield* model.step("registers the range", () => validity.register());
    for (let attempt = 0; attempt < 2; attempt++) {
      yield* events.until(() => validity.isReady());
      const seen = yield* model.step("reads pte[A]", () => address.page);
      if (seen === undefined) return;
      if (mapsWhen === "before the lock" && !(yield* mapAll())) continue;
      yield* update.take();
      const isValid = validity.isValid();
      isMapped.value = isValid;
      if (isValid) address.program(seen);
      update.give();
      if (isValid) return;
    }
  });
  model.task("unmapper", function* (): Sleeps<void> {
    yield* model.step("starts an event", () => validity.start(true));
    yield* update.take();
    if (address.isProgrammed) unmap();
    update.give();
    yield* model.step("clears pte[A] and frees P", () => {
      address.page = undefined;
      address.free(page);
    });
    yield* model.step("ends the event", () => {
      validity.end(true);
      events.wakeAll();
    });
  });
  model.finally("leak", () =>
    isMapped.value && !address.isProgrammed ? "the IOMMU maps P for nobody" : undefined,
  );
}

const READ = 1;
const WRITE = 2;
type Direction = "to the device" | "both ways";

/** What the driver's entry for a page is, between hmm_range_dma_map() and its undoing. */
interface Entry {
  /** `READ`, `READ | WRITE`, or 0: not valid. */
  rights: number;
  /** Kept apart from what the CPU's table says. */
  mapped?: Direction;
}

const directionOf = (rights: number): Direction =>
  (rights & WRITE) === 0 ? "to the device" : "both ways";

/** Maps a writable page, reads the page table again, which says `rightsThen`, and unmaps. */
function buildDmaUnmap(model: Model, rightsThen: number, keepsState: boolean): void {
  const iommu = model.cell<Direction | undefined>("what the IOMMU has of P", undefined);
  const entry: Entry = { rights: READ | WRITE };
  function unmap(direction: Direction): void {
    const was = iommu.value;
    const isSame = was === direction;
    model.expect(isSame, "contract", `P is mapped ${was} and is unmapped as if ${direction}`);
    iommu.value = undefined;
  }
  model.task("driver", function* (): Sleeps<void> {
    yield* model.step("maps P", () => {
      iommu.value = directionOf(entry.rights);
      if (keepsState) entry.mapped = iommu.value;
    });
    yield* model.step("reads pte[A] again", () => {
      entry.rights = rightsThen;
    });
    yield* model.step("unmaps P", () => {
      if (entry.mapped !== undefined) unmap(entry.mapped);
      else if (entry.rights !== 0) unmap(directionOf(entry.rights));
    });
  });
  model.finally("leak", () =>
    iommu.value === undefined ? undefined : "the IOMMU still maps P, and nobody will unmap it",
  );
}

export const VALID_DMA: readonly Exhibit[] = [
  {
    id: "B-18",
    title: "a DMA mapping is made between two questions that both are answered with yes",
    story:
      "hmm_range_dma_map() of Linux 5.2 asks before each page, without a lock. Needs the flag of " +
      "B-01; with a latch the last question, under the driver's lock, catches it.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "hmm_range_dma_map(), Linux 5.2",
      build: (model) =>
        buildDmaMap(model, countedFlag(model, { armedBy: "last event" }), "before the lock"),
    },
    fixed: [
      {
        name: "mapped under the driver's lock after the question, as since Linux 6.16",
        build: (model) => buildDmaMap(model, sequence(model), "under the lock"),
      },
      {
        name: "mapped before the lock, with a latch that the range's owner arms",
        build: (model) =>
          buildDmaMap(model, countedFlag(model, { armedBy: "owner" }), "before the lock"),
      },
    ],
  },
  {
    id: "B-18b",
    title: "a page is unmapped in another direction than it was mapped",
    story:
      "hmm_range_dma_unmap() of Linux 5.2 takes the direction from the entry's rights of that " +
      "moment. Since Linux 6.16 entries have bits of their own for what is mapped.",
    kind: "contract",
    says: /mapped both ways and is unmapped as if to the device/,
    buggy: {
      name: "hmm_range_dma_unmap(), Linux 5.2",
      build: (model) => buildDmaUnmap(model, READ, false),
    },
    fixed: [
      {
        name: "an entry remembers how it is mapped",
        build: (model) => buildDmaUnmap(model, READ, true),
      },
    ],
  },
  {
    id: "B-18c",
    title: "an entry that is no longer valid keeps its DMA mapping for ever",
    story: "hmm_range_dma_unmap() of Linux 5.2 passes over entries without the valid bit.",
    kind: "leak",
    says: /nobody will unmap it/,
    buggy: {
      name: "hmm_range_dma_unmap(), Linux 5.2",
      build: (model) => buildDmaUnmap(model, 0, false),
    },
    fixed: [
      {
        name: "an entry remembers how it is mapped",
        build: (model) => buildDmaUnmap(model, 0, true),
      },
    ],
  },
];
