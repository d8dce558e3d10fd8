/** What a program says about who will access memory: `Space.advise`. */
import { PAGE_SIZE } from "../../base/index.ts";
import { VmHint } from "../../mm/index.ts";
import type { Ask } from "../engine/index.ts";
import { invalid } from "../error.ts";
import { checkOptions, show } from "../given.ts";
import { type Asker, ask } from "./ask.ts";
import { throwIf } from "./outcome.ts";
import type { MemoryRange } from "./place.ts";

/** Members that are left out stay what they were. */
export interface Advice {
  /**
   * Where the pages belong. "device": a launch brings them in before it begins, if there is room
   * for all of them, and they are the last to make room for others. "cpu": what a kernel wrote
   * goes home at the end of each launch, and they are the first to make room. "none": where they
   * are used. CUDA: cudaMemAdviseSetPreferredLocation.
   */
  readonly preferred?: "device" | "cpu" | "none";
  /**
   * What CPUs read stays on the device as well, as copies, until somebody writes; and what a kernel
   * reads comes with all of its 2 MiB. CUDA: cudaMemAdviseSetReadMostly.
   */
  readonly readMostly?: boolean;
  /**
   * "device": as `preferred: "device"` brings them in before a launch, but they make room for
   * others as all do. It has no mapping of RAM that could be kept. CUDA:
   * cudaMemAdviseSetAccessedBy.
   */
  readonly accessedBy?: "device" | "none";
}

type Flags<Word extends string> = Readonly<Record<Word, number>>;

const PREFERRED: Flags<"device" | "cpu" | "none"> = {
  device: VmHint.preferDevice,
  cpu: VmHint.preferCpu,
  none: 0,
};
const ACCESSED_BY: Flags<"device" | "none"> = { device: VmHint.accessedByDevice, none: 0 };

/** Gives it to all pages that `range` touches. */
export async function advise(asker: Asker, range: MemoryRange, advice: Advice): Promise<void> {
  const hints = hintsOf(asker.call, advice);
  if (range.bytes === 0) return;
  const start = range.start - (range.start % PAGE_SIZE);
  const end = Math.ceil((range.start + range.bytes) / PAGE_SIZE) * PAGE_SIZE;
  const what: Ask<"advise"> = { start, bytes: end - start, ...hints };
  throwIf(await ask(asker, "advise", what), asker.call, range);
}

function hintsOf(call: string, advice: Advice): Pick<Ask<"advise">, "set" | "clear"> {
  checkOptions(call, advice, ["preferred", "readMostly", "accessedBy"]);
  const { preferred, readMostly, accessedBy } = advice;
  let set = 0;
  let clear = 0;
  if (preferred !== undefined) {
    set |= flagOf(call, "preferred", PREFERRED, preferred);
    clear |= VmHint.preferDevice | VmHint.preferCpu;
  }
  if (accessedBy !== undefined) {
    set |= flagOf(call, "accessedBy", ACCESSED_BY, accessedBy);
    clear |= VmHint.accessedByDevice;
  }
  if (readMostly !== undefined) {
    if (typeof readMostly !== "boolean") {
      throw invalid(call, `readMostly must be true or false, got ${show(readMostly)}`);
    }
    set |= readMostly ? VmHint.readMostly : 0;
    clear |= VmHint.readMostly;
  }
  return { set, clear };
}

function flagOf(call: string, name: string, flags: Flags<string>, word: unknown): number {
  const flag = typeof word === "string" && Object.hasOwn(flags, word) ? flags[word] : undefined;
  if (flag !== undefined) return flag;
  const known = Object.keys(flags).map((each) => `"${each}"`);
  throw invalid(call, `${name} must be ${known.join(" or ")}, got ${show(word)}`);
}
