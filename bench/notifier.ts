/**
 * The collision-retry lock, a file a question:
 * - `notifier-scale.ts`: what a writer pays, by the number of ranges that are subscribed.
 * A part says its own lines, or gives rows, or both.
 */
import { buildPeers } from "./mm-peer.ts";
import { showScale } from "./notifier-scale.ts";
import type { Row } from "./ratio.ts";

export async function benchNotifier(): Promise<Row[]> {
  const rows: Row[] = [];
  await showScale(buildPeers());
  // Next: how long a reader retries under a storm of invalidations.
  return rows;
}
