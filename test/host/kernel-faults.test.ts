/**
 * Where system calls wait for pages: what is wrong is an error of the call, as in C, and however
 * a thread, the kernel thread or the process ends meanwhile, nobody hangs.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { probeHost } from "../../src/machine/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";
import { runProgram } from "./child.ts";

const { kernelFaults } = probeHost();
const obstacle = "reason" in kernelFaults ? kernelFaults.reason : undefined;
let noDevice: string | undefined;
beforeAll(async () => {
  noDevice = await whyNoDevice();
});

/** A file of 256 KiB, and how to try something. */
const FILES = `
  const fs = await import("node:fs");
  const { tmpdir } = await import("node:os");
  const file = tmpdir() + "/onespace-" + process.pid;
  const KIB = 1024;
  fs.writeFileSync(file, Buffer.alloc(256 * KIB, 7));
  const view = (at, bytes = 256 * KIB) => new Uint8Array(space.window, at, bytes);
  const tell = (body) => { try { console.log(body()); } catch ({ code }) { console.log(code); } };
  const read = (to) => {
    const fd = fs.openSync(file, "r");
    try { return fs.readSync(fd, to); } finally { fs.closeSync(fd); }
  };
  process.on("exit", () => fs.rmSync(file));
`;

/** All of \`at\` lives on the device. */
const ON_DEVICE = `
  const kernel = machine.kernel({ args: { at: ptr(u32) },
    code: "fn main(i: u32) { store_u32(args.at + 4u * i, 0x05050505u); }" });
  const at = await space.mmap({ bytes: 256 * KIB });
  await kernel.run(64 * KIB, { at });
`;

