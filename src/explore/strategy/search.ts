/** Choosers that are asked for one schedule after another. */
import type { Chooser, Point } from "../execution.ts";
import { NondeterminismError } from "../failure.ts";

export interface Search extends Chooser {
  /** Gets ready for the next schedule; false when there is none. */
  begin(): boolean;
  /** Distinct histories that were looked at, as far as they are counted; else 0. */
  readonly states: number;
  /** How much of everything lies behind, 0 to 1; `undefined` when there is no everything. */
  readonly share: number | undefined;
}

/** Who runs when nothing speaks against it: whoever ran last, else the lowest number. */
export function nextOf({ enabled, previous }: Point): number {
  return enabled.includes(previous) ? previous : enabled[0]!;
}

/** Other tasks can run at `point` than could when the same steps were taken before. */
export function notTheSame({ depth, enabled }: Point): NondeterminismError {
  return new NondeterminismError(
    `after the same ${depth} steps other tasks can run than before (now ${enabled.join(", ")}): ` +
      "a scenario must not use chance, clocks or state of its own (try --twice)",
  );
}
