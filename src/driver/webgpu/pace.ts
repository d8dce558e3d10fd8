/**
 * How much one round of a launch may do. Nothing can stop a GPU that runs, and everybody waits
 * for the round that does: who aborts, who closes, a CPU that wants a page back. So each invocation
 * may make so many loop passes, none begins when so much work is done, and both limits follow the
 * measured time: they bound what one lane does and what all lanes do.
 *
 * A round begins with about as many as it can finish: one that does not begin is not for nothing
 * (a software adapter runs all code of a kernel once for it, without effect: 6 us of a ray tracer).
 * The first round of a kernel that nobody knows is small: whoever misses a page has to run again,
 * and a few thousand meet the pages that all need as well as a million.
 *
 * Short rounds are for those who wait: each ends with lanes that have nothing to do, and with
 * invocations that did not begin (a sixth of the ray tracer's time in rounds of 150 ms). So rounds
 * grow while nobody wants anything.
 *
 * All who run may get nowhere together: then fewer run. One alone that does not finish gets more
 * passes from round to round, until a round of it would be too long. It starts from its beginning
 * each time, so there is no other end for it than an error.
 */
import { assert } from "../../base/index.ts";
import { WORKGROUP_SIZE } from "./wgsl/index.ts";

export interface RoundLoad {
  /** Units of work after which no invocation begins. */
  readonly work: number;
  /** Loop passes of each invocation. */
  readonly passes: number;
}

/** How a launch begins. */
export interface LaunchLoad extends RoundLoad {
  /** Invocations of the first round at most. */
  readonly width: number;
}

/** For a kernel that nobody knows yet. */
export const FIRST_LOAD: LaunchLoad = { work: 1024, passes: 1024, width: 4096 };
/** Above it the shader's counters, which go on a little, could overflow. */
const LOAD_MAX = 2 ** 31;
/** What a round should take when others wait for it, in milliseconds; the first one, too. */
const AIM_MS = 150;
/** And when nobody does. */
const CALM_MS = 600;
/**
 * A round that has its share of invocations to do should not run out of work: a part of them takes
 * longer than others do, and those that do not begin are for nothing.
 */
const MARGIN = 1.5;
/** What a round of one invocation may take, if nobody says otherwise. */
export const ALONE_MS = 1500;
/** A round that took this part of what it may take was not cut short by a wrong guess. */
const ENOUGH = 0.8;
/** A round that should have taken this part of its time had too much to do. */
const TOO_LONG = 0.5;
/** A measurement of one round is not trusted further than this. */
const CHANGE_MAX = 8;

export interface RoundTaken {
  /** Invocations that ran, and of these those that finished. */
  readonly ran: number;
  readonly finished: number;
  /** So many did not begin because the work was done. */
  readonly unbegun: number;
  /** Some made more passes than they may. */
  readonly isLong: boolean;
  /** It had another effect: it found pages missing, or room. */
  readonly isUseful: boolean;
  /** Somebody waited for it to end. */
  readonly isAwaited: boolean;
  readonly milliseconds: number;
}

export interface PaceOptions {
  readonly load: LaunchLoad;
  readonly widthMax: number;
  /** What a round of one invocation may take, in milliseconds. */
  readonly aloneMs: number;
  /** What a round should take when nobody waits for it: not less than 150, no more than 600. */
  readonly calmMs: number;
}

export class Pace {
  readonly aloneMs: number;
  readonly #calmMs: number;
  #work: number;
  #passes: number;
  // The time of a round for which they were found.
  #passesMs = AIM_MS;
  // So many should begin in a round for it to take its time.
  #share: number;
  // So many do not get into each other's way.
  #width: number;
  #aimMs = AIM_MS;
  // Of all rounds.
  #finished = 0;
  #milliseconds = 0;
  // So many finished together when fewer had to; 0: nobody had to wait yet.
  #proven = 0;
  readonly #widthMax: number;

  constructor({ load, widthMax, aloneMs, calmMs }: PaceOptions) {
    this.aloneMs = aloneMs;
    this.#calmMs = Math.min(CALM_MS, calmMs);
    this.#work = load.work;
    this.#passes = load.passes;
    this.#share = load.width;
    this.#width = widthMax;
    this.#widthMax = widthMax;
  }

