/**
 * The life of a kernel thread: serve faults, answer calls, run tasks, and sleep in one system
 * call that faults and callers both end. While a task waits for the GPU's library the event loop
 * has to turn, so the thread looks once a turn instead of sleeping.
 */
import { writeSync } from "node:fs";
import { formatAddress } from "../../base/index.ts";
import type { BadAccess, HostCpu, HostMemory } from "../../cpu/index.ts";
import { FAULT_SIGBUS, VM_READ, VM_WRITE } from "../../mm/index.ts";
import { type Engine, Tasks } from "../engine/index.ts";
import { hmmError } from "../error.ts";
import { type Notice, progressValues, type Question } from "./host-port.ts";
import type { KernelClock } from "./kernel-clock.ts";
import type { Call, MailboxServer } from "./mailbox/index.ts";
import { Members } from "./members.ts";
import { Word } from "./watchdog.ts";

/** Looks without a result before the thread goes to sleep: waking it up costs more. */
const SPINS = 60;
/** The longest sleep: how late a stop or an overdue fault is noticed at worst. */
const SLEEP_MS = 250;
/** How long callers may take to read their last answers. */
const DRAIN_MS = 1000;
/** How long a fault may wait before somebody is told. */
const WARN_MS = 10_000;

export interface KernelLoopParts {
  readonly engine: Engine<HostCpu>;
  readonly memory: HostMemory;
  readonly server: MailboxServer;
  readonly clock: KernelClock;
  /** `Word`: what this thread and those around it tell each other. */
  readonly control: Int32Array;
  /** After this a fault that is not served ends the process. Milliseconds. */
  readonly limitMs: number;
}

export class KernelLoop {
  readonly #parts: KernelLoopParts;
  readonly #tasks: Tasks;
  readonly #members = new Members();
  #isClosing = false;
  #isClosed = false;
  #hasWarned = false;
  #end: () => void = () => undefined;

  constructor(parts: KernelLoopParts) {
    this.#parts = parts;
    this.#tasks = new Tasks(parts.engine.scheduler);
  }

  /** Runs until the machine is closed, the process ends, or something breaks. */
  run(): Promise<void> {
    return new Promise((resolve) => {
      this.#end = resolve;
      this.#turn();
    });
  }

