/** A mailbox keeps a process as long as somebody waits for an answer, and no longer. */
import { spawn } from "node:child_process";
import { describe, expect, it } from "vitest";
import { DOOR_URL } from "./threads.ts";

/** A program with a `client` and a kernel thread that answers after as many ms as it is told. */
const PROGRAM = `
  import { Worker } from "node:worker_threads";
  import { MailboxClient, newMailbox } from ${JSON.stringify(DOOR_URL)};
  const shared = newMailbox();
  const kernel = new Worker(\`
    import(${JSON.stringify(DOOR_URL)}).then(({ MailboxServer }) => {
      const { parentPort, workerData } = require("node:worker_threads");
      const server = new MailboxServer(workerData);
      const late = (call) => {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, call.request.ms);
        call.reply("late");
      };
      parentPort.postMessage("ready");
      for (;;) {
        for (let call = server.next(); call !== undefined; call = server.next()) late(call);
        server.sleep(1000);
      }
    });
  \`, { eval: true, workerData: shared, execArgv: [] });
  await new Promise((resolve) => kernel.once("message", resolve));
  kernel.unref();
  const client = new MailboxClient(shared);
  const say = (text) => process.stdout.write(text + ";");
  process.on("exit", () => say("exit"));
`;

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly ms: number;
}

function run(program: string): Promise<Ended> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", PROGRAM + program], {
    stdio: ["ignore", "pipe", "inherit"],
    timeout: 20_000,
  });
  const start = performance.now();
  let stdout = "";
  child.stdout.on("data", (data) => {
    stdout += String(data);
  });
  return new Promise((resolve) => {
    child.on("close", (status) => resolve({ status, stdout, ms: performance.now() - start }));
  });
}

describe("a process with a mailbox", () => {
  it("ends when nobody waits, also after calls", async () => {
    const ended = await run(`
      client.callNow({ ms: 1 });
      await client.call({ ms: 1 });
      say("called");`);
    expect(ended).toMatchObject({ status: 0, stdout: "called;exit;" });
  });

  it("does not end while a call waits for its answer", async () => {
    const ended = await run(`client.call({ ms: 1500 }).then((answer) => say(answer));`);
    expect(ended).toMatchObject({ status: 0, stdout: "late;exit;" });
    expect(ended.ms).toBeGreaterThan(1500);
  });

  it("does not wait for a call that says so", async () => {
    const ended = await run(`
      client.call({ ms: 1500 }, { ref: false }).then((answer) => say(answer));`);
    expect(ended).toMatchObject({ status: 0, stdout: "exit;" });
  });

  it("waits for posts, whose failure is said", async () => {
    const ended = await run(`
      client.post({ ms: 700 });
      process.on("warning", ({ name, message }) => say(name + ": " + message));
      client.post({ name: "close" , ms: 0 });
      setTimeout(() => client.die("gone"), 300);`);
    const warning = (name: string): string => `OnespaceWarning: ${name} failed: HmmError: ${name}`;
    expect(ended.stdout).toContain(`${warning("call")}: gone (ENODEV)`);
    expect(ended.stdout).toContain(`${warning("close")}: gone (ENODEV)`);
    expect(ended.stdout).toMatch(/exit;$/);
  });
});
