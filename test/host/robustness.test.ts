/** Nothing hangs, nothing corrupts, and every end says why. */
import { beforeAll, describe, expect, it } from "vitest";
import { whyNotHost } from "../../src/machine/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";
import { runProgram } from "./child.ts";

const obstacle = whyNotHost()?.reason;
let noDevice: string | undefined;
beforeAll(async () => {
  noDevice = await whyNoDevice();
});

/** A worker that never stops touching memory that is taken away all the time. */
const RESTLESS = `
  const at = await space.mmap({ bytes: 256 * PAGE });
  const restless = () => thread(\`
    const words = space.u32;
    parentPort.postMessage("runs");
    for (let n = 0; ; n++) words[(workerData.at >>> 2) + 1024 * (n % 256)] = n;
  \`, { at });
  const runs = (worker) => new Promise((resolve) => worker.once("message", resolve));
  const takeAway = () => space.discardSync(at, 256 * PAGE);
`;

describe.skipIf(obstacle !== undefined)(`with page faults (${obstacle ?? "here"})`, () => {
  describe("an access that no program survives", () => {
    it.concurrent.each([
      ["space.u32[0x2000_0000 >>> 2];", /main thread read from 0x20000000: nothing is mapped/],
      ["space.u32[1];", /main thread read from 0x4: nothing is mapped/],
      [
        'const at = await space.mmap({ bytes: PAGE, rights: "r" }); space.u32[at >>> 2] = 1;',
        /main thread wrote to 0x10000000: 0x10000000\.\.0x10001000 is mapped read-only/,
      ],
      [
        'const at = await space.mmap({ bytes: PAGE, rights: "none" }); space.u32[at >>> 2];',
        /main thread read from 0x10000000: 0x10000000\.\.0x10001000 is mapped without rights/,
      ],
      [
        "thread('space.u8[0x3000_0001] = 1'); await new Promise(() => {});",
        /thread \d+ wrote to 0x30000001/,
      ],
    ])("ends the process with SIGSEGV and says where: %s", async (code, message) => {
      const ended = await runProgram(code);
      expect(ended).toMatchObject({ signal: "SIGSEGV", hung: false });
      expect(ended.stderr).toMatch(message);
    });

    it("is an error where it is asked for beforehand", async () => {
      const ended = await runProgram(`
        for (const address of [0, 0x2000_0000]) {
          const range = { start: address, bytes: 4 };
          await space.populate(range, "read").catch(({ code, address }) => console.log(code, address));
        }
        try { space.need(8, 4, false); } catch ({ code, address }) { console.log(code, address); }
        await machine.close();`);
      const stdout = `EFAULT 0\nEFAULT ${0x2000_0000}\nEFAULT 8\n`;
      expect(ended).toMatchObject({ code: 0, stdout, stderr: "" });
    });
  });

  it("workers may be terminated in the middle of a fault", async () => {
    const ended = await runProgram(`${RESTLESS}
      for (let round = 0; round < 12; round++) {
        const workers = [restless(), restless()];
        await Promise.all(workers.map(runs));
        for (let n = 0; n < 5 * round; n++) takeAway();
        await Promise.all(workers.map((worker) => worker.terminate()));
        machine.check();
      }
      for (let page = 0; page < 256; page++) space.u32[(at >>> 2) + 1024 * page] = page;
      machine.check();
      await machine.close();
      console.log("fine");`);
    expect(ended).toMatchObject({ code: 0, stdout: "fine\n", stderr: "", hung: false });
  });

  it("the process may end while others wait for faults", async () => {
    const ended = await runProgram(`${RESTLESS}
      const workers = [restless(), restless(), restless()];
      await Promise.all(workers.map(runs));
      for (let n = 0; n < 20; n++) takeAway();
      process.exit(7);`);
    expect(ended).toMatchObject({ code: 7, stderr: "", hung: false });
  });

  it("a program that ends without closing its machine just ends", async () => {
    const ended = await runProgram("console.log(space.array(u32, 10).at(3));");
    expect(ended).toMatchObject({ code: 0, stdout: "0\n", stderr: "", hung: false });
  });

  it("signals are handled and faults go on; without a handler the process ends", async () => {
    const handled = await runProgram(`${RESTLESS}
      let signals = 0;
      process.on("SIGUSR2", () => signals++);
      const workers = [restless(), restless()];
      await Promise.all(workers.map(runs));
      for (let n = 0; n < 50; n++) {
        process.kill(process.pid, "SIGUSR2");
        takeAway();
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await Promise.all(workers.map((worker) => worker.terminate()));
      machine.check();
      console.log(signals > 0);
      process.exit(0);`);
    expect(handled).toMatchObject({ code: 0, stdout: "true\n", stderr: "", hung: false });
    const killed = await runProgram(`${RESTLESS}
      await runs(restless());
      process.kill(process.pid, "SIGTERM");
      await new Promise(() => setInterval(() => {}, 1000));`);
    expect(killed).toMatchObject({ signal: "SIGTERM", hung: false });
  });

  it.for([
    ["says so", "big.prepare().catch(() => undefined); await sleep(300); process.exit(7);"],
    [
      "has nothing left to do",
      `const { code } = source;
       const run = "machine.kernel({ args: { at: ptr(u32) }, code: workerData.code }).runSync(1, { at: 0 });";
       const worker = thread(run, { code });
       await sleep(700);
       await worker.terminate();
       process.exitCode = 7;`,
    ],
  ])("a process that %s ends while a kernel compiles for seconds", async ([, end], context) => {
    if (noDevice !== undefined) return context.skip(noDevice);
    const ended = await runProgram(
      `const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
      const sourceOf = (loads) => ({ args: { at: ptr(u32) }, code:
        "fn main(i: u32) { var a = i; " + "a = load_u32(args.at + 4u * (a & 1023u)); ".repeat(loads) +
        "store_u32(args.at, a); }" });
      // As many as take so long here: more than who waits for the kernel thread has patience for.
      const begun = performance.now();
      await machine.kernel(sourceOf(32)).prepare();
      const source = sourceOf(Math.min(2000, Math.ceil(32 * 2800 / (performance.now() - begun))));
      const big = machine.kernel(source);
      ${end}`,
      {
        device: true,
        // Dawn looks for what is ready by these: now and then, or it might just be in time.
        first: `
          const { workerData } = require("node:worker_threads");
          const soon = setImmediate;
          if (workerData?.limitMs !== undefined) globalThis.setImmediate = (run, ...args) =>
            /native code/.test(run) ? setTimeout(run, 20, ...args) : soon(run, ...args);`,
      },
    );
    expect(ended).toMatchObject({ code: 7, stderr: "", hung: false });
  });

  it("a process that may not reserve 4 GiB is told so", async () => {
    const ended = await runProgram("", { under: ["prlimit", "--as=4000000000"] });
    expect(ended).toMatchObject({ code: 1, hung: false });
    expect(ended.stderr).toMatch(/create: 4 GiB of addresses cannot be reserved .*\(ENOMEM\)/);
  });

  it("child processes come and go while memory faults", async () => {
    const ended = await runProgram(`${RESTLESS}
      const { execFileSync, fork, spawnSync } = await import("node:child_process");
      const worker = restless();
      await runs(worker);
      for (let n = 0; n < 30; n++) {
        takeAway();
        space.u32[at >>> 2] = n;
        if (execFileSync("echo", [String(n)]).toString() !== n + "\\n") throw new Error("echo");
        if (spawnSync("true").status !== 0) throw new Error("true");
      }
      await worker.terminate();
      machine.check();
      await machine.close();
      console.log("fine");`);
    expect(ended).toMatchObject({ code: 0, stdout: "fine\n", stderr: "", hung: false });
  });

  it("machines that were closed leave no descriptor and no thread", async () => {
    const ended = await runProgram(`
      const { readdirSync, readlinkSync } = await import("node:fs");
      const count = (folder) => readdirSync("/proc/self/" + folder).length;
      await machine.close();
      const before = [count("fd"), count("task")];
      for (let n = 0; n < 6; n++) {
        const other = await Machine.create({ cpu: "host", device: "none" });
        other.space.u32[other.space.malloc(4) >>> 2] = n;
        await other.close();
      }
      const after = [count("fd"), count("task")];
      console.log(after[0] <= before[0], after[1] <= before[1] + 1, before, after);`);
    expect(ended).toMatchObject({ code: 0, stderr: "", hung: false });
    expect(ended.stdout).toMatch(/^true true /);
  });

  it("a machine that is closed refuses calls, and its memory reads as zeros", async () => {
    const ended = await runProgram(`
      const at = space.malloc(64);
      space.u32[at >>> 2] = 9;
      const { handle } = machine;
      await machine.close();
      console.log(space.u32[at >>> 2], await machine.close());
      for (const call of [() => space.mmapSync({ bytes: 1 }), () => Machine.attach(handle)]) {
        try { call(); } catch (error) { console.log(error.code, error.message); }
      }
      await space.mmap({ bytes: 1 }).catch((error) => console.log(error.code));`);
    expect(ended).toMatchObject({ code: 0, stderr: "", hung: false });
    expect(ended.stdout).toMatch(/^0 undefined\nENODEV mmap.*closed.*\nENODEV attach.*\nENODEV\n$/);
  });

  describe("when the kernel thread is gone", () => {
    const KERNEL = `
      const { default: channels } = await import("node:diagnostics_channel");
      const threads = [];
      channels.subscribe("worker_threads", ({ worker }) => threads.push(worker));
      const other = await Machine.create({ cpu: "host", LIMITS });
      const at = await other.space.mmap({ bytes: 64 * PAGE });
      const words = new Uint32Array(other.space.window, at, 64 * 1024).fill(5);
    `;

    it("who waits is told, and memory stays readable when nothing was elsewhere", async () => {
      const ended = await runProgram(`${KERNEL.replace("LIMITS", 'device: "none"')}
        other.space.mprotectSync(at, 64 * PAGE, "r");
        const ended = threads[0].terminate();
        console.log(words.every((word) => word === 5));   // faults that nobody serves at first
        words[0] = 6;
        console.log(words[0]);
        await ended;
        try { other.space.mmapSync({ bytes: 1 }); } catch (error) { console.log(error.code); }
        process.exit(0);`);
      expect(ended).toMatchObject({ code: 0, stdout: "true\n6\nENODEV\n", hung: false });
      expect(ended.stderr).toMatch(/kernel thread has ended without a word; memory stays readable/);
    });

    it("nobody goes on when pages may be lost with the device", async (context) => {
      if (noDevice !== undefined) return context.skip(noDevice);
      const ended = await runProgram(`${KERNEL.replace("LIMITS", "deviceMemory: 2 ** 22")}
        const kernel = other.kernel({ args: { at: ptr(u32) },
          code: "fn main(i: u32) { store_u32(args.at + 4u * i, i); }" });
        await kernel.prepare(); // Dawn aborts when its thread is ended while it compiles
        await kernel.run(64 * 1024, { at });
        threads[0].terminate();
        console.log(words[1]);
        process.exit(0);`);
      expect(ended).toMatchObject({ signal: "SIGBUS", stdout: "", hung: false });
      expect(ended.stderr).toMatch(/pages that were on the device are lost; the process ends/);
    });

    /** The kernel thread counts its turns by this: one of them breaks. */
    const BREAKS = `
      const { workerData } = require("node:worker_threads");
      const { add } = Atomics;
      if (workerData?.limitMs !== undefined) {
        Atomics.add = (...args) => {
          if (process.env.BREAK === "now") throw new Error("a planted failure");
          return add(...args);
        };
      }`;

    it("it says what broke it, and what is left", async () => {
      const ended = await runProgram(
        `const words = space.u32;
        const at = space.malloc(4096) >>> 2;
        words[at] = 5;
        process.env.BREAK = "now";
        for (const call of [() => space.mmap({ bytes: 1 }), () => space.mmapSync({ bytes: 1 })]) {
          try { await call(); } catch ({ code, message }) { console.log(code, message); }
        }
        console.log(words[at]);
        process.exit(0);`,
        { first: BREAKS },
      );
      expect(ended).toMatchObject({ code: 0, hung: false });
      expect(ended.stdout).toMatch(/^ENODEV mmap: .*planted failure[\s\S]*\nENODEV [\s\S]*\n5\n$/);
      expect(ended.stderr).toMatch(
        /^onespace: the kernel thread has failed; memory stays readable\n.*planted failure\n/,
      );
      // What happened last, and where memory is.
      expect(ended.stderr).toMatch(
        /\nthe last \d+ events.*\n( .*\n)* {2}\d+ {2}task \d+ {2}mm:(fault|mmap) .*\n( .*\n)*range .*\n0x.*\nall /,
      );
    });

    it("pages that only the device had can not be touched any more", async (context) => {
      if (noDevice !== undefined) return context.skip(noDevice);
      const ended = await runProgram(
        `const out = space.array(u32, 4096);
        const words = new Uint32Array(space.window, out.address, 4096);
        const fill = machine.kernel({ args: { at: ptr(u32) },
          code: "fn main(i: u32) { store_u32(args.at + 4u * i, i); }" });
        const other = (await space.mmap({ bytes: PAGE })) >>> 2;
        space.u32[other] = 8;
        await fill.run(2048, { at: out.address });
        process.env.BREAK = "now";
        await space.mmap({ bytes: 1 }).catch(({ code }) => console.log(code));
        console.log(space.u32[other]);
        words[0];
        console.log("not reached");`,
        { first: BREAKS, device: true },
      );
      expect(ended).toMatchObject({ signal: "SIGSEGV", stdout: "ENODEV\n8\n", hung: false });
      expect(ended.stderr).toMatch(
        /\d+ pages were on the device only: touching them ends the process/,
      );
    });
  });
});
