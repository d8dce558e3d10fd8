/** Many threads, one kernel thread. */
import { describe, expect, it, vi } from "vitest";
import { HmmError } from "../../src/machine/error.ts";
import { HeaderWord } from "../../src/machine/host/mailbox/memory.ts";
import { expectAllFree } from "./stage.ts";
import { type Inside, KOFFI, type Order, startKernel, startThread } from "./threads.ts";

const SIZES = [0, 1, 16_000, 16_384, 16_400, 100_000, 5 * 2 ** 20];

describe.each([
  ["a word of shared memory", {}],
  ["a poll of an eventfd", { koffi: KOFFI }],
])("a kernel thread that sleeps on %s", (_, data) => {
  it("answers calls that block and calls that are promises, of any size both ways", async () => {
    const { client, memory } = await startKernel({}, data);
    for (const count of SIZES) {
      const value = new Uint8Array(count).map((_, i) => i * 7);
      const order: Order = { name: "echo", value };
      expect(Buffer.compare(client.callNow<Uint8Array>(order), value)).toBe(0);
      expect(Buffer.compare(await client.call<Uint8Array>(order), value)).toBe(0);
      const bytes = await client.call<Uint8Array>({ name: "bytes", count } satisfies Order);
      expect(Buffer.compare(bytes, value)).toBe(0);
    }
    expect(() => client.callNow({ name: "fail" })).toThrow(new RangeError("as told"));
    expectAllFree(memory);
  });

  it("loses no ring, however calls and sleeps meet", async () => {
    const { client, hear } = await startKernel({}, data);
    for (let i = 0; i < 3000; i++) {
      const start = performance.now();
      expect(client.callNow({ name: "echo", value: i })).toBe(i);
      expect(performance.now() - start).toBeLessThan(20_000);
      // Now and then long enough for it to fall asleep, or to be about to.
      for (let pause = (i % 50) * 20; pause > 0; pause--) Atomics.load(new Int32Array(1), 0);
    }
    client.callNow({ name: "close" });
    expect(await hear()).toBe(true);
  });

  it("is woken by a ring of its own", async () => {
    const { client } = await startKernel({}, data);
    await vi.waitFor(() => {
      const before = client.beats;
      client.ring();
      return vi.waitFor(() => expect(client.beats).toBeGreaterThan(before), { timeout: 300 });
    });
  });
});

interface CallerData {
  readonly shared: SharedArrayBuffer;
  readonly seed: number;
  readonly count: number;
}

/** Calls of all kinds, each answer checked; says how many were right. */
async function callerProgram({ door, data, say }: Inside<CallerData>): Promise<void> {
  const { shared, seed, count } = data;
  const client = new door.MailboxClient(shared);
  let right = 0;
  const check = (answer: unknown, expected: unknown): void => {
    if (JSON.stringify(answer) === JSON.stringify(expected)) right++;
    else throw new Error(`${JSON.stringify(answer)} is not ${JSON.stringify(expected)}`);
  };
  const pending: Promise<void>[] = [];
  for (let i = 0; i < count; i++) {
    const value = { seed, i, text: "t".repeat(i % 97 === 0 ? 3000 : i % 7) };
    if (i % 3 === 0) check(client.callNow({ name: "echo", value }), value);
    else pending.push(client.call({ name: "echo", value }).then((answer) => check(answer, value)));
    if (pending.length >= 1 + (i % 23)) await Promise.all(pending.splice(0));
  }
  await Promise.all(pending);
  say(right);
}

describe("eight threads", () => {
  it("make 5,000 calls each, that block or not, and every answer is its own", async () => {
    const { shared, memory, client } = await startKernel({ partBytes: 1024 });
    const callers = Array.from({ length: 8 }, (_, seed) =>
      startThread(callerProgram, { shared, seed, count: 5000 }),
    );
    for (const { hear } of callers) expect(await hear()).toBe(5000);
    expect(client.callNow({ name: "reap" })).toBe(0);
    expectAllFree(memory);
  });

  it("share two slots", async () => {
    const { shared, memory } = await startKernel({ slots: 2, partBytes: 1024 });
    const callers = Array.from({ length: 8 }, (_, seed) =>
      startThread(callerProgram, { shared, seed, count: 500 }),
    );
    for (const { hear } of callers) expect(await hear()).toBe(500);
    expectAllFree(memory);
  });
});

describe("a thread whose promises hold all the slots that they may", () => {
  it("can still block in a call", async () => {
    const { client, memory } = await startKernel({ slots: 8 });
    const calls = Array.from({ length: 30 }, () => client.call({ name: "hold" }));
    expect(client.callNow({ name: "held" })).toBe(7);
    let isOver = false;
    const all = Promise.all(calls).finally(() => {
      isOver = true;
    });
    while (!isOver) {
      client.callNow({ name: "release" });
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await all).toEqual(new Array(30).fill("released"));
    expectAllFree(memory);
  });
});

