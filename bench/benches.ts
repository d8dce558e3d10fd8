/** The benches by name. A file is loaded only by the process that runs it. */
import type { Row } from "./ratio.ts";

export const BENCHES: Readonly<Record<string, () => Promise<Row[]>>> = {
  dense: async () => (await import("./dense.ts")).benchDense(),
  dragon: async () => (await import("./dragon.ts")).benchDragon(),
  explore: async () => (await import("./explore.ts")).benchExplore(),
  host: async () => (await import("./host.ts")).benchHost(),
  list: async () => (await import("./list.ts")).benchList(),
  mm: async () => (await import("./mm.ts")).benchMm(),
  notifier: async () => (await import("./notifier.ts")).benchNotifier(),
  tree: async () => (await import("./tree.ts")).benchTree(),
};
