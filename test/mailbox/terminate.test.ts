/** Threads that are terminated anywhere, while others go on. */
import { describe, expect, it } from "vitest";
import { expectAllFree } from "./stage.ts";
import { type Inside, KOFFI, startKernel, startThread } from "./threads.ts";

const SECONDS = 4;
/** Where the machine is busy it takes longer to have so many. */
const TERMINATED_MIN = 30;

interface CallerData {
  readonly shared: SharedArrayBuffer;
  readonly seed: number;
  /** Word 0: not 0 when it is time to stop. */
  readonly control: Int32Array;
}

/** Calls of all kinds and sizes until it is told to stop, or terminated; each answer is checked. */
async function callerProgram({ door, data, say }: Inside<CallerData>): Promise<void> {
  const { shared, seed, control } = data;
  const client = new door.MailboxClient(shared);
  let count = 0;
  const check = (answer: unknown, expected: unknown): void => {
    count++;
    if (JSON.stringify(answer) === JSON.stringify(expected)) return;
    throw new Error(`${JSON.stringify(answer)} is not ${JSON.stringify(expected)}`);
  };
  say("calling");
  for (let i = 0; Atomics.load(control, 0) === 0; i++) {
    const value = { seed, i, text: "t".repeat((i * 37) % 500) };
    if (i % 2 === 0) check(client.callNow({ name: "echo", value }), value);
    else {
      const calls = [value, i, [seed]].map(async (each) =>
        check(await client.call({ name: "echo", value: each }), each),
      );
      if (i % 5 === 0) client.post({ name: "note", value: seed });
      await Promise.all(calls);
    }
  }
  say(count);
}

describe.each([
  ["and many slots", { slots: 128, partBytes: 64 }, {}],
  ["and slots that are always short", { slots: 4, partBytes: 64 }, {}],
  ["and a real doorbell", { slots: 8, partBytes: 128 }, { koffi: KOFFI }],
])("threads that are terminated at any moment, %s", (_, options, data) => {
  it("hang nobody, change nobody's answers, and leave slots that can be freed", async () => {
    const { shared, memory, client, hear } = await startKernel(options, data);
    const control = new Int32Array(new SharedArrayBuffer(4));
    let seed = 0;
    const start = () => startThread(callerProgram, { shared, control, seed: seed++ });
    const survivors = [start(), start()];
    for (const survivor of survivors) expect(await survivor.hear()).toBe("calling");
    const end = performance.now() + SECONDS * 1000;
    let terminated = 0;
    const victims = async (): Promise<void> => {
      while (performance.now() < end || terminated < TERMINATED_MIN) {
        const { worker, hear } = start();
        expect(await hear()).toBe("calling");
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
        await worker.terminate();
        terminated++;
      }
    };
    await Promise.all([victims(), victims(), victims()]);
    Atomics.store(control, 0, 1);
    for (const survivor of survivors) expect(await survivor.hear()).toBeGreaterThan(100);
    client.callNow({ name: "reap" });
    // The last threads may still be on their way out of the system.
    for (let i = 0; i < 10; i++) await client.call({ name: "reap" });
    expectAllFree(memory);
    client.callNow({ name: "close" });
    expect(await hear()).toBe(true);
  });
});
