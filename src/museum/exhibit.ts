/** One bug of the catalogue: the protocol that has it, and protocols that do not. */

import type { FailureKind, Scenario } from "../explore/index.ts";
import type { Strategy } from "../sync/index.ts";
import { Model } from "./model/index.ts";

/** A protocol as it was, is, or should be. */
export interface Version {
  /** Where it was: "HMM range API, before …", "Linux 6.12", "here". */
  readonly name: string;
  /** Fills a model with cells, tasks and rules. */
  readonly build: (model: Model) => void;
}

export interface Exhibit {
  /** As in docs/museum.md: B-01. */
  readonly id: string;
  /** What goes wrong, one line. */
  readonly title: string;
  /** Where the bug was, who named it, what became of it: one or two sentences. */
  readonly story: string;
  /** How it shows. */
  readonly kind: FailureKind;
  /** Said by the failure, so that another bug of the model is not taken for this one. */
  readonly says: RegExp;
  readonly buggy: Version;
  /** Explored to the end, without a failure. At least one. */
  readonly fixed: readonly Version[];
  /**
   * The catalogue calls it a bug and the explorer finds nothing: why. Then `buggy` is explored
   * exhaustively and must be clean.
   */
  readonly refuted?: string;
}

/** A scenario of one version. */
export function scenarioOf(exhibit: Exhibit, version: Version): Scenario {
  return {
    name: `${exhibit.id}: ${version.name}`,
    about: exhibit.title,
    stepsMax: 500,
    setUp(strategy: Strategy): Model {
      const model = new Model(strategy);
      version.build(model);
      return model;
    },
  };
}
