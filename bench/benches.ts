/** The benches by name. A file is loaded only by the process that runs it. */
import type { Row } from "./ratio.ts";

export interface Bench {
  readonly about: string;
  readonly run: () => Promise<Row[]>;
}

export const BENCHES: Readonly<Record<string, Bench>> = {
  advice: {
    about: "a table that a kernel changes and the CPU reads, with readMostly and without",
    run: async () => (await import("./advice.ts")).benchAdvice(),
  },
  bfs: {
    about: "distances in a random graph",
    run: async () => (await import("./bfs.ts")).benchBfs(),
  },
  blur: {
    about: "an image, resident and cold",
    run: async () => (await import("./blur.ts")).benchBlur(),
  },
  dense: {
    about: "saxpy over resident arrays",
    run: async () => (await import("./dense.ts")).benchDense(),
  },
  dragon: {
    about: "the main job: the dragon's picture, cold and warm",
    run: async () => (await import("./dragon.ts")).benchDragon(),
  },
  explore: {
    about: "schedules a second of every search, and what exploring leaves behind",
    run: async () => (await import("./explore.ts")).benchExplore(),
  },
  hash: {
    about: "probes of a hash table",
    run: async () => (await import("./hash.ts")).benchHash(),
  },
  host: {
    about: "page faults, revocations, results read where they lie",
    run: async () => (await import("./host.ts")).benchHost(),
  },
  launch: {
    about: "a warm launch of 64 invocations",
    run: async () => (await import("./launch.ts")).benchLaunch(),
  },
  list: {
    about: "walks over a resident list",
    run: async () => (await import("./list.ts")).benchList(),
  },
  mm: {
    about: "the engine beside small C programs and the kernel",
    run: async () => (await import("./mm.ts")).benchMm(),
  },
  notifier: {
    about: "invalidations among 1 to 1,000,000 ranges; a reader in a storm",
    run: async () => (await import("./notifier.ts")).benchNotifier(),
  },
  oversubscribed: {
    about: "pages moved when device memory is small, against the optimum",
    run: async () => (await import("./oversubscribed.ts")).benchOversubscribed(),
  },
  spmv: {
    about: "a sparse matrix times a vector",
    run: async () => (await import("./spmv.ts")).benchSpmv(),
  },
  tree: {
    about: "bytes moved by a few keys in a large search tree",
    run: async () => (await import("./tree.ts")).benchTree(),
  },
};