/** Posts, and ends at once. */
function posterProgram({ door, data }: Inside<{ shared: SharedArrayBuffer; value: number }>): void {
  new door.MailboxClient(data.shared).post({ name: "note", value: data.value });
  process.exit();
}

describe("posts of threads that end at once", () => {
  it("are served, and their slots are free again", async () => {
    const { shared, client, memory } = await startKernel();
    const values = Array.from({ length: 40 }, (_, i) => i);
    const threads = values.map((value) => startThread(posterProgram, { shared, value }));
    for (const { hear } of threads) await expect(hear()).rejects.toThrow("ended with 0");
    await vi.waitFor(() => {
      client.callNow({ name: "reap" });
      expect(client.callNow<number[]>({ name: "notes" }).sort((a, b) => a - b)).toEqual(values);
      expectAllFree(memory);
    });
  });
});

describe("progress and abort", () => {
  it("cross threads while the call is served", async () => {
    const { client } = await startKernel();
    const seen: number[] = [];
    const onProgress = ([at, minus]: Float64Array): void => {
      expect(minus).toBe(-at!);
      seen.push(at!);
    };
    const counted = client.call({ name: "count", steps: 200_000 }, { onProgress });
    expect(await counted).toBe("counted");
    expect(seen.length).toBeGreaterThan(1);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(200_000);
    const abort = new AbortController();
    const options = { onProgress: () => abort.abort(), signal: abort.signal };
    expect(await client.call({ name: "count", steps: 1e9 }, options)).toBe("aborted");
  });
});

interface BlockedData {
  readonly shared: SharedArrayBuffer;
  readonly order: Order;
}

/** One call that blocks; says how it ended and how long that took. */
function blockedProgram({ door, data, say }: Inside<BlockedData>): void {
  const client = new door.MailboxClient(data.shared);
  say("calling");
  const start = performance.now();
  try {
    say([client.callNow(data.order), performance.now() - start]);
  } catch (error) {
    say([String(error), performance.now() - start]);
  }
}

describe("callers that are blocked", () => {
  /** Two slots: the first caller is served, the second is not yet, the third has no slot. */
  const setUp = async () => {
    const kernel = await startKernel({ slots: 2 });
    const { shared, client, memory } = kernel;
    const threads = ["hold", "hold", "hold"].map((name) =>
      startThread(blockedProgram, { shared, order: { name } as Order }),
    );
    for (const { hear } of threads) await hear();
    const waiters = (): number => Atomics.load(memory.words, HeaderWord.waiters);
    await vi.waitFor(() => expect(waiters()).toBe(1));
    const outcomes = async (): Promise<string[]> => {
      const heard = (await Promise.all(threads.map(({ hear }) => hear()))) as [string, number][];
      return heard.map(([outcome]) => outcome).sort();
    };
    return { ...kernel, client, outcomes };
  };

  it("are told that the kernel thread died", async () => {
    const { client, outcomes, memory } = await setUp();
    const start = performance.now();
    client.die("it burns");
    expect(await outcomes()).toEqual(new Array(3).fill("HmmError: hold: it burns (ENODEV)"));
    expect(performance.now() - start).toBeLessThan(900);
    expectAllFree(memory);
    expect(() => client.callNow({ name: "late" })).toThrow(/late: it burns/);
  });

  it("notice by themselves that the kernel thread is gone", async () => {
    const { worker, outcomes, memory } = await setUp();
    await worker.terminate();
    const told = "HmmError: hold: the kernel thread has ended (ENODEV)";
    expect(await outcomes()).toEqual(new Array(3).fill(told));
    expectAllFree(memory);
  });

  it("notice it on the main thread too, whose event loop stands still", async () => {
    const { client } = await startKernel();
    const start = performance.now();
    // The kernel thread throws, and the main thread sees no event of it while it is blocked.
    expect(() => client.callNow({ name: "crash" })).toThrow(HmmError);
    expect(performance.now() - start).toBeLessThan(5000);
    expect(client.closedBecause).toBe("the kernel thread has ended");
  });

  it("get their answers, or ENODEV, when it closes", async () => {
    const { shared, client, hear, memory } = await startKernel();
    const held = startThread(blockedProgram, { shared, order: { name: "hold" } });
    await held.hear();
    await vi.waitFor(() => expect(client.callNow({ name: "held" })).toBe(1));
    const promise = client.call({ name: "close" });
    expect(await held.hear()).toEqual(["before the end", expect.any(Number)]);
    expect(await promise).toBeUndefined();
    expect(await hear()).toBe(true);
    await expect(client.call({ name: "late" })).rejects.toThrow("late: closed by the test");
    expectAllFree(memory);
  });
});
