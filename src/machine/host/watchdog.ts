/**
 * Who watches the kernel thread. A user thread in a page fault can do nothing but wait, so that
 * somebody has to notice who waits for nobody: a thread of its own, which looks once a second.
 */
import { writeSync } from "node:fs";
import { HostMemory, type Mappings, POLL_FAULTS, type WasmMemory } from "../../cpu/index.ts";
import { isAlive, MailboxClient, type ThreadId } from "./mailbox/index.ts";

/** Words that the threads of a machine share. */
export const Word = {
  /** `Part`: how far the kernel thread has come. It only grows. */
  part: 0,
  /** Launches that have begun: since the first, pages may live on the device only. */
  launches: 1,
  /** The thread that made the machine ends, and with it the kernel thread. */
  isEnding: 2,
  /** Words in all. */
  count: 3,
} as const;

export const Part = {
  serves: 0,
  /** It is about to let go of the window: nobody has to watch it any more. */
  isOver: 1,
  /** Nobody waits in a page fault any more, nor will. */
  hasLetGo: 2,
} as const;

/** Tells who waits for it how far the kernel thread has come. */
export function tell(control: Int32Array, part: number): void {
  Atomics.store(control, Word.part, part);
  Atomics.notify(control, Word.part);
}

/** Waits until nobody is in a page fault any more, at most so long. Milliseconds. */
export function waitUntilItHasLetGo(control: Int32Array, limitMs: number): void {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const part = Atomics.load(control, Word.part);
    const left = deadline - performance.now();
    if (part === Part.hasLetGo || left <= 0) return;
    Atomics.wait(control, Word.part, part, left);
  }
}

export interface WatchdogData {
  readonly memory: WasmMemory;
  readonly calls: SharedArrayBuffer;
  readonly control: Int32Array;
  readonly mappings: Mappings;
  readonly kernelThread: ThreadId;
  readonly limitMs: number;
}

const LOOK_MS = 1000;

/**
 * Looks until the machine is over. `onReady`: from now on this thread may be ended at any time;
 * while it binds native calls, that would end the process.
 */
export function watch(data: WatchdogData, onReady: () => void): void {
  const { control, kernelThread, limitMs } = data;
  const memory = HostMemory.adopt(data.memory.buffer, data.mappings);
  const mailbox = new MailboxClient(data.calls);
  let beats = mailbox.beats;
  let since = performance.now();
  onReady();
  while (Atomics.wait(control, Word.part, Part.serves, LOOK_MS) === "timed-out") {
    if (!isAlive(kernelThread)) {
      // The last thing that it does when all is well is to say so.
      if (Atomics.wait(control, Word.part, Part.serves, LOOK_MS) !== "timed-out") return;
      bury(data, memory, mailbox);
      return;
    }
    const isWorking = mailbox.beats !== beats || (memory.poll(0) & POLL_FAULTS) === 0;
    if (isWorking) {
      beats = mailbox.beats;
      since = performance.now();
    } else if (performance.now() - since > limitMs) {
      end(`the kernel thread has not served a page fault for ${limitMs / 1000} s`);
    }
  }
}

/**
 * The kernel thread has ended and could not say why. What was on the device cannot be told from
 * zeros now, so when there may be such pages nobody goes on.
 */
function bury(data: WatchdogData, memory: HostMemory, mailbox: MailboxClient): void {
  const reason = "the kernel thread has ended without a word";
  mailbox.die(reason);
  if (Atomics.load(data.control, Word.launches) !== 0) {
    end(`${reason}, and pages that were on the device are lost`);
  }
  memory.abandon([]);
  tell(data.control, Part.hasLetGo);
  writeSync(2, `onespace: ${reason}; memory stays readable\n`);
}

function end(reason: string): void {
  writeSync(2, `onespace: ${reason}; the process ends with SIGBUS\n`);
  process.kill(process.pid, "SIGBUS");
}
