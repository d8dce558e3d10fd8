/**
 * The engine of a machine: one address space, the CPU's shadow of it, a device. It answers calls
 * and knows nothing of who makes them, or on which thread they are.
 */
import {
  EBUSY,
  EFAULT,
  PAGE_SIZE,
  type Result,
  SPACE_BYTES,
  SPACE_PAGES,
  type VirtAddr,
  virtAddr,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import { checkWorld } from "../../check/index.ts";
import { Brackets } from "../../cpu/index.ts";
import { type Gpu, WebGpuDevice } from "../../driver/index.ts";
import {
  AddressSpace,
  adviseAccess,
  dumpSpace,
  FAULT_WRITE,
  MapMode,
  mmap,
  mmput,
  mprotect,
  munmap,
} from "../../mm/index.ts";
import type { BulkMemory } from "../../phys/index.ts";
import type { Host, Scheduler, Sleeps } from "../../sync/index.ts";
import { hmmError } from "../error.ts";
import type { HeapRange } from "../heap/index.ts";
import { buildWorld, type World } from "../world.ts";
import type {
  Answer,
  Ask,
  ByteRange,
  CallContext,
  Caller,
  CallName,
  EngineReport,
  Outcome,
} from "./calls.ts";
import { DeviceCalls } from "./device-calls.ts";
import { faultPages } from "./fault-pages.ts";
import { forget } from "./forget.ts";
import { lastWords, withEvents } from "./last-words.ts";
import { leavePages } from "./leave-pages.ts";
import { Lifetime } from "./lifetime.ts";
import { Members } from "./members.ts";
import { Pool } from "./pool.ts";
import { whyNot, withHole } from "./why-not.ts";
import type { WindowCpu } from "./window-cpu.ts";

export interface EngineOptions<Cpu extends WindowCpu> {
  readonly host: Host;
  /** The bytes of RAM as this thread may touch them. */
  readonly window: { readonly buffer: ArrayBufferLike; readonly bulk?: BulkMemory };
  readonly cpu: (space: AddressSpace) => Cpu;
  readonly gpu: Gpu | undefined;
  /** A word that counts launches; others may read it. */
  readonly launches?: Int32Array;
  /** Where the heap of `malloc` lies: mapped before the first call. */
  readonly heap: HeapRange;
  /** Whether who made a call may still do something. Without: there is one caller, who may. */
  readonly isAlive?: (caller: Caller) => boolean;
}

/** How often one page is faulted for one access before that is a bug. */
const FAULTS_MAX = 64;

/** How long running launches may go on while the machine is being closed, in milliseconds. */
const CLOSING_MS = 500;

/** Calls that are answered while the machine is being closed: they open and change nothing. */
const ALWAYS: ReadonlySet<CallName> = new Set(["release", "report", "leave", "close"]);

type Handlers = {
  readonly [Name in CallName]: (ask: Ask<Name>, context: CallContext) => Sleeps<Answer<Name>>;
};

export class Engine<Cpu extends WindowCpu = WindowCpu> {
  readonly cpu: Cpu;
  readonly space: AddressSpace;
  /** One word: launches that have begun. Pages may live on the device only after the first. */
  readonly launches: Int32Array;
  readonly life: Lifetime;
  readonly #world: World;
  readonly #device: WebGpuDevice | undefined;
  readonly #calls: DeviceCalls;
  readonly #brackets: Brackets;
  readonly #members: Members;
  readonly #pool: Pool;
  readonly #isAlive: (caller: Caller) => boolean;
  /** When the machine is being closed: until then launches may finish. */
  #closingMs = Number.POSITIVE_INFINITY;

  constructor(options: EngineOptions<Cpu>) {
    const { host, window, gpu, heap, isAlive = () => true } = options;
    this.launches = options.launches ?? new Int32Array(1);
    this.#world = buildWorld({ host, window });
    this.life = new Lifetime(this.scheduler);
    this.#isAlive = isAlive;
    this.#members = new Members(isAlive);
    this.space = new AddressSpace(this.#world.memory, { isIdentity: true });
    this.cpu = options.cpu(this.space);
    const device = gpu === undefined ? undefined : WebGpuDevice.attach(gpu, this.space);
    if (typeof device === "number") throw new Error(`a fresh space refused: ${device}`);
    this.#device = device;
    this.#calls = new DeviceCalls({
      device,
      launches: this.launches,
      isClosing: () => this.scheduler.nowMs >= this.#closingMs,
    });
    this.#brackets = new Brackets(this.space, this.cpu);
    this.#pool = new Pool(this.space, this.cpu, this.#brackets, heap);
    const reserved = this.scheduler.runTask("reserve the heap", this.#pool.reserve());
    if (reserved < 0) throw new Error(`the heap cannot be reserved: ${reserved}`);
  }

  get scheduler(): Scheduler {
    return this.#world.scheduler;
  }

  /** What is to be said when the engine fails and goes on no more. */
  lastWords(error: unknown): string {
    return lastWords(error, this.#world.tracer, this.space);
  }

  canServe(name: string): name is CallName {
    return Object.hasOwn(this.#handlers, name);
  }

  /** Answers a call, as a task. Throws ENODEV once the machine is being closed. */
  *serve<Name extends CallName>(
    name: Name,
    ask: Ask<Name>,
    context: CallContext,
  ): Sleeps<Answer<Name>> {
    if (ALWAYS.has(name)) return yield* this.#handlers[name](ask, context);
    this.life.enter(name);
    try {
      return yield* this.#handlers[name](ask, context);
    } catch (error) {
      throw withEvents(error, this.#world.tracer);
    } finally {
      this.life.leave();
    }
  }

  /** All that lives on the device comes home, once no call runs; none is taken any more. */
  retreat(): Sleeps<void> {
    this.life.to("retreating");
    return this.#retreat();
  }

  *#retreat(): Sleeps<void> {
    yield* this.life.idle();
    yield* this.#calls.bringHome(virtAddr(0), SPACE_BYTES, false);
    this.life.to("retreated");
  }

  /** After `close`: the GPU is given back. */
  destroy(): void {
    this.#device?.gpu.destroy();
  }

  /** Pages whose only copy is on the device: what is lost with it. */
  *pagesAway(): IterableIterator<number> {
    const { pageTable } = this.space;
    const device = this.#device;
    if (device === undefined) return;
    const end = vpn(SPACE_PAGES);
    for (let page = pageTable.nextUsed(vpn(0), end); page < end; ) {
      if (device.shadow.isHere(page)) yield page;
      page = pageTable.nextUsed(vpn(page + 1), end);
    }
  }

  readonly #handlers: Handlers = {
    mmap: (ask) => this.#mmap(ask),
    munmap: (ask) => this.#munmap(ask),
    mprotect: (ask) =>
      this.#change(ask, (start) => mprotect(this.space, start, ask.bytes, ask.flags)),
    discard: (ask) => this.#change(ask, (start) => forget(this.space, start, ask)),
    advise: (ask) => this.#advise(ask),
    access: (ask, { caller }) => this.#explained(ask, this.#access(ask, caller)),
    release: (ask) => this.#release(ask.bracket),
    fault: (ask) => this.#explained(ask, this.#fault(ask)),
    populate: (ask) => this.#explained(ask, this.#populate(ask)),
    home: (ask) => this.#home(ask),
    prefetch: (ask) => this.#explained(ask, this.#calls.prefetch(ask)),
    prepare: (ask) => this.#calls.prepare(ask),
    run: (ask, context) => this.#run(ask, context),
    report: () => this.#report(),
    check: () => this.#check(),
    dump: () => this.#dump(),
    join: (ask, { caller }) => this.#join(ask, caller),
    leave: (ask) => this.#leave(ask),
    close: () => this.#close(),
  };

  *#mmap(ask: Ask<"mmap">): Sleeps<Result> {
    const { address, flags, isLow = false } = ask;
    const bytes = Math.ceil(ask.bytes / PAGE_SIZE) * PAGE_SIZE;
    if (address === undefined) yield* this.#pool.makeRoom(bytes);
    const mode = address === undefined ? MapMode.anywhere : MapMode.noReplace;
    const at = address === undefined ? {} : { start: virtAddr(address) };
    const start = yield* mmap(this.space, { bytes, flags, isLow, mode, ...at });
    if (start >= 0) yield* leavePages(this.space, this.cpu, virtAddr(start), start + bytes);
    return start;
  }

  *#munmap(ask: ByteRange): Sleeps<Outcome> {
    const outcome = yield* this.#change(ask, (start) => munmap(this.space, start, ask.bytes));
    if (outcome.result >= 0) yield* this.#pool.giveBack(ask.start, ask.start + ask.bytes);
    return outcome;
  }

  /** What changes a mapping finds no bracket there. */
  *#change(range: ByteRange, change: (start: VirtAddr) => Sleeps<Result>): Sleeps<Outcome> {
    const end = Math.ceil((range.start + range.bytes) / PAGE_SIZE);
    this.#closeOfGone();
    const bracket = this.#brackets.find(vpnOf(virtAddr(range.start)), vpn(end));
    if (bracket !== undefined) return { result: -EBUSY, address: bracket.start * PAGE_SIZE };
    const result = yield* change(virtAddr(range.start));
    if (result >= 0) {
      yield* leavePages(this.space, this.cpu, virtAddr(range.start), end * PAGE_SIZE);
    }
    return withHole(this.space, result, range);
  }

  /** A bracket does not mind. */
  *#advise({ start, bytes, ...hints }: Ask<"advise">): Sleeps<Outcome> {
    const result = yield* adviseAccess(this.space, virtAddr(start), bytes, hints);
    return withHole(this.space, result, { start, bytes });
  }

  /** With the reason, where the program has no such right. */
  *#explained<Answer extends Outcome>(
    { write }: { readonly write: boolean },
    call: Sleeps<Answer>,
  ): Sleeps<Answer> {
    const answer = yield* call;
    if (answer.result !== -EFAULT || answer.address === undefined) return answer;
    const reason = whyNot(this.space, virtAddr(answer.address), write);
    return reason === undefined ? answer : { ...answer, reason };
  }

  *#access(ask: Ask<"access">, caller: Caller): Sleeps<Answer<"access">> {
    const { start, end } = pagesAround(ask);
    const failure = { address: start };
    const home = yield* this.#calls.bringHome(start, end, !ask.write);
    const bracket =
      home < 0 ? home : yield* this.#brackets.open({ start, end }, ask.write, failure, caller);
    if (typeof bracket !== "number") return { result: 0, bracket: bracket.id };
    return { result: bracket, address: failure.address, bracket: 0 };
  }

  *#release(id: number): Sleeps<void> {
    const bracket = this.#brackets.get(id);
    if (bracket === undefined) {
      throw hmmError({ code: "EINVAL", call: "close", detail: `no bracket ${id} is open` });
    }
    this.#brackets.close(bracket);
  }

  /** What threads have left that are gone: to be called now and then. */
  sweep(): void {
    this.#closeOfGone();
    this.#calls.endOrphans(this.#isAlive);
  }

  /** So much longer than otherwise a fault may wait, since launches were given that time. */
  get patienceMs(): number {
    return this.#calls.longestLimitMs;
  }

  /** Dawn compiles a kernel, and aborts when its thread ends meanwhile. */
  get isCompiling(): boolean {
    return this.#device?.gpu.isCompiling === true;
  }

  /** Nobody who is gone shall stand in anybody's way. */
  #closeOfGone(): void {
    if (this.#brackets.count > 0) this.#brackets.closeOfGone((owner) => !this.#isAlive(owner));
  }

  /** Until it may be touched: nobody runs between that look and the answer. */
  *#fault(ask: Ask<"fault">): Sleeps<Outcome> {
    for (let tries = 0; !this.#mayTouch(ask); tries++) {
      if (tries === FAULTS_MAX) return { result: -EBUSY, address: ask.start };
      const outcome = yield* this.#faultIn(ask);
      if (outcome.result < 0) return outcome;
    }
    return { result: 0 };
  }

  /** What the program may touch as it is stays as it is. */
  #mayTouch({ start, bytes, write }: Ask<"fault">): boolean {
    return this.cpu.mayTouch(virtAddr(start), bytes, write);
  }

  *#faultIn({ start, bytes, write }: Ask<"fault">): Sleeps<Outcome> {
    const range = {
      start: vpnOf(virtAddr(start)),
      end: vpn(Math.ceil((start + bytes) / PAGE_SIZE)),
    };
    this.space.catchUp(range.start, range.end);
    const failure = { address: virtAddr(start) };
    const result = yield* faultPages(this.space, range, write ? FAULT_WRITE : 0, failure);
    if (result < 0) return { result, address: failure.address };
    const installed = this.cpu.install(range.start, range.end);
    return installed < 0 ? { result: installed, address: start } : { result: 0 };
  }

  /** What somebody else takes meanwhile is not brought twice. */
  *#populate(ask: Ask<"populate">): Sleeps<Outcome> {
    const { start, end } = pagesAround(ask);
    const home = yield* this.#calls.bringHome(start, end, !ask.write);
    if (home < 0) return { result: home, address: start };
    return this.#mayTouch(ask) ? { result: 0 } : yield* this.#faultIn(ask);
  }

  #home(ask: Ask<"home">): Sleeps<Result> {
    const { start, end } = pagesAround(ask);
    return this.#calls.bringHome(start, end, true);
  }

  *#run(ask: Ask<"run">, context: CallContext): Sleeps<Answer<"run">> {
    this.#closeOfGone();
    return yield* this.#calls.run(ask, context);
  }

  *#report(): Sleeps<EngineReport> {
    const counters = this.#device?.counters;
    const { tracer } = this.#world;
    return {
      device: this.#device?.gpu.info,
      residentPages: this.#device?.memory.residentPages ?? 0,
      mappedPages: this.space.rssPages + (this.cpu.unknownPages ?? 0),
      pagesToDevice: counters?.pagesToDevice ?? 0,
      pagesHome: counters?.pagesHome ?? 0,
      cpuFaults: tracer.count("mm:fault"),
      invalidations: tracer.count("notifier:start"),
    };
  }

  *#check(): Sleeps<void> {
    const device = this.#device === undefined ? [] : [this.#device.shadow];
    checkWorld(this.#world.memory, { shadows: [this.cpu, ...device] });
  }

  *#dump(): Sleeps<string> {
    const unknown = this.cpu.unknownPages ?? 0;
    const rest = unknown === 0 ? "" : `\n${unknown} more in RAM, which the system gave unasked`;
    return dumpSpace(this.space) + rest;
  }

  /** The thread that calls uses the heap. */
  *#join({ id }: Ask<"join">, caller: Caller): Sleeps<Answer<"join">> {
    return this.#members.join(id, caller);
  }

  *#leave({ id, remains }: Ask<"leave">): Sleeps<void> {
    this.#members.leave(id, remains);
  }

  *#close(): Sleeps<number> {
    this.#closeOfGone();
    if (this.#brackets.count > 0) return this.#brackets.count;
    this.life.to("closing");
    this.#closingMs = this.scheduler.nowMs + CLOSING_MS;
    yield* this.life.idle();
    // One that was on its way may have opened meanwhile.
    if (this.#brackets.count > 0) {
      this.life.to("open");
      this.#closingMs = Number.POSITIVE_INFINITY;
      return this.#brackets.count;
    }
    const device = this.#device;
    if (device !== undefined) yield* device.waitForLaunches();
    this.life.to("dismantling");
    yield* mmput(this.space);
    if (device !== undefined) yield* device.close();
    this.life.to("closed");
    return 0;
  }
}

/** The whole pages that some bytes lie in. */
function pagesAround({ start, bytes }: ByteRange): { start: VirtAddr; end: VirtAddr } {
  return {
    start: virtAddr(start - (start % PAGE_SIZE)),
    end: virtAddr(Math.ceil((start + bytes) / PAGE_SIZE) * PAGE_SIZE),
  };
}
