/**
 * Pages that come, go and are shared: first touch, munmap and fork, beside the kernel that this
 * runs on, which does it for the same number of 4 KiB pages (no huge ones) of a process of its
 * own. Ours clears the same bytes; it takes no trap, and there is no hardware table to flush.
 */
import {
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  type HmmRange,
  hmmRangeFault,
} from "../src/hmm/index.ts";
import { AddressSpace, fork, isWritable, mmput } from "../src/mm/index.ts";
import type { Sleeps } from "../src/sync/index.ts";
import { compare, type Peer, type Sample } from "./mm-peer.ts";
import { BenchWorld, expect, FIRST, nowNs } from "./mm-world.ts";
import type { Row } from "./ratio.ts";

const PAGES = 16_384;

const SIZE = `${PAGES.toLocaleString("en")} pages`;

export async function benchPages(hasPeers: boolean): Promise<Row[]> {
  const world = new BenchWorld(PAGES);
  const range = world.range(HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
  const bench = (name: string, measure: () => Sample, peer: Peer): Promise<Row[]> =>
    compare(hasPeers, { name: `mm: ${name}`, unit: "page", measure }, [peer]);
  return [
    ...(await bench(`first touch by hmmRangeFault, writing, ${SIZE}`, () => touch(world, range), {
      versus: "the kernel's first touch",
      by: ["kernel", "touch", PAGES],
    })),
    ...(await bench(`munmap of ${SIZE} that were written`, () => unmap(world, range), {
      versus: "the kernel's munmap",
      by: ["kernel", "unmap", PAGES],
    })),
    ...(await bench(`fork of ${SIZE} that were written`, () => forked(world, range), {
      versus: "the kernel's fork with them, less its fork without",
      by: ["kernel", "fork", PAGES],
    })),
  ];
}

function touch(world: BenchWorld, range: HmmRange): Sample {
  const sample = world.run(faultIn(world, range));
  world.unmap();
  world.map();
  return sample;
}

function unmap(world: BenchWorld, range: HmmRange): Sample {
  world.run(faultIn(world, range));
  const start = nowNs();
  world.unmap();
  const ns = nowNs() - start;
  expect(world.space.rssPages, 0, "the number of pages after munmap");
  world.map();
  return { ns, units: PAGES };
}

/** The child ends again, and the pages go: the next fork has pages that nobody shared yet. */
function forked(world: BenchWorld, range: HmmRange): Sample {
  world.run(faultIn(world, range));
  const start = nowNs();
  const child = world.run(fork(world.space));
  const ns = nowNs() - start;
  if (!(child instanceof AddressSpace)) throw new Error(`mm bench: fork failed with ${child}`);
  expect(child.rssPages, PAGES, "the number of pages of the child");
  expect(child.pageTable.get(FIRST), world.space.pageTable.get(FIRST), "an entry of the child");
  expect(isWritable(world.space.pageTable.get(FIRST)), false, "the right to write a shared page");
  world.run(mmput(child));
  world.unmap();
  world.map();
  return { ns, units: PAGES };
}

/** Makes every page of the mapping writable; every word says so. */
export function* faultIn(world: BenchWorld, range: HmmRange): Sleeps<Sample> {
  const { space, pages } = world;
  range.notifierSeq = (yield* space.notifiers.readBegin(range.notifier))!;
  using _mmap = yield* space.mmapLock.acquireRead();
  range.pfns.fill(0);
  const start = nowNs();
  expect(yield* hmmRangeFault(space, range), 0, "the result of faulting in");
  const ns = nowNs() - start;
  expect(space.rssPages, pages, "the number of pages that are there");
  const wanted = HMM_PFN_VALID | HMM_PFN_WRITE;
  for (const word of range.pfns) expect(word & 0xff, wanted, "what a page allows");
  return { ns, units: pages };
}
