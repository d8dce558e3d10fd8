/** Threads that allocate and threads that map take from one pool at once: nobody gets what another has. */
import { describe, expect, it } from "vitest";
import { whyNotHost } from "../../src/machine/index.ts";
import { runProgram } from "./child.ts";

const obstacle = whyNotHost()?.reason;

/**
 * Each thread stamps the first, a middle and the last word of what it gets, and looks for its
 * stamps before it gives it back. What it got has no stamp of another.
 */
const STAMPS = `
  const words = space.u32;
  const places = ({ at, bytes }) => [at, at + (bytes >>> 13) * 4096, at + bytes - 4];
  const stamp = (one, value) => { for (const place of places(one)) words[place >>> 2] = value; };
  const expectStamps = (one, value) => {
    for (const place of places(one)) {
      if (words[place >>> 2] !== value) throw new Error(\`\${place}: \${words[place >>> 2]}, not \${value}\`);
    }
  };
  let state = seed;
  const random = (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const live = [];
  let [done, refused] = [0, 0];
  for (let step = 1; step <= 400; step++) {
    if (live.length > 0 && random(2) === 0) {
      const [one] = live.splice(random(live.length), 1);
      expectStamps(one, one.value);
      give(one);
      continue;
    }
    const bytes = 4096 * (1 + random(2 ** random(17)));
    let at;
    try { at = take(bytes); } catch (error) {
      if (error.code !== "ENOMEM") throw error;
      refused++;
      continue;
    }
    const one = { at, bytes, value: (seed << 16) | step };
    stamp(one, one.value);
    live.push(one);
    done++;
  }
  for (const one of live) { expectStamps(one, one.value); give(one); }
`;
const ALLOCATES = `
  const seed = workerData.seed;
  const take = (bytes) => space.malloc(bytes);
  const give = ({ at }) => space.free(at);
  ${STAMPS}
  await machine.close();
  parentPort.postMessage({ done, refused });
`;
const MAPS = `
  const seed = workerData.seed;
  const take = (bytes) => space.mmapSync({ bytes });
  const give = ({ at, bytes }) => space.munmapSync(at, bytes);
  ${STAMPS}
  await machine.close();
  parentPort.postMessage({ done, refused });
`;

describe.skipIf(obstacle !== undefined)(`one pool with threads (${obstacle ?? "here"})`, () => {
  it("gives no thread what another has", async () => {
    const ended = await runProgram(`
      const all = space.heapUsage.bytesFree;
      const workers = [1, 2, 3, 4].map((seed) =>
        thread(seed % 2 ? ${JSON.stringify(ALLOCATES)} : ${JSON.stringify(MAPS)}, { seed }));
      const told = await Promise.all(workers.map((worker) => new Promise((resolve, reject) => {
        worker.once("message", resolve);
        worker.once("error", reject);
      })));
      await Promise.all(workers.map((worker) => worker.ended));
      machine.check();
      console.log(told.every(({ done }) => done > 50), all - space.heapUsage.bytesFree);
      await machine.close();`);
    expect(ended).toMatchObject({ stdout: "true 0\n", stderr: "", code: 0, hung: false });
  });

  it("lets mappings have what a thread that was killed in the middle did not take", async () => {
    const ended = await runProgram(`
      for (let round = 1; round <= 12; round++) {
        const worker = thread(${JSON.stringify(ALLOCATES)}, { seed: 2 * round + 1 });
        await new Promise((resolve) => setTimeout(resolve, 40 + 15 * round));
        await worker.terminate();
        const at = await space.mmap({ bytes: 2 ** 30 });
        space.u32[at >>> 2] = 1;
        if (space.u32[(at + 2 ** 30 - 4) >>> 2] !== 0) throw new Error("not zero");
        await space.munmap(at, 2 ** 30);
      }
      machine.check();
      console.log("right");
      await machine.close();`);
    expect(ended).toMatchObject({ stdout: "right\n", stderr: "", code: 0, hung: false });
  });
});
