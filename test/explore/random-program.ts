/** Small programs made up by chance: tasks that read, write, lock, sleep and wake each other. */
import type { Scenario } from "../../src/explore/index.ts";
import { Model } from "../../src/museum/index.ts";
import { Random, type Sleeps, type Strategy } from "../../src/sync/index.ts";

export interface ProgramShape {
  readonly seed: number;
  readonly tasks: number;
  readonly steps: number;
  readonly cells: number;
  /** A rule over two cells that some states may break. Default false. */
  readonly hasRule?: boolean;
}

const VERBS = [
  "read",
  "write",
  "add",
  "lock",
  "lock both",
  "wait",
  "wait for a while",
  "sleep",
  "wake",
] as const;
/** How often each verb is drawn: what may never end is rare, or all programs were deadlocks. */
const DRAWN = [0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 8].map((i) => VERBS[i]!);

interface Line {
  readonly verb: (typeof VERBS)[number];
  readonly cell: number;
  readonly lock: number;
  readonly value: number;
}

/** One world of a program. */
class Program extends Model {
  readonly cells;
  readonly locks;
  readonly sleepers = this.queue("sleepers");
  // task -> what it saw
  readonly logs: number[][] = [];

  constructor(strategy: Strategy, { seed, tasks, steps, cells, hasRule }: ProgramShape) {
    super(strategy);
    this.cells = Array.from({ length: cells }, (_, i) => this.cell(`c${i}`, 0));
    this.locks = [this.lock("lock 0"), this.lock("lock 1")] as const;
    const random = new Random(seed);
    for (let task = 0; task < tasks; task++) {
      const lines = Array.from({ length: steps }, () => lineOf(random, cells));
      const log: number[] = [];
      this.logs.push(log);
      this.task(`t${task}`, () => this.#body(lines, log));
    }
    if (hasRule) this.#addRule(random);
  }

  /** Cells and what each task has seen. */
  get state(): string {
    return JSON.stringify([this.cells.map((cell) => cell.value), this.logs]);
  }

  *#body(lines: readonly Line[], log: number[]): Sleeps<void> {
    for (const line of lines) yield* this.#do(line, log);
  }

  *#do({ verb, cell: number, lock, value }: Line, log: number[]): Sleeps<void> {
    const cell = this.cells[number]!;
    const isSet = (): boolean => cell.value > 0;
    switch (verb) {
      case "read":
        log.push(yield* this.step("reads", () => cell.value));
        break;
      case "write":
        yield* this.step("writes", () => this.#set(number, value));
        break;
      case "add":
        yield* this.step("adds", () => this.#set(number, cell.value * 3 + value));
        break;
      case "lock":
        yield* this.locks[lock]!.take();
        log.push(cell.value);
        this.locks[lock]!.give();
        break;
      case "lock both":
        yield* this.#lockBoth(lock, () => log.push(cell.value));
        break;
      case "wait":
        log.push(Number(yield* this.sleepers.until(isSet)));
        break;
      case "wait for a while":
        log.push(Number(yield* this.sleepers.until(isSet, { timeout: true })));
        break;
      case "sleep":
        yield* this.sleepers.sleepBlindly();
        break;
      case "wake":
        yield* this.step("wakes", () => {
          this.#set(number, value);
          this.sleepers.wakeAll();
        });
        break;
    }
  }

  *#lockBoth(first: number, act: () => void): Sleeps<void> {
    const [outer, inner] = [this.locks[first]!, this.locks[1 - first]!];
    yield* outer.take();
    yield* inner.take();
    act();
    inner.give();
    outer.give();
  }

  #set(cell: number, value: number): void {
    this.cells[cell]!.value = value;
  }

  /** "Never c0 = 1 and c1 = 2", with numbers that the program may reach. */
  #addRule(random: Random): void {
    const [a, b] = [this.cells[0]!, this.cells[1]!];
    const [x, y] = [random.below(4), random.below(4)];
    this.always("assertion", () =>
      a.value === x && b.value === y ? `c0 = ${x} and c1 = ${y}` : undefined,
    );
  }
}

function lineOf(random: Random, cells: number): Line {
  return {
    verb: DRAWN[random.below(DRAWN.length)]!,
    cell: random.below(cells),
    lock: random.below(2),
    value: 1 + random.below(3),
  };
}

export interface RandomProgram extends Scenario {
  /** What the last run came to, however it ended. */
  readonly state: string;
}

export function randomProgram(shape: ProgramShape): RandomProgram {
  let last: Program | undefined;
  return {
    name: `program ${shape.seed}`,
    about: "tasks made up by chance",
    get state() {
      return last?.state ?? "";
    },
    setUp(strategy) {
      last = new Program(strategy, shape);
      return last;
    },
  };
}