describe.skipIf(obstacle)(`system calls that wait (${obstacle ?? "allowed here"})`, () => {
  it("are the default, and the report says so", async () => {
    const ended = await runProgram(`
      const { kernelFaults, systemCalls } = machine.report.cpu;
      console.log(kernelFaults, systemCalls);
      const other = thread("console.log(machine.report.cpu.kernelFaults); machine.close();");
      await other.ended;
      await machine.close();`);
    const stdout = "true system calls wait for pages that are away\ntrue\n";
    expect(ended).toMatchObject({ code: 0, stdout, stderr: "" });
  });

  it("answer EFAULT where the program may not, and everybody goes on", async () => {
    const ended = await runProgram(`${FILES}
      const at = await space.mmap({ bytes: 256 * KIB });
      view(at).fill(3);
      await space.mprotect(at, 256 * KIB, "r");
      tell(() => read(view(at)));                       // read-only
      console.log(view(at).every((byte) => byte === 3));
      const fd = fs.openSync(file, "r+");
      tell(() => fs.writeSync(fd, view(0x2000_0000)));  // nothing is mapped
      tell(() => fs.writeSync(fd, view(at)));
      await space.mprotect(at, 256 * KIB, "none");
      tell(() => fs.writeSync(fd, view(at)));           // no rights
      await fs.promises.writeFile(file + "2", view(at)).catch(({ code }) => console.log(code));
      fs.rmSync(file + "2");
      fs.closeSync(fd);
      await space.mprotect(at, 256 * KIB, "rw");
      view(at)[0] = 4;                                  // at once: it is not refused any more
      tell(() => read(view(at)));
      // A page at the end of what is mapped: the call ends there.
      const last = await space.mmap({ bytes: 64 * KIB });
      tell(() => read(view(last + 32 * KIB)));
      machine.check();
      await machine.close();`);
    const stdout = "EFAULT\ntrue\nEFAULT\n262144\nEFAULT\nEFAULT\n262144\n32768\n";
    expect(ended).toMatchObject({ code: 0, stdout, stderr: "", hung: false });
  });

  it("refuse many pages one after the other while others use what lies between", async () => {
    const ended = await runProgram(`${FILES}
      const at = await space.mmap({ bytes: 512 * PAGE });
      view(at, 512 * PAGE).fill(3);
      for (let page = 0; page < 512; page += 2) space.mprotectSync(at + page * PAGE, PAGE, "r");
      const worker = thread(\`
        const words = space.u32;
        parentPort.postMessage("runs");
        for (let n = 0; ; n++) {
          const page = n % 512;
          const word = (workerData.at >>> 2) + 1024 * page + 1;
          if (page % 2) words[word] = n; else if (words[word] !== 0x03030303) throw new Error("lost");
        }\`, { at });
      worker.on("error", (error) => { throw error; });
      await new Promise((resolve) => worker.once("message", resolve));
      let refused = 0;
      for (let page = 0; page < 512; page += 2) {
        try { read(view(at + page * PAGE)); } catch ({ code }) { refused += code === "EFAULT"; }
        if (page % 64 === 0) space.discardSync(at + (page + 1) * PAGE, PAGE);
      }
      console.log(refused);
      await worker.terminate();
      await new Promise((resolve) => setTimeout(resolve, 600));
      console.log(fs.readFileSync("/proc/self/maps", "utf8").match(/memfd:onespace/g).length);
      machine.check();
      await machine.close();`);
    // The window and the direct map: no piece of it is left.
    expect(ended).toMatchObject({ code: 0, stdout: "256\n2\n", stderr: "", hung: false });
  });

  describe("for pages that the device has", () => {
    const lives = async (code: string, context: { skip(why: string): never }) =>
      noDevice === undefined
        ? await runProgram(`${FILES}${ON_DEVICE}${code}`, { device: true })
        : context.skip(noDevice);

    it("the process may end while threads of the pool wait", async (context) => {
      const ended = await lives(
        `for (let n = 0; n < 8; n++) fs.writeFile(file, view(at), () => {});
        process.exit(7);`,
        context,
      );
      expect(ended).toMatchObject({ code: 7, stderr: "", hung: false });
    });

    it("a thread may be terminated while it waits", async (context) => {
      const ended = await lives(
        `for (let round = 0; round < 8; round++) {
          await kernel.run(64 * KIB, { at });
          const worker = thread(\`
            const { writeFileSync } = await import("node:fs");
            parentPort.postMessage("runs");
            for (;;) writeFileSync(workerData.file, new Uint8Array(space.window, workerData.at, 2 ** 18));
          \`, { at, file });
          await new Promise((resolve) => worker.once("message", resolve));
          await worker.terminate();
        }
        console.log(view(at).every((byte) => byte === 5));
        machine.check();
        await machine.close();`,
        context,
      );
      expect(ended).toMatchObject({ code: 0, stdout: "true\n", stderr: "", hung: false });
    });

    it("child processes come and go while others wait", async (context) => {
      const ended = await lives(
        `const { execFileSync, spawnSync } = await import("node:child_process");
        for (let round = 0; round < 8; round++) {
          await kernel.run(64 * KIB, { at });
          const writing = fs.promises.writeFile(file, view(at));
          if (execFileSync("echo", ["hello"]).toString() !== "hello\\n") throw new Error("echo");
          const { stdout } = spawnSync("cat", { input: view(at) });
          if (!stdout.equals(Buffer.alloc(256 * KIB, 5))) throw new Error("cat");
          await writing;
          if (!fs.readFileSync(file).equals(stdout)) throw new Error("file");
        }
        machine.check();
        await machine.close();
        console.log("fine");`,
        context,
      );
      expect(ended).toMatchObject({ code: 0, stdout: "fine\n", stderr: "", hung: false });
    });

    it("nobody waits for a kernel thread that is gone", async (context) => {
      const ended = await lives(
        `const { default: channels } = await import("node:diagnostics_channel");
        const threads = [];
        channels.subscribe("worker_threads", ({ worker }) => threads.push(worker));
        const other = await Machine.create({ cpu: "host", device: "none", kernelFaults: true });
        const place = await other.space.mmap({ bytes: 256 * KIB });
        const bytes = new Uint8Array(other.space.window, place, 256 * KIB).fill(5);
        other.space.mprotectSync(place, 256 * KIB, "r");
        const ended = threads[0].terminate();
        const writing = [1, 2, 3].map(() => fs.promises.writeFile(file, bytes));
        await Promise.all(writing);
        console.log(fs.readFileSync(file).every((byte) => byte === 5));
        await ended;
        process.exit(0);`,
        context,
      );
      expect(ended).toMatchObject({ code: 0, stdout: "true\n", hung: false });
      expect(ended.stderr).toMatch(/kernel thread has ended without a word; memory stays readable/);
    });

    it("a machine may be closed while a call waits", async (context) => {
      const ended = await lives(
        `const writing = fs.promises.writeFile(file, view(at));
        await machine.close();
        await writing;
        console.log(fs.readFileSync(file).length);`,
        context,
      );
      expect(ended).toMatchObject({ code: 0, stdout: "262144\n", stderr: "", hung: false });
    });
  });
});
