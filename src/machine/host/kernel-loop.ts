/**
 * The life of a kernel thread: serve faults, answer calls, run tasks, and sleep in one system
 * call that faults and callers both end. While a task waits for the GPU's library the event loop
 * has to turn, so the thread looks once a turn instead of sleeping.
 */
import { writeSync } from "node:fs";
import { formatAddress } from "../../base/index.ts";
import { type BadAccess, type HostCpu, type HostMemory, isInSystemCall } from "../../cpu/index.ts";
import { FAULT_SIGBUS, VM_READ } from "../../mm/index.ts";
import { type Engine, napAfter, Tasks, whyNot } from "../engine/index.ts";
import { hmmError } from "../error.ts";
import { progressValues, type Question } from "./host-port.ts";
import type { KernelClock } from "./kernel-clock.ts";
import type { Call, MailboxServer } from "./mailbox/index.ts";
import { Part, tell, Word } from "./watchdog.ts";

/** Looks without a result before the thread goes to sleep: waking it up costs more. */
const SPINS = 60;
/** The longest sleep: how late a stop or an overdue fault is noticed at worst. */
const SLEEP_MS = 250;
/** The longest while it waits for the GPU: how late it hears of the end. */
const NAP_MS = 1;
/** How long callers may take to read their last answers. */
const DRAIN_MS = 1000;
/** The same when the process ends. */
const EXIT_DRAIN_MS = 50;
/** How long the device may take, when the process ends, to give back what only it has. */
const RETREAT_MS = 2000;
/** How much longer when kernels compile: Dawn would abort. */
const COMPILE_MS = 12_000;
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
  /** The process ends: until when to wait for the device. Scheduler's clock, milliseconds. */
  #deadlineMs = Number.POSITIVE_INFINITY;
  /** And how far that may be put off. */
  #latestMs = Number.POSITIVE_INFINITY;
  #nextWatchMs = 0;
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
    const { life } = this.#parts.engine;
    if (life.state === "failed") return;
    if (life.state === "closed") {
      this.#failAfterAll(error);
      return;
    }
    life.to("failed");
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const words = this.#parts.engine.lastWords(error);
    // First: who is told, or goes on and meets a lost page, may end the process at once.
    writeSync(2, `onespace: the kernel thread has failed; ${this.#whatIsLeft()}\n${words}\n`);
    this.#abandon();
    // Before anything else that may break as well: who ends waits for this word.
    tell(this.#parts.control, Part.hasLetGo);
    this.#parts.server.die(`the kernel thread has failed: ${text}`);
    this.#end();
  }

  /** The machine was closed, and what came after it went wrong: nobody's memory is at stake. */
  #failAfterAll(error: unknown): void {
    writeSync(2, `onespace: closing a machine: ${this.#parts.engine.lastWords(error)}\n`);
    tell(this.#parts.control, Part.hasLetGo);
    this.#end();
  }

  #whatIsLeft(): string {
    try {
      const lost = [...this.#parts.engine.pagesAway()].length;
      if (lost === 0) return "memory stays readable";
      return `${lost} pages were on the device only: touching them ends the process`;
    } catch (error) {
      return `it could not say what is lost (${String(error)}); the process ends with SIGBUS`;
    }
  }

  /** Lets everybody go on with what there is; if that fails as well, nobody goes on. */
  #abandon(): void {
    const { engine, memory } = this.#parts;
    try {
      memory.abandon([...engine.pagesAway()].map((page) => ({ start: page, end: page + 1 })));
    } catch {
      process.kill(process.pid, "SIGBUS");
    }
  }

  /** An access that no fault can make possible: the process ends, as it does in C. */
  kill(bad: BadAccess): void {
    // It was right when it began. It waits until the window is ordinary memory.
    if (this.#parts.engine.life.isDismantled) return;
    if (this.#failSystemCall(bad)) return;
    const { result, thread, address, write } = bad;
    const who = thread === process.pid ? "the main thread" : `thread ${thread}`;
    const what = `${who} ${write ? "wrote to" : "read from"} ${formatAddress(address)}`;
    const outside = whyNot(this.#parts.engine.space, address, write);
    const isBus = result === FAULT_SIGBUS || outside === undefined;
    const why = isBus ? this.#whyNoMemory(result) : outside;
    const signal = isBus ? "SIGBUS" : "SIGSEGV";
    writeSync(2, `onespace: ${what}: ${why}; the process ends with ${signal}\n`);
    process.kill(process.pid, signal);
  }

  /** A system call answers EFAULT instead, as in C. False when it was no call. */
  #failSystemCall(bad: BadAccess): boolean {
    const { cpu, space } = this.#parts.engine;
    if (!cpu.kernelFaults || !isInSystemCall(bad.thread)) return false;
    const mayRead = bad.write && space.vmas.find(bad.address)?.allows(VM_READ) === true;
    cpu.failSystemCall(bad, mayRead);
    return true;
  }

  #whyNoMemory(result: number): string {
    return result === FAULT_SIGBUS
      ? "the page was on a device that is lost"
      : "there is no memory left for the page";
  }

  readonly #turn = (): void => {
    try {
      if (this.#spin()) setImmediate(this.#turn);
      else if (this.#parts.engine.life.state !== "failed") this.#finish();
    } catch (error) {
      this.die(error);
    }
  };

  /** True when the event loop has to turn, false when it is over. */
  #spin(): boolean {
    const { engine } = this.#parts;
    for (let idle = 0; ; ) {
      const hasWorked = this.#work();
      if (this.#isOver) return false;
      if (this.#isEnding && this.#hasRetreated()) return false;
      if (engine.scheduler.outside > 0) {
        if (!hasWorked) this.#nap();
        return true;
      }
      if (hasWorked) idle = 0;
      else if (++idle === SPINS) {
        this.#sleep();
        idle = 0;
      }
    }
  }

  /** Dawn aborts the process when a thread ends while it still does something for it. */
  get #isOver(): boolean {
    const { life, scheduler } = this.#parts.engine;
    return life.state === "failed" || (life.isOver && scheduler.outside === 0);
  }

  /** The process ends. */
  get #isEnding(): boolean {
    return Atomics.load(this.#parts.control, Word.isEnding) !== 0;
  }

  #work(): boolean {
    const { engine, server, clock } = this.#parts;
    // Once nothing is mapped any more, who touches memory waits until it is ordinary again.
    let hasWorked = !engine.life.isDismantled && engine.cpu.serveFaults() > 0;
    for (let call = server.next(); call !== undefined; call = server.next()) {
      this.#start(call);
      hasWorked = true;
    }
    server.beat();
    const now = clock.now();
    if (now >= this.#nextWatchMs) {
      this.#nextWatchMs = now + SLEEP_MS;
      this.#watch(now);
    }
    return clock.runDue() || hasWorked;
  }

  #start(call: Call): void {
    const { name, ask } = call.request as Question;
    const { engine } = this.#parts;
    engine.cpu.unseal();
    if (!engine.canServe(name)) {
      const detail = `the engine has no call "${String(name)}"`;
      call.fail(hmmError({ code: "EINVAL", call: "mailbox", detail }));
      return;
    }
    const context = {
      caller: call.owner,
      isAborted: () => call.isAborted || this.#isEnding,
      progress: (progress: Parameters<typeof progressValues>[0]) =>
        call.progress(progressValues(progress)),
    };
    this.#tasks.start(name, engine.serve(name, ask, context), {
      resolve: (answer) => call.reply(answer),
      reject: (error) => call.fail(error),
    });
  }

  /** The process ends: true once the device has given back what it has, or had its time. */
  #hasRetreated(): boolean {
    const { engine, clock } = this.#parts;
    const now = clock.now();
    if (this.#deadlineMs === Number.POSITIVE_INFINITY) {
      this.#deadlineMs = now + RETREAT_MS;
      this.#latestMs = this.#deadlineMs + COMPILE_MS;
    }
    // What comes after a compilation has its time, too: a round, or another compilation.
    if (engine.isCompiling) this.#deadlineMs = Math.min(now + RETREAT_MS, this.#latestMs);
    // One that is being closed goes on: then it is over, or open again.
    if (engine.life.state === "open") {
      this.#tasks.start("retreat", engine.retreat(), {
        resolve: () => undefined,
        reject: (error) => this.die(error),
      });
      return false;
    }
    const isDone = engine.life.state === "retreated" && engine.scheduler.outside === 0;
    return isDone || now >= this.#deadlineMs;
  }

  /** The GPU's library wants a turn soon; faults and callers end it before. */
  #nap(): void {
    const { clock } = this.#parts;
    const nap = napAfter(clock.now() - clock.outsideSinceMs, NAP_MS);
    if (nap > 0) this.#sleep(nap);
  }

  #sleep(mostMs = SLEEP_MS): void {
    const { memory, server, clock } = this.#parts;
    if (server.beforeSleep()) memory.poll(Math.min(mostMs, clock.idleMs));
    server.afterSleep();
    memory.drainDoorbell();
  }

  /** A fault that nobody serves, because a device does not answer. */
  #watch(now: number): void {
    const { engine, limitMs } = this.#parts;
    engine.cpu.unseal();
    engine.sweep();
    const waited = engine.cpu.oldestWaitMs(now);
    if (waited < WARN_MS) {
      this.#hasWarned = false;
      return;
    }
    const seconds = Math.round(waited / 1000);
    const what = `a page fault has waited for ${seconds} s: ${engine.scheduler.describeWaits()}`;
    if (waited >= limitMs + engine.patienceMs) {
      writeSync(2, `onespace: ${what}; the process ends with SIGBUS\n`);
      process.kill(process.pid, "SIGBUS");
    }
    if (!this.#hasWarned) writeSync(2, `onespace: ${what}\n`);
    this.#hasWarned = true;
  }

  #finish(): void {
    const { engine, memory, server, control } = this.#parts;
    const isClosed = engine.life.state === "closed";
    server.close(isClosed ? "the machine is closed" : "the thread that made it has ended");
    server.drain(isClosed ? DRAIN_MS : EXIT_DRAIN_MS);
    engine.destroy();
    tell(control, Part.isOver);
    if (isClosed) memory.close();
    else this.#giveUp();
    tell(control, Part.hasLetGo);
    this.#end();
  }

  /** Who still runs while the process ends finds what was there. */
  #giveUp(): void {
    const isAnythingLost = !this.#parts.engine.pagesAway().next().done;
    if (isAnythingLost) writeSync(2, `onespace: the process ends; ${this.#whatIsLeft()}\n`);
    this.#abandon();
  }
}
