/**
 * Every event that the engine can report: one table, shared by the code that emits, the tests
 * that ask whether a path was reached, and the readers that draw. Fields are int32 or uint32;
 * addresses are given as page numbers so that they fit.
 */

export const EVENTS = [
  { name: "mm:mmap", fields: ["space", "vpn", "pages"] },
  { name: "mm:munmap", fields: ["space", "vpn", "pages"] },
  { name: "mm:mprotect", fields: ["space", "vpn", "pages"] },
  { name: "mm:fault", fields: ["space", "vpn", "flags"] },
  { name: "mm:madvise", fields: ["space", "vpn", "pages"] },
  { name: "mm:mremap", fields: ["space", "vpn", "pages"] },
  { name: "mm:fork", fields: ["space", "child", ""] },
  { name: "mm:huge-fault", fields: ["space", "vpn", "pfn"] },
  { name: "mm:huge-split", fields: ["space", "vpn", ""] },
  { name: "mm:make-exclusive", fields: ["space", "vpn", "pfn"] },
  { name: "mm:restore-exclusive", fields: ["space", "vpn", "pfn"] },
  { name: "mm:swap-in", fields: ["space", "vpn", "pfn"] },
  { name: "mm:swap-out", fields: ["pfn", "slot", "uses"] },
  { name: "mm:cow", fields: ["space", "vpn", "pfn"] },
  { name: "mm:exit", fields: ["space", "", ""] },
  { name: "notifier:start", fields: ["vpn", "pages", "event"] },
  { name: "notifier:end", fields: ["vpn", "pages", "event"] },
  { name: "notifier:collide", fields: ["vpn", "pages", "seq"] },
  { name: "notifier:refused", fields: ["vpn", "pages", "event"] },
  { name: "notifier:precedence", fields: ["vpn", "pages", "collisions"] },
  { name: "notifier:give-way", fields: ["to", "by", ""] },
  { name: "hmm:fault", fields: ["space", "vpn", "pages"] },
  { name: "hmm:retry", fields: ["space", "vpn", "pages"] },
  { name: "devmem:to-device", fields: ["space", "vpn", "pages"] },
  { name: "devmem:to-ram", fields: ["space", "vpn", "pages"] },
  { name: "devmem:fault", fields: ["space", "vpn", "pfn"] },
  { name: "devmem:duplicate", fields: ["space", "vpn", "pages"] },
  { name: "devmem:unduplicate", fields: ["space", "vpn", "pages"] },
  { name: "devmem:skip", fields: ["space", "vpn", "reason"] },
  { name: "device:round", fields: ["device", "faults", "pending"] },
  { name: "device:evict", fields: ["device", "pages", "dirty"] },
  { name: "device:shrink", fields: ["device", "admitted", ""] },
  { name: "device:timeslice", fields: ["space", "vpn", "ms"] },
  { name: "launch:start", fields: ["device", "invocations", ""] },
  { name: "launch:end", fields: ["device", "result", ""] },
  { name: "device:keep", fields: ["space", "vpn", "pages"] },
] as const;

export type EventName = (typeof EVENTS)[number]["name"];

const IDS: ReadonlyMap<string, number> = new Map(EVENTS.map((event, id) => [event.name, id]));

/** The number of an event in the ring. Resolve once, at module load. */
export function eventId(name: EventName): number {
  return IDS.get(name)!;
}
