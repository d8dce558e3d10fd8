/** Shows an exhibit to the explorer: the bug must be found, the fixed versions must be clean. */
import { type Exploration, explore } from "../explore/index.ts";
import { type Exhibit, scenarioOf, type Version } from "./exhibit.ts";

/** Schedules after which a version counts as too big to be explored to its end. */
const SCHEDULES_MAX = 2_000_000;

export interface Visit {
  readonly id: string;
  /** The explorer found what the exhibit shows (nothing, for a refuted one). */
  readonly isFound: boolean;
  /** All fixed versions were explored to the end and are clean. */
  readonly isClean: boolean;
  readonly isRefuted: boolean;
  readonly buggy: Exploration;
  readonly fixed: readonly Exploration[];
}

export function visit(exhibit: Exhibit): Visit {
  const look = (version: Version): Exploration =>
    explore(scenarioOf(exhibit, version), { strategy: "dpor" }, { schedulesMax: SCHEDULES_MAX });
  const buggy = look(exhibit.buggy);
  const fixed = exhibit.fixed.map(look);
  const isRefuted = exhibit.refuted !== undefined;
  const { failure } = buggy.failure ?? {};
  const isAsSaid = failure?.kind === exhibit.kind && exhibit.says.test(failure.message);
  return {
    id: exhibit.id,
    isFound: isRefuted ? buggy.isExhaustive : isAsSaid,
    isClean: fixed.length > 0 && fixed.every((each) => each.isExhaustive),
    isRefuted,
    buggy,
    fixed,
  };
}
