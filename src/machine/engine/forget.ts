/** What `discard` does, and the heap with blocks that were freed. */
import type { Result, VirtAddr } from "../../base/index.ts";
import { type AddressSpace, adviseAccess, madviseDontNeed, VM_HINTS } from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { Ask } from "./calls.ts";

/** The pages lose their content; where blocks were freed, also what was said of them. */
export function* forget(
  space: AddressSpace,
  start: VirtAddr,
  { bytes, isFreed = false }: Ask<"discard">,
): Sleeps<Result> {
  const result = yield* madviseDontNeed(space, start, bytes);
  if (isFreed && result >= 0) yield* adviseAccess(space, start, bytes, NOTHING);
  return result;
}

const NOTHING = { set: 0, clear: VM_HINTS };
