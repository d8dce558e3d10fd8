/**
 * What faces ask of an engine. Every question and every answer is a plain record, so that the
 * same engine serves the thread that it lives on and threads that it does not live on.
 */
import type { Result } from "../../base/index.ts";
import type { BracketOwner } from "../../cpu/index.ts";
import type {
  DeviceInfo,
  KernelSource,
  LaunchEnd,
  LaunchOutcome,
  LaunchProgress,
} from "../../driver/index.ts";
import type { HeapRemains } from "../heap/index.ts";
import type { Legacy } from "./members.ts";

/** A thread that calls, as a number that no other ever has. 0n: the engine's own. */
export type Caller = BracketOwner;

/** Whole pages, or bytes where a call says so. */
export interface ByteRange {
  readonly start: number;
  readonly bytes: number;
}

/** How a call ended: 0 or a negated errno, and where it failed, and why if that can be said. */
export interface Outcome {
  readonly result: Result;
  readonly address?: number;
  readonly reason?: string;
}

/** Counters and names; the numbers are since the machine was made. */
export interface EngineReport {
  readonly device: DeviceInfo | undefined;
  readonly residentPages: number;
  readonly mappedPages: number;
  readonly pagesToDevice: number;
  readonly pagesHome: number;
  readonly cpuFaults: number;
  readonly invalidations: number;
}

/** Memory that an argument points to, and whether more may be reached from there. */
interface GivenView extends ByteRange {
  readonly name: string;
  readonly leadsOn: boolean;
}

interface Call<Ask, Answer> {
  readonly ask: Ask;
  readonly answer: Answer;
}

interface Calls {
  /**
   * `flags`: VM_READ | VM_WRITE; `isLow`: the address may be below MMAP_MIN_ADDR. The answer is
   * an address or a negated errno.
   */
  readonly mmap: Call<
    {
      readonly bytes: number;
      readonly flags: number;
      readonly address?: number;
      readonly isLow?: boolean;
    },
    Result
  >;
  /**
   * -EBUSY with `address`: a bracket is open there. -ENOMEM with `address`: nothing is mapped
   * there. So do `mprotect` and `discard`.
   */
  readonly munmap: Call<ByteRange, Outcome>;
  readonly mprotect: Call<ByteRange & { readonly flags: number }, Outcome>;
  readonly discard: Call<ByteRange & { readonly isFreed?: boolean }, Outcome>;
  /** Hints for whole pages, bits of VM_HINTS. -ENOMEM with `address`: nothing is mapped there. */
  readonly advise: Call<ByteRange & { readonly set: number; readonly clear: number }, Outcome>;
  /** Opens a bracket over bytes; the number names it in `release`. */
  readonly access: Call<
    ByteRange & { readonly write: boolean },
    Outcome & { readonly bracket: number }
  >;
  readonly release: Call<{ readonly bracket: number }, void>;
  /** Makes bytes touchable, page by page, as an access to each would. */
  readonly fault: Call<ByteRange & { readonly write: boolean }, Outcome>;
  /** Brings bytes here in bulk and makes them touchable. */
  readonly populate: Call<ByteRange & { readonly write: boolean }, Outcome>;
  /**
   * Brings pages to the device before it asks. `since`: as the last piece's answer said, so that
   * one piece does not push out another. `pages`: how many came.
   */
  readonly prefetch: Call<
    ByteRange & { readonly write: boolean; readonly since?: number },
    Outcome & { readonly pages: number; readonly since: number }
  >;
  /** Brings pages that live on the device home: how many, or a negated errno. */
  readonly home: Call<ByteRange, Result>;
  /** Compiles a kernel. */
  readonly prepare: Call<
    { readonly kernel: number | KernelSource },
    LaunchEnd & { readonly kernel: number }
  >;
  /** A launch. The text of a kernel crosses once; the answer says what number it has. */
  readonly run: Call<
    {
      readonly kernel: number | KernelSource;
      /** Of what runs as a whole: invocations, or groups of them. */
      readonly count: number;
      readonly grid: readonly [x: number, y: number, z: number];
      readonly args: ArrayBuffer;
      /** Arguments that are memory, not only pointers to it. */
      readonly views: readonly GivenView[];
      /** Milliseconds. */
      readonly timeLimit?: number;
    },
    LaunchOutcome & { readonly kernel: number }
  >;
  readonly report: Call<undefined, EngineReport>;
  /** Throws an `AssertionError` when something does not add up. */
  readonly check: Call<undefined, void>;
  /** Where everything is, as text for people. */
  readonly dump: Call<undefined, string>;
  /** The thread that calls uses the heap as `id`: what those before it left is its. */
  readonly join: Call<{ readonly id: number }, Legacy>;
  readonly leave: Call<{ readonly id: number; readonly remains?: HeapRemains }, void>;
  /** Ends everything, or gives the number of brackets that are open and ends nothing. */
  readonly close: Call<undefined, number>;
}

export type CallName = keyof Calls;
export type Ask<Name extends CallName> = Calls[Name]["ask"];
export type Answer<Name extends CallName> = Calls[Name]["answer"];

/** What a call may say while it lasts, and hear. */
export interface CallContext {
  /** Who calls: what it has open ends with it. */
  readonly caller: Caller;
  isAborted(): boolean;
  progress?(progress: LaunchProgress): void;
}

export interface CallOptions {
  /** For launches: called after each round. Must not throw. */
  readonly onProgress?: (progress: LaunchProgress) => void;
  /** For launches: ends them after the round that runs. */
  readonly signal?: AbortSignal;
}

/** The way from a face to its engine. Both throw what the engine threw. */
export interface EnginePort {
  /** Who blocks in `callNow` does not block the engine: it may wait. */
  readonly canBlock: boolean;
  /** Launches that have begun: what was at home before may be on the device since. */
  readonly launches: number;
  /**
   * Throws ENODEV for `call` once the machine is closed, or this thread has left it: also for what
   * needs no answer of the engine.
   */
  check(call: string): void;
  call<Name extends CallName>(
    name: Name,
    ask: Ask<Name>,
    options?: CallOptions,
  ): Promise<Answer<Name>>;
  /**
   * The answer at once. Where the engine lives on this thread, a call that would have to wait is
   * undone and gives undefined.
   */
  callNow<Name extends CallName>(name: Name, ask: Ask<Name>): Answer<Name> | undefined;
  /** After `close` was answered with 0: no call is taken any more. */
  end(): Promise<void>;
}
