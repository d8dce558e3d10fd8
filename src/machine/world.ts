/**
 * The one place that puts a memory system together: scheduler, frames, accounting. A `Machine`
 * builds its world here, and so do tests and replays, which want a small one with a soft CPU.
 */
import { PAGE_SIZE } from "../base/index.ts";
import { type HugePagePolicy, Memory, type SwapArea } from "../mm/index.ts";
import {
  type BulkMemory,
  FIRST_ZONE_PFN,
  FrameBytes,
  MemoryGroup,
  Pages,
  Zone,
} from "../phys/index.ts";
import { type Host, Scheduler, Shared, type Strategy } from "../sync/index.ts";
import { Tracer } from "../trace/index.ts";

export interface WorldOptions {
  /** Frames of RAM. Default: the window's pages, or 16,384 (64 MiB, backed as touched). */
  readonly frames?: number;
  /** Who runs next. Default: first in, first out. */
  readonly strategy?: Strategy;
  /** Clock and event loop; without one time is virtual. */
  readonly host?: Host;
  /**
   * The user's window: the bytes of RAM are these, and frames are free when they are all zero.
   * Default: an arena of their own.
   */
  readonly window?: { readonly buffer: ArrayBufferLike; readonly bulk?: BulkMemory };
  /** Most pages that all spaces together may have. Default: no limit but `frames`. */
  readonly limitPages?: number;
  /** Frames with bytes behind those of RAM, for device memory that the CPU can touch. Default 0. */
  readonly coherentFrames?: number;
  /** Where faults may map huge pages; see `MemoryOptions`. */
  readonly hugePages?: HugePagePolicy;
  /** Huge pages set aside for mappings that ask for them. Default 0. */
  readonly hugetlbPages?: number;
  /** Where pages go when RAM is full. Default: nowhere. */
  readonly swap?: SwapArea;
}

export interface World {
  readonly scheduler: Scheduler;
  readonly tracer: Tracer;
  readonly pages: Pages;
  readonly memory: Memory;
}

export function buildWorld(options: WorldOptions = {}): World {
  const { window } = options;
  const frames = options.frames ?? (window?.buffer.byteLength ?? 2 ** 26) / PAGE_SIZE;
  const tracer = new Tracer();
  const scheduler = new Scheduler({
    tracer,
    ...(options.strategy === undefined ? {} : { strategy: options.strategy }),
    ...(options.host === undefined ? {} : { host: options.host }),
  });
  const end = FIRST_ZONE_PFN + frames;
  const pages = new Pages(scheduler, end);
  const shared = new Shared(scheduler);
  const bytes =
    window === undefined
      ? new FrameBytes(new ArrayBuffer((end + (options.coherentFrames ?? 0)) * PAGE_SIZE), {
          shared,
        })
      : // Page 0 has the first frame that there is.
        new FrameBytes(window.buffer, {
          ...(window.bulk === undefined ? {} : { bulk: window.bulk }),
          shared,
          firstFrame: FIRST_ZONE_PFN,
        });
  const ram = new Zone({
    name: "ram",
    start: FIRST_ZONE_PFN,
    count: frames,
    isCleared: window !== undefined,
    ...(window !== undefined ? { onFree: (frame) => bytes.zero(frame) } : {}),
  });
  pages.addZone(ram);
  const group = new MemoryGroup("machine", options.limitPages);
  const { hugePages, hugetlbPages, swap } = options;
  const memory = new Memory({
    scheduler,
    pages,
    bytes,
    ram,
    group,
    ...(hugePages === undefined ? {} : { hugePages }),
    ...(hugetlbPages === undefined ? {} : { hugetlbPages }),
    ...(swap === undefined ? {} : { swap }),
  });
  return { scheduler, tracer, pages, memory };
}
