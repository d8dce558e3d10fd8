/** Everything that a search gets to see, whether it fails or not. */
import { execute, type FailureKind, type Outcome, type Scenario } from "../../src/explore/index.ts";
import { Order } from "../../src/explore/order.ts";
import type { Search } from "../../src/explore/strategy/index.ts";

export interface AllRuns {
  /** What a schedule may come to, sorted: the failure, and what `endOf` says. */
  readonly ends: readonly string[];
  /** Distinct orders of the schedules that were followed to their end. */
  readonly orders: number;
  /** Schedules that were followed to their end. */
  readonly completed: number;
  readonly outcomes: readonly Outcome[];
  /** There was nothing left to run, or the last failure was found. */
  readonly isWhole: boolean;
}

export interface AllRunsOptions {
  readonly endOf?: () => string;
  /** Schedules. Default 20,000. */
  readonly max?: number;
  /** Nothing is looked at after such a failure. Default: none. */
  readonly last?: FailureKind;
}

/** Goes on after failures, unlike `explore`. */
export function allRuns(
  scenario: Scenario,
  search: Search,
  { endOf = () => "", max = 20_000, last }: AllRunsOptions = {},
): AllRuns {
  const ends = new Set<string>();
  const orders = new Set<number>();
  const outcomes: Outcome[] = [];
  let isWhole = false;
  for (let i = 0; i < max && !isWhole; i++) {
    if (!search.begin()) {
      isWhole = true;
      break;
    }
    const order = new Order();
    const outcome = execute(scenario, watched(search, order));
    if (outcome.isPruned) continue;
    outcomes.push(outcome);
    orders.add(order.state);
    ends.add(`${outcome.failure?.kind ?? "fine"} ${endOf()}`);
    isWhole = last !== undefined && outcome.failure?.kind === last;
  }
  const completed = outcomes.length;
  return { ends: [...ends].sort(), orders: orders.size, completed, outcomes, isWhole };
}

/** `search`, and `order` learns what happens. */
function watched(search: Search, order: Order): Search {
  return {
    states: 0,
    share: undefined,
    begin: () => search.begin(),
    get observed() {
      return search.observed;
    },
    choose(point) {
      if (point.isLater) order.barrier();
      return search.choose(point);
    },
    took(step, depth) {
      order.add(step);
      search.took?.(step, depth);
    },
    isNew: (depth) => search.isNew?.(depth) ?? true,
  };
}
