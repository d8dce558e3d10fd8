/** Any task that can run, with equal chance: as many schedules as are asked for. */
import { Random } from "../../sync/index.ts";
import type { Point } from "../execution.ts";
import type { Search } from "./search.ts";

export class RandomSearch implements Search {
  readonly states = 0;
  readonly share = undefined;
  readonly #seed: number;
  #random: Random;
  #runs = 0;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = new Random(seed);
  }

  begin(): boolean {
    this.#random = new Random(this.#seed + Math.imul(this.#runs++, 0x9e3779b1));
    return true;
  }

  choose({ enabled }: Point): number {
    return enabled[this.#random.below(enabled.length)]!;
  }
}