  /** What the next round may do. */
  get load(): RoundLoad {
    return { work: this.#work, passes: this.#passes };
  }

  /** What the first round of another launch may do. */
  get firstLoad(): LaunchLoad {
    const passes = changed(this.#passes, AIM_MS / this.#passesMs);
    // As much as it did on the whole: its last invocations may have been light ones.
    const width = changed(this.#share, this.#average / this.#share);
    return { work: this.#work, passes, width: Math.max(WORKGROUP_SIZE, width) };
  }

  /** Invocations that finish in the time of a round. */
  get #average(): number {
    return this.#finished === 0
      ? this.#share
      : (this.#finished / Math.max(1, this.#milliseconds)) * AIM_MS;
  }

  /** Invocations of the next round at most: a group of them begins with one unit of work. */
  get width(): number {
    return Math.min(this.#width, this.#share, this.#work * WORKGROUP_SIZE);
  }

  /** Those who ran get in each other's way: fewer run. False when it was one alone. */
  narrow(ran: number): boolean {
    const isKnown = this.#proven > 0 && this.#proven < ran;
    this.#width = isKnown ? this.#proven : Math.max(1, ran >>> 3);
    this.#proven = Math.min(this.#proven, this.#width);
    return ran > 1;
  }

  /** False when one invocation alone takes longer than any may. */
  finishRound(round: RoundTaken): boolean {
    const { ran, finished, unbegun, isLong, isUseful, isAwaited, milliseconds } = round;
    assert(ran > 0 && finished <= ran, "a round runs something");
    this.#finished += finished;
    this.#milliseconds += milliseconds;
    const isStuck = isLong && finished === 0 && !isUseful;
    if (isStuck && milliseconds > ENOUGH * this.#aimMs && !this.narrow(ran)) {
      if (this.#aimMs === this.aloneMs) return false;
      this.#aimMs = Math.min(this.aloneMs, 4 * this.#aimMs);
    }
    if (isStuck && ran === 1 && this.#passes === LOAD_MAX) return false;
    if (finished > 0) this.#aim(isAwaited);
    const factor = this.#aimMs / Math.max(1, milliseconds);
    // What was not too little may still have been too much.
    if (unbegun > 0 || factor < TOO_LONG) this.#work = changed(this.#work, MARGIN * factor);
    if (isLong) {
      this.#passes = changed(this.#passes, factor);
      this.#passesMs = this.#aimMs;
    }
    const isHeld = isLong || (isUseful && 2 * finished < ran);
    const share = changed(ran - unbegun, isHeld ? Math.min(1, factor) : factor);
    // A round of those who were left tells only that it was not too long.
    const isTelling = ran >= this.#share || unbegun > 0 || factor < TOO_LONG;
    if (isTelling) this.#share = Math.max(WORKGROUP_SIZE, share);
    else this.#share = Math.max(this.#share, share);
    // It is for those that turn out heavy: a group of light ones has done a unit of it.
    if (unbegun === 0) this.#work = Math.max(this.#work, Math.ceil(this.#share / WORKGROUP_SIZE));
    if (finished === ran) this.#widen(ran);
    return true;
  }

  /** What one that gets nowhere was given is not taken from it. */
  #aim(isAwaited: boolean): void {
    if (isAwaited) this.#aimMs = Math.min(this.#aimMs, AIM_MS);
    else this.#aimMs = Math.max(this.#aimMs, Math.min(2 * this.#aimMs, this.#calmMs));
  }

  /** All who ran have finished: more run, slowly where it is known that too many got nowhere. */
  #widen(ran: number): void {
    if (this.#width === this.#widthMax) return;
    const isNarrow = this.#proven > 0;
    this.#proven = Math.max(this.#proven, ran);
    const width = isNarrow ? this.#width + Math.max(1, this.#width >>> 3) : 2 * this.#width;
    this.#width = Math.min(this.#widthMax, width);
  }
}

function changed(load: number, factor: number): number {
  const change = Math.min(CHANGE_MAX, Math.max(1 / CHANGE_MAX, factor));
  return Math.min(LOAD_MAX, Math.max(1, Math.round(load * change)));
}
