/**
 * From a file into shared memory, through a kernel, out of a socket, and back: with plain calls of
 * Node, in whole pieces, on a machine whose system calls wait for pages and on one whose do not.
 */
import { once } from "node:events";
import * as fs from "node:fs";
import { connect, createServer, type OnReadOpts, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Kernel, Machine, probeHost, ptr, u32 } from "../../src/machine/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";

const ADD = {
  args: { at: ptr(u32), n: u32 },
  code: "fn main(i: u32) { let p = args.at + 4u * i; store_u32(p, load_u32(p) + args.n); }",
} as const;

const KIB = 1024;
/** Over many borders, and no whole number of pages. */
const BYTES = 500 * KIB + 12;
const given = Buffer.from(
  Uint32Array.from({ length: BYTES / 4 }, (_, i) => Math.imul(i, 2654435761) >>> 0).buffer,
);
const wanted = Buffer.from(
  Uint32Array.from({ length: BYTES / 4 }, (_, i) => (Math.imul(i, 2654435761) >>> 0) + 5).buffer,
);

const probe = probeHost();
const noDevice = await whyNoDevice();
const folder = fs.mkdtempSync(join(tmpdir(), "onespace-pipe-"));
const file = join(folder, "file");
afterAll(() => fs.rmSync(folder, { recursive: true }));

const modes = [
  {
    kernelFaults: true,
    why: "reason" in probe.kernelFaults ? probe.kernelFaults.reason : noDevice,
  },
  { kernelFaults: false, why: probe.obstacle?.reason ?? noDevice },
];

