/** Ends that come at the wrong moment: of a thread, of the machine, of the process. */
import { beforeAll, describe, expect, it } from "vitest";
import { whyNotHost } from "../../src/machine/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";
import { runProgram } from "./child.ts";

const obstacle = whyNotHost()?.reason;
let noDevice: string | undefined;
beforeAll(async () => {
  noDevice = await whyNoDevice();
});

const COMMON = `
  const fs = await import("node:fs");
  const heard = (worker) => new Promise((resolve) => worker.once("message", resolve));
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const said = ({ code }) => console.log(code);
`;

/** 4 MiB of numbers that only the device has, once `counted` has resolved. */
const ON_DEVICE = `${COMMON}
  const at = await space.mmap({ bytes: 512 * PAGE });
  const count = machine.kernel({ args: { at: ptr(u32) },
    code: "fn main(i: u32) { let p = args.at + 4096u * (i % 512u); store_u32(p, load_u32(p) + 1u); }" });
  const counted = count.run(512, { at });
`;

describe.skipIf(obstacle !== undefined)(`with page faults (${obstacle ?? "here"})`, () => {
  describe("a thread that uses the machine of another", () => {
    it("may end, or leave, after the machine is closed", async () => {
      const ended = await runProgram(`${COMMON}
        const workers = ["", "await machine.close();"].map((last) => thread(\`
          parentPort.postMessage("runs");
          parentPort.once("message", async () => { \${last} });\`));
        const ends = workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve)));
        await Promise.all(workers.map(heard));
        await machine.close();
        for (const worker of workers) worker.postMessage("end");
        console.log(await Promise.all(ends));`);
      expect(ended).toMatchObject({ code: 0, stdout: "[ 0, 0 ]\n", stderr: "", hung: false });
    });

    it("may be the thread that made it, which then ends without closing anything", async () => {
      const ended = await runProgram("for (let n = 0; n < 3; n++) Machine.attach(machine.handle);");
      expect(ended).toMatchObject({ code: 0, stderr: "", hung: false });
    });

    it("leaves no bracket open, however it ends", async () => {
      const ended = await runProgram(`${COMMON}
        const at = await space.mmap({ bytes: 8 * PAGE });
        const open = (page) => thread(\`
          const start = workerData.at + workerData.page * PAGE;
          space.accessSync({ start, bytes: 4 }, "write");
          parentPort.postMessage("holds");
          setInterval(() => {}, 1000);\`.replaceAll("PAGE", PAGE), { at, page });
        const workers = [open(0), open(1), open(2)];
        await Promise.all(workers.map(heard));
        const mine = space.accessSync({ start: at + 3 * PAGE, bytes: 4 }, "read");
        await space.discard(at, PAGE).catch(said);
        await workers[0].terminate();
        await space.discard(at, PAGE);
        await space.discard(at + PAGE, PAGE).catch(said);
        await space.discard(at + 3 * PAGE, PAGE).catch(said);
        mine.close();
        await workers[1].terminate();
        await machine.close().catch(said);
        await workers[2].terminate();
        machine.check();
        await machine.close();`);
      const stdout = "EBUSY\nEBUSY\nEBUSY\nEBUSY\n";
      expect(ended).toMatchObject({ code: 0, stdout, stderr: "", hung: false });
    });
  });

  describe("while the process ends", () => {
    it("its threads may have only just begun", async () => {
      const programs = Array.from({ length: 12 }, () => runProgram("console.log('fine');"));
      for (const ended of await Promise.all(programs)) {
        expect(ended).toMatchObject({ code: 0, stdout: "fine\n", stderr: "", hung: false });
      }
    });

    it("memory keeps its bytes, for handlers and for threads that still run", async () => {
      const ended = await runProgram(`${COMMON}
        const at = await space.mmap({ bytes: 64 * PAGE });
        const words = new Uint32Array(space.window, at, 64 * 1024).fill(5);
        process.on("exit", () => {
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
          console.log(words.every((word) => word === 5));
        });
        const worker = thread(\`
          const fs = await import("node:fs");
          const words = new Uint32Array(space.window, workerData.at, 64 * 1024);
          parentPort.postMessage("runs");
          for (;;) if (words[1024] !== 5) fs.writeSync(1, "lost");\`, { at });
        await heard(worker);
        process.exit(3);`);
      expect(ended).toMatchObject({ code: 3, stdout: "true\n", stderr: "", hung: false });
    });

    it("what was on the device is there, too", async (context) => {
      if (noDevice !== undefined) return context.skip(noDevice);
      const ended = await runProgram(
        `${ON_DEVICE}
        await counted;
        process.on("exit", () => {
          let sum = 0;
          for (let page = 0; page < 512; page++) sum += space.u32[(at + page * PAGE) >>> 2];
          console.log(sum);
        });
        process.exit(3);`,
        { device: true },
      );
      expect(ended).toMatchObject({ code: 3, stdout: "512\n", stderr: "", hung: false });
    });

    it("launches may run and threads may wait for the device", async (context) => {
      if (noDevice !== undefined) return context.skip(noDevice);
      const ended = await runProgram(
        `${ON_DEVICE}
        const worker = thread(\`
          parentPort.postMessage("runs");
          for (let n = 0; ; n++) space.u32[(workerData.at >>> 2) + 1024 * (n * 7 % 512)] = n;\`, { at });
        await Promise.all([counted, heard(worker)]);
        for (let n = 0; n < 4; n++) count.run(512 * 200, { at });
        await sleep(50);
        process.exit(3);`,
        { device: true },
      );
      expect(ended).toMatchObject({ code: 3, stderr: "", hung: false });
    });
  });

  it("a worker makes no machine with page faults: its threads would end with it", async () => {
    const ended = await runProgram(`${COMMON}
      const worker = thread(\`
        const own = await Machine.create({ device: "none" });
        const why = own.report.cpu;
        await own.close();
        const code = await Machine.create({ cpu: "host" }).catch(({ code }) => code);
        parentPort.postMessage([why.backend, why.why, code].join());
        await machine.close();\`);
      console.log(await heard(worker));
      await worker.ended;
      await machine.close();`);
    const stdout = expect.stringMatching(
      /^scoped,access brackets, because this is a worker,.*,EOPNOTSUPP\n$/,
    );
    expect(ended).toMatchObject({ code: 0, stdout, stderr: "", hung: false });
  });

  it("a machine that is being closed finishes what it has begun and begins nothing", async (context) => {
    if (noDevice !== undefined) return context.skip(noDevice);
    const ended = await runProgram(
      `${ON_DEVICE}
      await counted;
      const begun = count.run(512 * 50, { at });
      const closed = machine.close();
      const late = [count.run(1, { at }), space.mmap({ bytes: 1 }),
        space.access({ start: at, bytes: 4 }, "read"), space.populate({ start: at, bytes: 4 }, "read")];
      for (const each of late) await each.then(() => console.log("began"), said);
      console.log((await begun).invocations, await closed);`,
      { device: true },
    );
    const stdout = `${"ENODEV\n".repeat(4)}${512 * 50} undefined\n`;
    expect(ended).toMatchObject({ code: 0, stdout, stderr: "", hung: false });
  });

  it("a kernel thread that runs out of memory is an error of calls, not of the process", async () => {
    const ended = await runProgram(
      `${COMMON}
      process.env.BREAK = "now";
      await space.mmap({ bytes: 1 }).catch(said);
      await sleep(1500);
      process.exit(0);`,
      {
        under: ["env", "NODE_OPTIONS=--max-old-space-size=100"],
        first: `
          const { workerData } = require("node:worker_threads");
          const { add } = Atomics;
          if (workerData?.limitMs !== undefined && workerData.mappings === undefined) {
            Atomics.add = (...args) => {
              if (process.env.BREAK !== "now") return add(...args);
              // Small objects: with large ones Node 24 and 26 end the process, any worker's.
              for (const keep = []; ; ) keep.push({ a: 1, b: [1, 2, 3] });
            };
          }`,
      },
    );
    expect(ended).toMatchObject({ code: 0, stdout: "ENODEV\n", hung: false });
  });

  it("programs that are text on the command line have machines, too", async () => {
    const door = new URL("../../dist/machine/index.js", import.meta.url).href;
    const text = `import { Machine } from "${door}";
      await (await Machine.create({ cpu: "host", device: "none" })).close();
      console.log("fine");`;
    const ended = await runProgram(`
      const { execFileSync } = await import("node:child_process");
      const args = ["--input-type=module", "--eval", ${JSON.stringify(text)}];
      console.log(execFileSync(process.execPath, args).toString());
      await machine.close();`);
    expect(ended).toMatchObject({ code: 0, stdout: "fine\n\n", stderr: "", hung: false });
  });

  it.for([
    { seconds: 60, run: "" },
    // What the launch was given, and a minute.
    { seconds: 660, run: "count.run(512, { at }, { timeLimit: 600_000 });" },
  ])("a fault that no device answers ends the process: $seconds s", async (how, context) => {
    if (noDevice !== undefined) return context.skip(noDevice);
    const ended = await runProgram(
      `${ON_DEVICE}
      await counted;
      process.env.BREAK = "now";
      ${how.run}
      space.u32[at >>> 2];`,
      {
        device: true,
        // On the kernel thread time flies then, and no promise is kept.
        first: `
          const { workerData } = require("node:worker_threads");
          if (workerData?.limitMs !== undefined && workerData.mappings === undefined) {
            const now = performance.now.bind(performance);
            performance.now = () => now() * (process.env.BREAK === "now" ? 400 : 1);
            const { then } = Promise.prototype;
            Promise.prototype.then = function (done, failed) {
              const stuck = process.env.BREAK === "now" && this.constructor === Promise;
              return then.call(this, stuck ? undefined : done, failed);
            };
          }`,
      },
    );
    expect(ended).toMatchObject({ signal: "SIGBUS", hung: false });
    const said = /a page fault has waited for (\d+) s: .*ends with SIGBUS/.exec(ended.stderr);
    expect(Number(said?.[1])).toBeGreaterThanOrEqual(how.seconds);
  });
});
