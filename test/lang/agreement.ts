/**
 * Runs one kernel in three ways over the same arrays: its function called as it is over plain
 * typed arrays, `runHere`, and on the device if there is one.
 */
import {
  type ArgsSchema,
  f32,
  i32,
  type KernelFunction,
  Machine,
  ptr,
  type ScalarSchema,
  u32,
} from "../../src/machine/index.ts";

type Words = Uint32Array | Int32Array | Float32Array;

/** What a function does, in words that every way understands. */
export interface Trial {
  readonly code: (i: number, args: never, toolkit: never) => void;
  /** Arguments: a typed array is a pointer, a number `count` of the kernel is a u32. */
  readonly args: Readonly<Record<string, Words | number>>;
  readonly count: number;
  readonly uses?: Readonly<Record<string, unknown>>;
  /** Of the toolkit, what plain JavaScript is given of its own. */
  readonly tools?: Readonly<Record<string, unknown>>;
}

type Arrays = Readonly<Record<string, readonly number[]>>;

const elementOf = (words: Words): ScalarSchema => {
  if (words instanceof Uint32Array) return u32;
  return words instanceof Int32Array ? i32 : f32;
};

const TOOLKIT = { u32, i32, f32, NULL: 0 };

export class Trials {
  readonly #machine: Machine;
  readonly hasDevice: boolean;

  private constructor(machine: Machine, hasDevice: boolean) {
    this.#machine = machine;
    this.hasDevice = hasDevice;
  }

  static async open(device: "none" | "auto" = "auto"): Promise<Trials> {
    const options = { cpu: "scoped", deviceMemory: 2 ** 20 } as const;
    try {
      return new Trials(await Machine.create({ ...options, device }), device !== "none");
    } catch {
      return new Trials(await Machine.create({ ...options, device: "none" }), false);
    }
  }

  /** The arrays after the function has been called for every index, as JavaScript. */
  plain({ code, args, count, uses, tools }: Trial): Arrays {
    const copies = Object.fromEntries(
      Object.entries(args).map(([name, each]) => [
        name,
        typeof each === "number" ? each : each.slice(),
      ]),
    );
    const call = code as unknown as (i: number, args: object, toolkit: object) => void;
    for (let i = 0; i < count; i++) call(i, copies, { ...TOOLKIT, ...uses, ...tools });
    return listed(copies);
  }

  here(trial: Trial): Arrays {
    const { kernel, values, read } = this.#made(trial);
    kernel.runHere(trial.count, values);
    return read();
  }

  async there(trial: Trial): Promise<Arrays> {
    const { kernel, values, read, home } = this.#made(trial);
    await kernel.run(trial.count, values);
    await home();
    return read();
  }

  /** The text for the device. */
  wgsl(trial: Trial): string {
    return this.#made(trial).kernel.wgsl;
  }

  close(): Promise<void> {
    return this.#machine.close();
  }

  #made({ code, args, uses = {} }: Trial) {
    const { space } = this.#machine;
    const views = new Map(
      Object.entries(args).flatMap(([name, words]) => {
        if (typeof words === "number") return [];
        const view = space.array(elementOf(words), words.length);
        view.copyFrom(words);
        return [[name, view] as const];
      }),
    );
    const schema: ArgsSchema = Object.fromEntries(
      Object.entries(args).map(([name, each]) => [
        name,
        typeof each === "number" ? u32 : ptr(elementOf(each)),
      ]),
    );
    const main = code as unknown as KernelFunction<ArgsSchema>;
    const kernel = this.#machine.kernel(schema, main, { uses });
    const values = Object.fromEntries(
      Object.entries(args).map(([name, each]) => [name, views.get(name) ?? (each as number)]),
    );
    return {
      kernel,
      values,
      home: async () => {
        for (const view of views.values()) await space.populate(view, "read");
      },
      read: (): Arrays => {
        const result = listed(Object.fromEntries([...views].map(([k, v]) => [k, v.toArray()])));
        for (const view of views.values()) space.free(view.address);
        return result;
      },
    };
  }
}

function listed(values: Readonly<Record<string, ArrayLike<number> | number>>): Arrays {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, each]) =>
      typeof each === "number" ? [] : [[name, Array.from(each)]],
    ),
  );
}