describe.each(modes)("with kernelFaults: $kernelFaults", ({ kernelFaults, why }) => {
  let machine: Machine;
  let add: Kernel<typeof ADD.args>;

  beforeAll(async () => {
    if (why !== undefined) return;
    machine = await Machine.create({ cpu: "host", deviceMemory: 2 ** 22, kernelFaults });
    add = machine.kernel(ADD);
    fs.writeFileSync(file, given);
  });
  afterAll(async () => {
    await machine?.close();
  });
  afterEach(() => machine?.check());

  const on = (title: string, body: () => Promise<void>): void => {
    it(title, async (context) => {
      if (why !== undefined) return context.skip(why);
      await body();
    });
  };

  /** Memory that nobody has touched, at an odd place, from `mmap` and from `malloc`. */
  const fresh = async (): Promise<Uint8Array<SharedArrayBuffer>[]> => {
    const { space } = machine;
    const mapped = (await space.mmap({ bytes: BYTES + 8 * KIB })) + 4;
    return [mapped, space.malloc(BYTES)].map((at) => new Uint8Array(space.window, at, BYTES));
  };
  const run = (view: Uint8Array) => add.run(BYTES / 4, { at: view.byteOffset, n: 5 });
  /** What a program says where system calls do not wait, and may say where they do. */
  const bring = async (view: Uint8Array<SharedArrayBuffer>, mode: "read" | "write") => {
    if (!machine.report.cpu.kernelFaults) await machine.space.populate(view, mode);
  };
  const withFile = <T>(flags: string, body: (fd: number) => T): T => {
    const fd = fs.openSync(file, flags);
    try {
      return body(fd);
    } finally {
      fs.closeSync(fd);
    }
  };

  on("a file is read into memory that nobody has touched, whole", async () => {
    for (const view of await fresh()) {
      expect(withFile("r", (fd) => fs.readSync(fd, view))).toBe(BYTES);
      expect(given.equals(view)).toBe(true);
    }
    for (const view of await fresh()) {
      const handle = await fs.promises.open(file);
      expect((await handle.read(view)).bytesRead).toBe(BYTES);
      await handle.close();
      expect(given.equals(view)).toBe(true);
    }
    for (const view of await fresh()) {
      const parts = [view.subarray(0, 1000), view.subarray(1000)];
      expect(withFile("r", (fd) => fs.readvSync(fd, parts))).toBe(BYTES);
      expect(given.equals(view)).toBe(true);
    }
  });

  on("memory that nobody has touched is written as zeros, and stays nowhere", async () => {
    const [view] = await fresh();
    const zeros = join(folder, "zeros");
    fs.writeFileSync(zeros, view!);
    expect(fs.readFileSync(zeros).equals(Buffer.alloc(BYTES))).toBe(true);
    const before = machine.report.mappedPages;
    await machine.space.mmap({ bytes: 2 ** 28 });
    machine.space.malloc(2 ** 28);
    expect(machine.report.mappedPages - before).toBeLessThan(64);
    const given = / more in RAM, which the system gave unasked$/;
    expect(given.test(machine.dump())).toBe(!kernelFaults);
  });

  on("file, kernel, socket", async () => {
    for (const view of await fresh()) {
      withFile("r", (fd) => fs.readSync(fd, view));
      await run(view);
      await bring(view, "read");
      expect((await throughSocket(view)).equals(wanted)).toBe(true);
    }
  });

  on(
    "device, file, device: what a kernel wrote goes out and what comes in is added to",
    async () => {
      for (const view of await fresh()) {
        view.set(given);
        await run(view);
        expect(machine.report.residentPages).toBeGreaterThan(100);
        const out = join(folder, "out");
        if (!kernelFaults) {
          const writing = fs.promises.writeFile(out, view);
          await expect(writing).rejects.toMatchObject({ code: "EFAULT" });
          expect(() => withFile("r", (fd) => fs.readSync(fd, view))).toThrow("EFAULT");
        }
        await bring(view, "read");
        await fs.promises.writeFile(out, view);
        expect(fs.readFileSync(out).equals(wanted)).toBe(true);
        await bring(view, "write");
        expect(withFile("r", (fd) => fs.readSync(fd, view))).toBe(BYTES);
        await run(view);
        await bring(view, "read");
        expect(wanted.equals(view)).toBe(true);
      }
    },
  );

  on("what is discarded or freed is as new", async () => {
    const [mapped] = await fresh();
    await run(mapped!);
    await machine.space.discard(mapped!);
    expect(withFile("r", (fd) => fs.readSync(fd, mapped!))).toBe(BYTES);
    const { space } = machine;
    const block = space.malloc(BYTES);
    await run(new Uint8Array(space.window, block, BYTES));
    space.free(block);
    const again = new Uint8Array(space.window, space.malloc(BYTES), BYTES);
    expect(again.byteOffset).toBe(block);
    expect(withFile("r", (fd) => fs.readSync(fd, again))).toBe(BYTES);
    expect(given.equals(again)).toBe(true);
  });

  on("read-only memory is sent, and not read into: EFAULT, and nothing is lost", async () => {
    const { space } = machine;
    const at = await space.mmap({ bytes: 128 * 4 * KIB });
    const view = new Uint8Array(space.window, at, BYTES);
    view.set(given);
    await space.mprotect(at, 128 * 4 * KIB, "r");
    const out = join(folder, "out");
    fs.writeFileSync(out, view);
    expect(fs.readFileSync(out).equals(given)).toBe(true);
    expect((await throughSocket(view)).equals(given)).toBe(true);
    expect(() => withFile("r", (fd) => fs.readSync(fd, view))).toThrow("EFAULT");
    await expect(space.access(view, "write")).rejects.toMatchObject({ code: "EFAULT" });
    await space.mprotect(at, 128 * 4 * KIB, "rw");
    expect(withFile("r", (fd) => fs.readSync(fd, view))).toBe(BYTES);
  });

  on("socket, kernel, file", async () => {
    for (const view of await fresh()) {
      // The system puts what it receives where the view is, in pieces of any length.
      let done = 0;
      const rest = Buffer.alloc(1);
      const buffer = () => (done < BYTES ? view.subarray(done) : rest);
      const callback = (bytes: number) => {
        done += bytes;
        return true;
      };
      const [socket, feeding] = await serve(given, { buffer, callback });
      await once(socket, "close");
      await feeding;
      expect(done).toBe(BYTES);
      await run(view);
      await bring(view, "read");
      const out = join(folder, "out");
      await pipeline(chunksOf(view), fs.createWriteStream(out));
      expect(fs.readFileSync(out).equals(wanted)).toBe(true);
    }
  });
});

/** What comes out at the other end when `bytes` are written to a socket in one piece. */
async function throughSocket(bytes: Uint8Array): Promise<Buffer> {
  const [socket, feeding] = await serve(bytes);
  const chunks: Buffer[] = [];
  await pipeline(
    socket,
    new Writable({
      write(chunk: Buffer, _encoding, over) {
        chunks.push(chunk);
        over();
      },
    }),
  );
  await feeding;
  return Buffer.concat(chunks);
}

/** A connected socket whose other end writes `bytes` and closes. */
async function serve(
  bytes: Uint8Array,
  onread?: OnReadOpts,
): Promise<readonly [Socket, Promise<void>]> {
  const server = createServer();
  const feeding = once(server, "connection").then(async ([socket]: Socket[]) => {
    socket!.end(bytes);
    await once(socket!, "close");
    server.close();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const where = { port, host: "127.0.0.1" };
  return [connect(onread === undefined ? where : { ...where, onread }), feeding];
}

function* chunksOf(view: Uint8Array): Iterable<Uint8Array> {
  for (let at = 0; at < view.length; at += 128 * KIB) yield view.subarray(at, at + 128 * KIB);
}
