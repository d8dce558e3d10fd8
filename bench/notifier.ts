/**
 * The collision-retry lock, a file a question:
 * - `notifier-scale.ts`: what a writer pays, by the number of ranges that are subscribed.
 * - `notifier-storm.ts`: what a reader pays when writers never stop.
 * A part says its own lines, and gives the rows that sum them up.
 */
import { buildPeers } from "./mm-peer.ts";
import { showScale } from "./notifier-scale.ts";
import { showStorm } from "./notifier-storm.ts";
import type { Row } from "./ratio.ts";

export async function benchNotifier(): Promise<Row[]> {
  return [...(await showScale(buildPeers())), ...showStorm()];
}
