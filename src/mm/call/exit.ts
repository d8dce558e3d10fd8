/**
 * The end of a space: its last user is gone. Devices are told first, then everything is
 * unmapped, then the space is forgotten. A task of its own does that, so that whoever gave the
 * last use back may be killed while it waits. Linux: kernel/fork.c mmput(), mm/mmap.c exit_mmap().
 */
import { assert, virtAddr } from "../../base/index.ts";
import { assertMayWait, Completion, type Sleeps } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import { type AddressSpace, MMAP_END } from "../address-space.ts";
import { unmapRange } from "./unmap.ts";

const EXIT = eventId("mm:exit");

/** Gives one use of the space back; after the last one, sleeps until the space is torn down. */
export function* mmput(space: AddressSpace): Sleeps<void> {
  const { scheduler } = space.memory;
  assertMayWait(scheduler.current, "mmap");
  if (!space.users.put()) return;
  const over = new Completion<void>(scheduler, `the exit of space ${space.id}`);
  scheduler.spawn(`exit of space ${space.id}`, tearDown(space, over));
  yield* over.wait();
}

/** The same for code that may not sleep or does not care. Linux: mmput_async(). */
export function mmputAsync(space: AddressSpace): void {
  if (!space.users.put()) return;
  space.memory.scheduler.spawn(`exit of space ${space.id}`, tearDown(space));
}

function* tearDown(space: AddressSpace, over?: Completion<void>): Sleeps<void> {
  assert(space.users.count === 0, "a space is torn down that somebody uses");
  yield* space.notifiers.release();
  {
    using _mmap = yield* space.mmapLock.acquireWrite();
    const unmapped = yield* unmapRange(space, { start: virtAddr(0), end: MMAP_END });
    assert(unmapped === 0, "all of a space can be unmapped");
  }
  assert(space.pageTable.usedCount === 0, "entries are left after exit");
  assert(
    space.rss.every((count) => count === 0),
    () => `rss is ${space.rss.join(", ")} after exit`,
  );
  space.memory.forget(space);
  space.memory.tracer.emit(EXIT, space.id, 0, 0);
  over?.complete();
}