  /** Something broke: nobody may wait for this thread any more, and nothing may pass for data. */
  die(error: unknown): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const left = this.#abandon();
    // First: who is told by an error may end the process at once.
    writeSync(2, `onespace: the kernel thread has failed; ${left.what}\n${text}\n`);
    this.#parts.server.die(`the kernel thread has failed: ${text}`);
    if (left.isSafe) this.#leave();
    else process.kill(process.pid, "SIGBUS");
  }

  /** Lets everybody go on with what there is; that may fail as well. */
  #abandon(): { readonly isSafe: boolean; readonly what: string } {
    const { engine, memory } = this.#parts;
    try {
      const lost = [...engine.pagesAway()];
      memory.abandon(lost.map((page) => ({ start: page, end: page + 1 })));
      const what = `${lost.length} pages were on the device only: touching them ends the process`;
      return { isSafe: true, what: lost.length === 0 ? "memory stays readable" : what };
    } catch (error) {
      const what = `it could not say what is lost (${String(error)}); the process ends with SIGBUS`;
      return { isSafe: false, what };
    }
  }

  /** An access that no fault can make possible: the process ends, as it does in C. */
  kill(bad: BadAccess): void {
    const { result, thread, address, write } = bad;
    const who = thread === process.pid ? "the main thread" : `thread ${thread}`;
    const what = `${who} ${write ? "wrote to" : "read from"} ${formatAddress(address)}`;
    const isBus = result === FAULT_SIGBUS || !this.#isOutside(bad);
    const why = isBus ? this.#whyNoMemory(result) : this.#whyOutside(bad);
    const signal = isBus ? "SIGBUS" : "SIGSEGV";
    writeSync(2, `onespace: ${what}: ${why}; the process ends with ${signal}\n`);
    process.kill(process.pid, signal);
  }

  #isOutside({ address, write }: BadAccess): boolean {
    const vma = this.#parts.engine.space.vmas.find(address);
    return vma === undefined || !vma.allows(write ? VM_WRITE : VM_READ);
  }

  #whyOutside({ address }: BadAccess): string {
    const vma = this.#parts.engine.space.vmas.find(address);
    if (vma === undefined) return "nothing is mapped there";
    const range = `${formatAddress(vma.start)}..${formatAddress(vma.end)}`;
    return `${range} is mapped ${vma.allows(VM_READ) ? "read-only" : "without rights"}`;
  }

  #whyNoMemory(result: number): string {
    return result === FAULT_SIGBUS
      ? "the page was on a device that is lost"
      : "there is no memory left for the page";
  }

  readonly #turn = (): void => {
    try {
      if (this.#spin()) setImmediate(this.#turn);
      else this.#finish();
    } catch (error) {
      this.die(error);
    }
  };

  /** True when the event loop has to turn, false when it is over. */
  #spin(): boolean {
    const { engine, control } = this.#parts;
    for (let idle = 0; ; ) {
      const hasWorked = this.#work();
      if (this.#isClosed || Atomics.load(control, Word.isOver) !== 0) return false;
      if (engine.scheduler.outside > 0) return true;
      if (hasWorked) idle = 0;
      else if (++idle === SPINS) {
        this.#sleep();
        idle = 0;
      }
    }
  }

  #work(): boolean {
    const { engine, server, clock } = this.#parts;
    // Once nothing is mapped any more, who touches memory waits until it is ordinary again.
    let hasWorked = !this.#isClosing && engine.cpu.serveFaults() > 0;
    for (let call = server.next(); call !== undefined; call = server.next()) {
      this.#start(call);
      hasWorked = true;
    }
    server.beat();
    return clock.runDue() || hasWorked;
  }

  #start(call: Call): void {
    const request = call.request as Question | Notice;
    if (request.name === "join") {
      call.reply(this.#members.join(request.id, request.thread));
      return;
    }
    if (request.name === "leave") {
      call.reply(this.#members.leave(request.id, request.remains));
      return;
    }
    const { name, ask } = request;
    if (!this.#parts.engine.canServe(name)) {
      const detail = `the engine has no call "${String(name)}"`;
      call.fail(hmmError({ code: "EINVAL", call: "mailbox", detail }));
      return;
    }
    if (name === "close") this.#isClosing = true;
    if (name === "launch") Atomics.store(this.#parts.control, Word.mayBeAway, 1);
    const context = {
      isAborted: () => call.isAborted,
      progress: (progress: Parameters<typeof progressValues>[0]) =>
        call.progress(progressValues(progress)),
    };
    this.#tasks.start(name, this.#parts.engine.serve(name, ask, context), {
      resolve: (answer) => {
        call.reply(answer);
        if (name !== "close") return;
        this.#isClosed = answer === 0;
        this.#isClosing = this.#isClosed;
      },
      reject: (error) => call.fail(error),
    });
  }

  #sleep(): void {
    const { memory, server, clock } = this.#parts;
    this.#watch();
    if (server.beforeSleep()) memory.poll(Math.min(SLEEP_MS, clock.idleMs));
    server.afterSleep();
    memory.drainDoorbell();
  }

  /** A fault that nobody serves, because a device does not answer. */
  #watch(): void {
    const { engine, clock, limitMs } = this.#parts;
    const waited = engine.cpu.oldestWaitMs(clock.now());
    if (waited < WARN_MS) {
      this.#hasWarned = false;
      return;
    }
    const seconds = Math.round(waited / 1000);
    const what = `a page fault has waited for ${seconds} s: ${engine.scheduler.describeWaits()}`;
    if (waited >= limitMs) {
      writeSync(2, `onespace: ${what}; the process ends with SIGBUS\n`);
      process.kill(process.pid, "SIGBUS");
    }
    if (!this.#hasWarned) writeSync(2, `onespace: ${what}\n`);
    this.#hasWarned = true;
  }

  /** Nobody watches this thread any more. */
  #leave(): void {
    const { control } = this.#parts;
    Atomics.store(control, Word.isOver, 1);
    Atomics.notify(control, Word.isOver);
    this.#end();
  }

  #finish(): void {
    const { engine, memory, server } = this.#parts;
    server.close("the machine is closed");
    server.drain(DRAIN_MS);
    engine.destroy();
    this.#leave();
    memory.close();
  }
}
