/** Any number of threads on one space: one heap, all calls, faults at the same time. */
import { beforeAll, describe, expect, it } from "vitest";
import { whyNotHost } from "../../src/machine/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";
import { runProgram } from "./child.ts";

const obstacle = whyNotHost()?.reason;
let noDevice: string | undefined;
beforeAll(async () => {
  noDevice = await whyNoDevice();
});

/** What a thread posts first, and that it has ended. */
const TALK = `
  const says = (worker) => new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  const ends = (worker) => worker.ended;
`;

describe.skipIf(obstacle !== undefined)(`threads of a machine (${obstacle ?? "here"})`, () => {
  it("add to the same words with Atomics while pages are taken away", async () => {
    const ended = await runProgram(`${TALK}
      const at = await space.mmap({ bytes: 64 * PAGE });
      const scratch = await space.mmap({ bytes: 64 * PAGE });
      const workers = Array.from({ length: 6 }, () => thread(\`
        const words = new Uint32Array(space.window, workerData.at, 64 * 1024);
        for (let n = 0; n < 20_000; n++) {
          Atomics.add(words, 1024 * (n % 64), 1);
          space.u32[(workerData.scratch >>> 2) + 1024 * (n % 64)] = n;
        }
        parentPort.postMessage("done");
        await machine.close();\`, { at, scratch }));
      const done = Promise.all(workers.map(says));
      let isDone = false;
      done.then(() => (isDone = true));
      while (!isDone) {
        // The counters keep their content: their rights come and go in a way that nobody notices.
        const held = await space.access({ start: at, bytes: 64 * PAGE }, "write");
        held.close();
        await space.discard(scratch, 64 * PAGE);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await Promise.all(workers.map(ends));
      const sums = Array.from({ length: 64 }, (_, page) => space.u32[(at >>> 2) + 1024 * page]);
      machine.check();
      console.log(sums.reduce((a, b) => a + b));
      await machine.close();`);
    expect(ended).toMatchObject({ code: 0, stdout: `${6 * 20_000}\n`, stderr: "", hung: false });
  });

  it("count with Atomics what a kernel counts as well, and no count is lost", async (context) => {
    if (noDevice !== undefined) return context.skip(noDevice);
    const ended = await runProgram(
      `${TALK}
      const at = await space.mmap({ bytes: 16 * PAGE });
      const kernel = machine.kernel({ args: { at: ptr(u32) }, code: \`fn main(i: u32) {
        atomicAdd_u32(args.at + 4096u * (i % 16u), 1u);
        atomicAdd_u32(args.at + 4096u * ((i / 16u) % 16u) + 4u, 1u);
      }\` });
      const workers = Array.from({ length: 4 }, () => thread(\`
        const words = new Uint32Array(space.window, workerData.at, 16 * 1024);
        for (let n = 0; n < 8000; n++) Atomics.add(words, 1024 * (n % 16) + (n & 1), 1);
        parentPort.postMessage("done");
        await machine.close();\`, { at }));
      const done = Promise.all(workers.map(says));
      for (let launch = 0; launch < 10; launch++) await kernel.run(4096, { at });
      await done;
      await Promise.all(workers.map(ends));
      let sum = 0;
      for (let page = 0; page < 16; page++) {
        sum += space.u32[(at >>> 2) + 1024 * page] + space.u32[(at >>> 2) + 1024 * page + 1];
      }
      machine.check();
      console.log(sum);
      await machine.close();`,
      { device: true, limitMs: 60_000 },
    );
    const sum = 4 * 8000 + 10 * 2 * 4096;
    expect(ended).toMatchObject({ code: 0, stdout: `${sum}\n`, stderr: "", hung: false });
  });

  it("wake each other with Atomics.wait and notify on memory of the space", async () => {
    const ended = await runProgram(`${TALK}
      const at = space.malloc(4096, 4096);
      space.i32[at >>> 2] = 0;
      const worker = thread(\`
        parentPort.postMessage(Atomics.wait(space.i32, workerData.at >>> 2, 0));
        await machine.close();\`, { at });
      const said = says(worker);
      while (Atomics.notify(space.i32, at >>> 2) === 0) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      console.log(await said);
      await ends(worker);
      await machine.close();`);
    expect(ended).toMatchObject({ code: 0, stdout: "ok\n", stderr: "", hung: false });
  });

  it("share one heap: what one allocates another frees, also after it has ended", async () => {
    const ended = await runProgram(`${TALK}
      const all = [];
      for (let round = 0; round < 4; round++) {
        const workers = Array.from({ length: 3 }, (_, number) => thread(\`
          const blocks = [];
          for (let n = 0; n < 500; n++) {
            const block = space.malloc(16 + 40 * (n % 90), 16);
            space.u32[block >>> 2] = workerData.number * 1000 + n;
            blocks.push(block);
          }
          for (const block of workerData.old) space.free(block);
          parentPort.postMessage(blocks);
          await machine.close();\`, { number, old: all.splice(0, 200) }));
        const blocks = (await Promise.all(workers.map(says))).flat();
        await Promise.all(workers.map(ends));
        blocks.forEach((block, i) => {
          if (space.u32[block >>> 2] !== i % 500 + 1000 * Math.floor(i / 500)) throw new Error("overlap");
        });
        all.push(...blocks);
      }
      console.log(new Set(all).size === all.length, all.length > 4000);
      for (const block of all) space.free(block);
      await machine.close();`);
    expect(ended).toMatchObject({ code: 0, stdout: "true true\n", stderr: "", hung: false });
  });

  it("end without a word when the machine was closed before", async () => {
    const ended = await runProgram(`${TALK}
      const worker = thread(\`
        space.malloc(10);
        parentPort.postMessage("ready");
        parentPort.once("message", () => parentPort.unref());\`);
      await says(worker);
      worker.on("error", (error) => console.log(error.message));
      await machine.close();
      worker.postMessage("go");
      console.log(await ends(worker));`);
    expect(ended).toMatchObject({ code: 0, stdout: "0\n", stderr: "", hung: false });
  });

  it("make every call, with and without waiting for it", async (context) => {
    if (noDevice !== undefined) return context.skip(noDevice);
    const ended = await runProgram(
      `${TALK}
      const workers = Array.from({ length: 4 }, (_, number) => thread(\`
        const { number } = workerData;
        const at = space.mmapSync({ bytes: 4 * 4096 });
        const words = new Uint32Array(space.window, at, 4096).fill(number);
        const kernel = machine.kernel({ args: { at: ptr(u32) },
          code: "fn main(i: u32) { let a = args.at + 4u * i; store_u32(a, load_u32(a) + 10u); }" });
        kernel.runSync(4096, { at });
        await kernel.run(4096, { at });
        space.mprotectSync(at, 4096, "r");
        const held = space.accessSync({ start: at, bytes: 64 }, "read");
        const right = words.every((word) => word === number + 20) && held.u32[3] === number + 20;
        held.close();
        await space.mprotect(at, 4096, "rw");
        space.populateSync({ start: at, bytes: 4096 }, "write");
        await space.discard(at, 4096);
        const isZero = words[0] === 0 && words[1024] === number + 20;
        space.munmapSync(at, 4 * 4096);
        const refused = await space.populate({ start: at, bytes: 4 }, "read").catch((e) => e.code);
        parentPort.postMessage([right, isZero, refused, machine.report.cpu.backend].join());
        await machine.close();\`, { number }));
      const said = await Promise.all(workers.map(says));
      await Promise.all(workers.map(ends));
      machine.check();
      console.log(new Set(said).size, said[0]);
      await machine.close();`,
      { device: true },
    );
    const stdout = "1 true,true,EFAULT,host\n";
    expect(ended).toMatchObject({ code: 0, stdout, stderr: "", hung: false });
  });

  it("hear of progress and can abort a launch from any thread", async (context) => {
    if (noDevice !== undefined) return context.skip(noDevice);
    const ended = await runProgram(
      `${TALK}
      const at = await space.mmap({ bytes: 4 * 2 ** 20 });
      const worker = thread(\`
        const kernel = machine.kernel({ name: "slow", args: { at: ptr(u32) },
          code: "fn main(i: u32) { store_u32(args.at + 4u * i, i); }" });
        const abort = new AbortController();
        let rounds = 0;
        const onProgress = (progress) => { rounds = progress.rounds; abort.abort(); };
        const { at } = workerData;
        const error = await kernel.run(2 ** 20, { at }, { signal: abort.signal, onProgress })
          .catch((error) => error);
        parentPort.postMessage([error.code, error.kernel, rounds > 0].join());
        await machine.close();\`, { at });
      console.log(await says(worker));
      await ends(worker);
      machine.check();
      await machine.close();`,
      { device: true },
    );
    expect(ended).toMatchObject({ code: 0, stdout: "EINTR,slow,true\n", stderr: "", hung: false });
  });

  it("stop an endless kernel: by abort, by its time limit, and by the end of the machine", async (context) => {
    if (noDevice !== undefined) return context.skip(noDevice);
    const ended = await runProgram(
      `${TALK}
      const at = await space.mmap({ bytes: PAGE });
      const endless = machine.kernel({ name: "endless", args: { at: ptr(u32) },
        code: "fn main(i: u32) { while (true) { } store_u32(args.at, 1u); }" });
      const said = ({ code, message }) => [code, message.includes("closed")].join();
      const abort = new AbortController();
      let abortedMs = 0;
      const onProgress = () => {
        if (abortedMs > 0) return;
        abortedMs = performance.now();
        abort.abort();
      };
      const { signal } = abort;
      console.log(await endless.run(1000, { at }, { signal, onProgress }).catch(said));
      const tookMs = performance.now() - abortedMs;
      const cause = new Error("enough");
      const thrown = endless.run(1, { at }, { onProgress() { throw cause; } });
      console.log(await thrown.catch((error) => error.cause === cause));
      try { endless.runSync(1, { at }, { timeLimit: 200 }); } catch (error) { console.log(said(error)); }
      console.log(space.u32[at >>> 2], tookMs < 4000 || tookMs);
      machine.check();
      const last = endless.run(1, { at }).catch(said);
      await machine.close();
      console.log(await last);`,
      { device: true },
    );
    const stdout = "EINTR,false\ntrue\nETIMEDOUT,false\n0 true\nEINTR,true\n";
    expect(ended).toMatchObject({ code: 0, stdout, stderr: "", hung: false });
  });

  it("leave no launch behind when they end: neither one that runs nor one that waits", async (context) => {
    if (noDevice !== undefined) return context.skip(noDevice);
    const ended = await runProgram(
      `${TALK}
      const at = await space.mmap({ bytes: PAGE });
      const endless = () => thread(\`
        const kernel = machine.kernel({ args: { at: ptr(u32) },
          code: "fn main(i: u32) { while (true) { } store_u32(args.at, 1u); }" });
        const onProgress = () => parentPort.postMessage("runs");
        kernel.run(64, { at: workerData.at }, { timeLimit: 600_000, onProgress });
        parentPort.postMessage("waits");\`, { at });
      const said = (worker, word) => new Promise((resolve) =>
        worker.on("message", (message) => message === word && resolve()));
      const bump = machine.kernel({ args: { at: ptr(u32) },
        code: "fn main(i: u32) { store_u32(args.at, load_u32(args.at) + 1u); }" });
      await bump.run(1, { at });
      const first = endless();
      await said(first, "runs");
      const second = endless();
      await said(second, "waits");
      const begun = performance.now();
      const mine = bump.run(1, { at });
      await Promise.all([first.terminate(), second.terminate()]);
      await mine;
      const tookMs = performance.now() - begun;
      console.log(space.u32[at >>> 2], tookMs < 8000 || tookMs);
      machine.check();
      await machine.close();`,
      { device: true, limitMs: 30_000 },
    );
    expect(ended).toMatchObject({ code: 0, stdout: "2 true\n", stderr: "", hung: false });
  });

  it("give back what they held, also to a launch that waits for it already", async (context) => {
    if (noDevice !== undefined) return context.skip(noDevice);
    const ended = await runProgram(
      `${TALK}
      const at = await space.mmap({ bytes: PAGE });
      const bump = machine.kernel({ args: { at: ptr(u32) },
        code: "fn main(i: u32) { store_u32(args.at, load_u32(args.at) + 1u); }" });
      await bump.prepare();
      const worker = thread(\`
        space.accessSync({ start: workerData.at, bytes: 4 }, "write").u32[0] = 7;
        parentPort.postMessage("holds");
        setInterval(() => {}, 1000);\`, { at });
      await says(worker);
      const waiting = bump.run(1, { at });
      await new Promise((resolve) => setTimeout(resolve, 300));
      await worker.terminate();
      await waiting;
      console.log(space.u32[at >>> 2]);
      machine.check();
      await machine.close();`,
      {
        device: true,
        // The second for which a launch waits takes four on the kernel thread.
        first: `
          const { workerData } = require("node:worker_threads");
          const now = performance.now.bind(performance);
          if (workerData?.limitMs !== undefined) performance.now = () => now() / 4;`,
      },
    );
    expect(ended).toMatchObject({ code: 0, stdout: "8\n", stderr: "", hung: false });
  });
});
