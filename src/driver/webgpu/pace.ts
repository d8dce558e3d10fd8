/**
 * How much one round of a launch may do. Nothing can stop a GPU that runs, and everybody waits
 * for the round that does: who aborts, who closes, a CPU that wants a page back. So the work of a
 * round is limited, by units that the shader counts, and the limit follows the measured time.
 *
 * Work is shared by all who run, so some may get nowhere together: then fewer run. One alone that
 * does not finish gets more work from round to round, until a round of it would be too long. It
 * starts from its beginning each time, so there is no other end for it than an error.
 */
import { assert } from "../../base/index.ts";

/** Work of the first round of a kernel that nobody knows yet. */
export const WORK_MIN = 1024;
/** Above it the shader's counter, which goes on a little, could overflow. */
const WORK_MAX = 2 ** 31;
/** Invocations that begin with one unit of work. */
const INVOCATIONS_A_UNIT = 64;
/** What a round should take, in milliseconds. */
const AIM_MS = 150;
/** What a round of one invocation may take, if nobody says otherwise. */
export const ALONE_MS = 1500;
/** A round that took this part of what it may take was not cut short by a wrong guess. */
const ENOUGH = 0.8;
/** A measurement of one round is not trusted further than this. */
const CHANGE_MAX = 8;

export interface RoundTaken {
  /** Invocations that ran, and of these those that finished. */
  readonly ran: number;
  readonly finished: number;
  /** It ended because its work was spent. */
  readonly isSpent: boolean;
  /** It had another effect: it found pages missing, or room. */
  readonly isUseful: boolean;
  readonly milliseconds: number;
}

export interface PaceOptions {
  /** Units of work of the first round. */
  readonly work: number;
  readonly widthMax: number;
  /** What a round of one invocation may take, in milliseconds. */
  readonly aloneMs: number;
}

export class Pace {
  readonly aloneMs: number;
  #work: number;
  #width: number;
  #aimMs = AIM_MS;
  // So many finished together when fewer had to; 0: nobody had to wait yet.
  #proven = 0;
  readonly #widthMax: number;

  constructor({ work, widthMax, aloneMs }: PaceOptions) {
    this.aloneMs = aloneMs;
    this.#work = work;
    this.#width = widthMax;
    this.#widthMax = widthMax;
  }

  /** Units of work of the next round. */
  get work(): number {
    return this.#work;
  }

  /** Invocations of the next round at most. */
  get width(): number {
    return Math.min(this.#width, this.#work * INVOCATIONS_A_UNIT);
  }

  /** Those who ran got in each other's way: fewer run. False when it was one alone. */
  narrow(ran: number): boolean {
    const isKnown = this.#proven > 0 && this.#proven < ran;
    this.#width = isKnown ? this.#proven : Math.max(1, ran >>> 3);
    this.#proven = Math.min(this.#proven, this.#width);
    return ran > 1;
  }

  /** False when one invocation alone takes longer than any may. */
  finishRound(round: RoundTaken): boolean {
    const { ran, finished, isSpent, isUseful, milliseconds } = round;
    assert(ran > 0 && finished <= ran, "a round runs something");
    if (!isSpent) {
      if (milliseconds > 2 * this.#aimMs) this.#change(this.#aimMs / milliseconds);
      if (finished === ran) this.#widen(ran);
      return true;
    }
    if (finished === 0 && !isUseful && !this.narrow(ran)) {
      if (this.#work === WORK_MAX) return false;
      if (milliseconds > ENOUGH * this.#aimMs) {
        if (this.#aimMs === this.aloneMs) return false;
        this.#aimMs = Math.min(this.aloneMs, 4 * this.#aimMs);
      }
    }
    this.#change(this.#aimMs / Math.max(1, milliseconds));
    return true;
  }

  /** All who ran have finished: more run, slowly where it is known that too many got nowhere. */
  #widen(ran: number): void {
    if (this.#width === this.#widthMax) return;
    const isNarrow = this.#proven > 0;
    this.#proven = Math.max(this.#proven, ran);
    const width = isNarrow ? this.#width + Math.max(1, this.#width >>> 3) : 2 * this.#width;
    this.#width = Math.min(this.#widthMax, width);
  }

  #change(factor: number): void {
    const change = Math.min(CHANGE_MAX, Math.max(1 / CHANGE_MAX, factor));
    this.#work = Math.min(WORK_MAX, Math.max(1, Math.round(this.#work * change)));
  }
}
