/** Small programs made up by chance: tasks that read, write, lock, sleep and wake each other. */
import type { Scenario } from "../../src/explore/index.ts";
import { Model } from "../../src/explore/museum/model.ts";
import { Random, type Sleeps } from "../../src/sync/index.ts";

export interface ProgramShape {
  readonly seed: number;
  readonly tasks: number;
  readonly steps: number;
  readonly cells: number;
}

/** A program without a bug but possible deadlocks; `onEnd` gets what its cells hold. */
export function randomProgram(shape: ProgramShape, onEnd: (state: string) => void): Scenario {
  return {
    name: `program ${shape.seed}`,
    about: "tasks made up by chance",
    setUp(strategy) {
      const model = new Model(strategy);
      const random = new Random(shape.seed);
      const cells = Array.from({ length: shape.cells }, (_, i) => model.cell(`c${i}`, 0));
      const lock = model.lock("lock");
      const queue = model.queue("queue");
      const logs: number[][] = [];
      for (let t = 0; t < shape.tasks; t++) {
        const verbs = Array.from({ length: shape.steps }, () => ({
          verb: random.below(6),
          cell: cells[random.below(cells.length)]!,
        }));
        const log: number[] = [];
        logs.push(log);
        model.task(`t${t}`, function* (): Sleeps<void> {
          for (const [i, { verb, cell }] of verbs.entries()) {
            if (verb === 0) log.push(yield* model.step("reads", () => cell.value));
            else if (verb === 1) {
              yield* model.step("writes", () => {
                cell.value = t * 100 + i;
              });
            } else if (verb === 2) {
              yield* model.step("adds", () => {
                cell.value = cell.value * 3 + t + 1;
              });
            } else if (verb === 3) {
              yield* lock.take();
              log.push(cell.value);
              lock.give();
            } else if (verb === 4) {
              log.push(Number(yield* queue.until(() => cell.value > 0, { timeout: true })));
            } else {
              yield* model.step("wakes", () => {
                cell.value++;
                queue.wakeAll();
              });
            }
          }
        });
      }
      model.finally("assertion", () => {
        onEnd(JSON.stringify([cells.map((cell) => cell.value), logs]));
        return undefined;
      });
      return model;
    },
  };
}
