import { describe, expect, it } from "vitest";
import type { Step } from "./execution.ts";
import { conflict, Order } from "./order.ts";

interface Touches {
  readonly reads?: readonly number[];
  readonly writes?: readonly number[];
  readonly woken?: readonly number[];
}

/** As the execution says it: every step writes its task's own place, a waker those of others. */
const step = (task: number, { reads = [], writes = [], woken = [] }: Touches = {}): Step => ({
  task,
  reads,
  writes: [-task, ...writes, ...woken.map((each) => -each)],
  woken,
});

const X = 100;
const Y = 200;

/** The order of `steps`, and the races that each of them completed. */
function orderOf(...steps: readonly Step[]) {
  const order = new Order();
  const races = steps.map((each) => order.add(each));
  return { order, races };
}

describe("conflict", () => {
  it("is that both touch a place and one writes it", () => {
    const read = (task: number) => step(task, { reads: [X] });
    const write = (task: number) => step(task, { writes: [X] });
    expect(conflict(write(1), write(2))).toBe(true);
    expect(conflict(read(1), write(2))).toBe(true);
    expect(conflict(write(1), read(2))).toBe(true);
    expect(conflict(read(1), read(2))).toBe(false);
    expect(conflict(write(1), step(2, { writes: [Y] }))).toBe(false);
  });

  it("is to wake somebody who runs", () => {
    expect(conflict(step(1, { woken: [2] }), step(2))).toBe(true);
  });
});

describe("an order", () => {
  it("has the steps of a task one after the other, and says no step comes before itself", () => {
    const { order, races } = orderOf(step(1), step(1), step(1));
    expect([order.precedes(0, 1), order.precedes(0, 2), order.precedes(1, 2)]).toEqual([
      true,
      true,
      true,
    ]);
    expect([order.precedes(1, 1), order.precedes(2, 0)]).toEqual([false, false]);
    expect(races).toEqual([[], [], []]);
  });

  it("leaves steps that touch nothing in common without an order", () => {
    const { order, races } = orderOf(step(1, { writes: [X] }), step(2, { writes: [Y] }));
    expect(order.precedes(0, 1)).toBe(false);
    expect(races[1]).toEqual([]);
  });

  it("has conflicting steps as they came, and they race", () => {
    const { order, races } = orderOf(step(1, { writes: [X] }), step(2, { reads: [X] }));
    expect(order.precedes(0, 1)).toBe(true);
    expect(races[1]).toEqual([0]);
  });

  it("has a write race with all reads since the last write, and reads with none", () => {
    const { order, races } = orderOf(
      step(1, { writes: [X] }),
      step(2, { reads: [X] }),
      step(3, { reads: [X] }),
      step(4, { writes: [X] }),
    );
    expect(races.map((each) => each.sort())).toEqual([[], [0], [0], [1, 2]]);
    expect([order.precedes(1, 2), order.precedes(1, 3), order.precedes(0, 3)]).toEqual([
      false,
      true,
      true,
    ]);
  });

  it("is transitive over tasks and places", () => {
    const { order, races } = orderOf(
      step(1, { writes: [X] }),
      step(2, { reads: [X] }),
      step(2, { writes: [Y] }),
      step(3, { reads: [Y] }),
    );
    expect(order.precedes(0, 3)).toBe(true);
    // What lies between two steps decided their order: only neighbours race.
    expect(races[3]).toEqual([2]);
  });

  it("has no race where something lies between", () => {
    const { races } = orderOf(
      step(1, { writes: [X] }),
      step(2, { writes: [X] }),
      step(2, { writes: [Y] }),
      step(1, { writes: [Y] }),
      step(2, { writes: [X] }),
    );
    expect(races).toEqual([[], [0], [], [2], []]);
  });

  it("has no race with what the task has come after already", () => {
    const { races } = orderOf(
      step(1, { writes: [X, Y] }),
      step(2, { reads: [X] }),
      step(2, { reads: [Y] }),
    );
    expect(races).toEqual([[], [0], []]);
  });

  it("has who was woken after the waker, and they do not race: it could not have run before", () => {
    const { order, races } = orderOf(step(1, { woken: [2] }), step(2));
    expect(order.precedes(0, 1)).toBe(true);
    expect(races[1]).toEqual([]);
  });

  it("has a wake-up of somebody who could run anyway race with his next step", () => {
    const wake = { ...step(1), writes: [-1, -2] };
    const { races } = orderOf(wake, step(2));
    expect(races[1]).toEqual([0]);
  });

  it("has everything before the clock moved before everything after it", () => {
    const order = new Order();
    order.add(step(1, { writes: [X] }));
    order.add(step(2, { writes: [Y] }));
    order.barrier();
    expect(order.add(step(3, { writes: [X] }))).toEqual([]);
    expect([order.precedes(0, 2), order.precedes(1, 2)]).toEqual([true, true]);
  });

  it("holds for more tasks than it has room for at first", () => {
    const tasks = Array.from({ length: 40 }, (_, i) => i + 1);
    const { order } = orderOf(...tasks.map((task) => step(task, { writes: [X] })));
    expect(order.precedes(0, 39)).toBe(true);
    expect(order.precedes(38, 39)).toBe(true);
  });
});

describe("the name of a history", () => {
  const nameOf = (...steps: readonly Step[]): number => orderOf(...steps).order.state;
  const a = step(1, { writes: [X] });
  const b = step(2, { writes: [X] });
  const c = step(3, { writes: [Y] });

  it("is the same for schedules that order conflicting steps alike", () => {
    const names = [nameOf(a, b, c), nameOf(a, c, b), nameOf(c, a, b)];
    expect(new Set(names).size).toBe(1);
  });

  it("is another for other orders, other steps, and another length", () => {
    const names = [
      nameOf(),
      nameOf(a),
      nameOf(b),
      nameOf(a, b),
      nameOf(b, a),
      nameOf(a, b, c),
      nameOf(b, a, c),
      nameOf(a, a),
      nameOf(c, c),
    ];
    expect(new Set(names).size).toBe(names.length);
  });

  it("is another when a reader came before or after a write", () => {
    const read = step(2, { reads: [X] });
    expect(nameOf(a, read)).not.toBe(nameOf(read, a));
  });

  it("is another when the clock moved in between", () => {
    const order = new Order();
    order.add(a);
    order.barrier();
    order.add(c);
    expect(order.state).not.toBe(nameOf(a, c));
  });

  it("hardly ever is the same by chance", () => {
    // All 8! orders of eight writers of one cell.
    const names = new Set<number>();
    let count = 0;
    const visit = (before: readonly number[]): void => {
      if (before.length === 8) {
        count++;
        names.add(nameOf(...before.map((task) => step(task, { writes: [X] }))));
        return;
      }
      for (let task = 1; task <= 8; task++) {
        if (!before.includes(task)) visit([...before, task]);
      }
    };
    visit([]);
    expect([count, names.size]).toEqual([40_320, 40_320]);
  });
});
