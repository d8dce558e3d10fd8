/**
 * The memory system without a machine around it: page table walks, faults, invalidations, moves,
 * munmap; beside C programs that do the same (`native/`), and beside the kernel that this runs
 * on. Nanoseconds a page (or an operation) of both; the ratio is what counts.
 */
import { benchMigrate } from "./mm-migrate.ts";
import { benchNotifiers } from "./mm-notifier.ts";
import { benchPages } from "./mm-pages.ts";
import { buildPeers } from "./mm-peer.ts";
import { benchSnapshot } from "./mm-snapshot.ts";
import type { Row } from "./ratio.ts";

export async function benchMm(): Promise<Row[]> {
  const hasPeers = buildPeers();
  if (!hasPeers) console.log("mm: no C compiler (cc) here: absolute figures only, no ratios");
  return [
    ...(await benchSnapshot(hasPeers)),
    ...(await benchPages(hasPeers)),
    ...(await benchNotifiers(hasPeers)),
    ...(await benchMigrate(hasPeers)),
  ];
}
