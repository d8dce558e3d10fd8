/**
 * Who watches the kernel thread. A user thread in a page fault can do nothing but wait, so that
 * somebody has to notice who waits for nobody: a thread of its own, which looks once a second.
 */
import { writeSync } from "node:fs";
import { HostMemory, type Mappings, POLL_FAULTS, type WasmMemory } from "../../cpu/index.ts";
import { isAlive, MailboxClient, type ThreadId } from "./mailbox/index.ts";

/** Words that the threads of a machine share. */
export const Word = {
  /** The kernel thread is about to let go of the window: nobody has to watch it any more. */
  isOver: 0,
  /** Launches that have begun: since the first, pages may live on the device only. */
  launches: 1,
  /** The thread that made the machine ends, and with it the kernel thread. */
  isEnding: 2,
  /** Nobody waits in a page fault any more, nor will. */
  hasLetGo: 3,
  /** Words in all. */
  count: 4,
} as const;

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
  while (Atomics.wait(control, Word.isOver, 0, LOOK_MS) === "timed-out") {
    if (!isAlive(kernelThread)) {
      // The last thing that it does when all is well is to say so.
      if (Atomics.wait(control, Word.isOver, 0, LOOK_MS) !== "timed-out") return;
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
  letGo(data.control);
  writeSync(2, `onespace: ${reason}; memory stays readable\n`);
}

/** Tells who waits for it that the window is ordinary memory again. */
export function letGo(control: Int32Array): void {
  Atomics.store(control, Word.hasLetGo, 1);
  Atomics.notify(control, Word.hasLetGo);
}

function end(reason: string): void {
  writeSync(2, `onespace: ${reason}; the process ends with SIGBUS\n`);
  process.kill(process.pid, "SIGBUS");
}
