/**
 * What the system and Node's libraries make of memory whose pages are on the GPU, as
 * docs/page-faults.md says: it works, or fails with an error that says so. Nobody hangs, nobody
 * gets stale bytes.
 */

import { spawnSync } from "node:child_process";
import { createHash, getRandomValues, randomFill, randomFillSync, webcrypto } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { deserialize, serialize } from "node:v8";
import { gunzipSync, gzip, gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Kernel, Machine, ptr, u32, whyNotHost } from "../../src/machine/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";

const FILL = {
  args: { at: ptr(u32) },
  code: "fn main(i: u32) { store_u32(args.at + 4u * i, i * 2654435761u); }",
} as const;

const WORDS = 16 * 1024;
const wanted = Buffer.from(
  Uint32Array.from({ length: WORDS }, (_, i) => Math.imul(i, 2654435761) >>> 0).buffer,
);

let reason = whyNotHost()?.reason;
let machine: Machine;
let fill: Kernel<typeof FILL.args>;
let bytes: Uint8Array<SharedArrayBuffer>;
const folder = fs.mkdtempSync(join(tmpdir(), "onespace-calls-"));
const file = join(folder, "file");

beforeAll(async () => {
  reason ??= await whyNoDevice();
  if (reason !== undefined) return;
  machine = await Machine.create({ cpu: "host", deviceMemory: 2 ** 20, kernelFaults: false });
  fill = machine.kernel(FILL);
  const at = await machine.space.mmap({ bytes: 4 * WORDS });
  bytes = new Uint8Array(machine.space.window, at, 4 * WORDS);
});
afterAll(async () => {
  fs.rmSync(folder, { recursive: true });
  await machine?.close();
});
beforeEach(async (context) => {
  if (reason !== undefined) return context.skip(reason);
  // The kernel wrote all of it: the pages are on the device and nowhere else.
  await fill.run(WORDS, { at: bytes.byteOffset });
  expect(machine.report.residentPages).toBe(WORDS / 1024);
});
afterEach(() => machine?.check());

/** A system call met a page that is away. */
const FAULTS = expect.objectContaining({ code: "EFAULT" });
const range = () => ({ start: bytes.byteOffset, bytes: bytes.byteLength });

describe("what touches memory as programs do works", () => {
  it.each<[string, () => unknown]>([
    ["zlib", () => gunzipSync(gzipSync(bytes))],
    ["zlib on another thread", async () => gunzipSync(await promisify(gzip)(bytes))],
    ["Buffer.copy", () => Buffer.concat([Buffer.from(bytes.buffer, bytes.byteOffset, 4 * WORDS)])],
    ["TypedArray.slice", () => Buffer.from(bytes.slice())],
    ["v8.serialize", () => Buffer.from(deserialize(serialize(bytes.slice())))],
    ["structuredClone of a slice", () => Buffer.from(structuredClone(bytes.slice()))],
    ["Blob", async () => Buffer.from(await new Blob([bytes]).arrayBuffer())],
    ["TextDecoder", () => Buffer.from(new TextDecoder("latin1").decode(bytes) && bytes.slice())],
    [
      "Buffer.toString",
      () =>
        Buffer.from(Buffer.from(bytes.buffer, bytes.byteOffset, 4 * WORDS).toString("hex"), "hex"),
    ],
  ])("%s", async (_, read) => {
    expect(wanted.equals((await read()) as Buffer)).toBe(true);
  });

  it("hashes", () => {
    const hash = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");
    expect(hash(bytes)).toBe(hash(wanted));
  });

  it("random bytes and text written into it", async () => {
    const isChanged = () => !wanted.equals(bytes.slice());
    randomFillSync(bytes);
    expect(isChanged()).toBe(true);
    await fill.run(WORDS, { at: bytes.byteOffset });
    await promisify(randomFill)(bytes);
    expect(isChanged()).toBe(true);
    await fill.run(WORDS, { at: bytes.byteOffset });
    getRandomValues(bytes.subarray(0, 4096));
    expect(isChanged()).toBe(true);
    await fill.run(WORDS, { at: bytes.byteOffset });
    expect(new TextEncoder().encodeInto("hello", bytes)).toEqual({ read: 5, written: 5 });
    expect(Buffer.from(bytes.slice(0, 5)).toString()).toBe("hello");
    expect(bytes[5]).toBe(wanted[5]);
  });
});

describe("system calls say EFAULT, and work when the bytes were brought first", () => {
  const open = <T>(flags: string, body: (fd: number) => T): T => {
    const fd = fs.openSync(file, flags);
    try {
      return body(fd);
    } finally {
      fs.closeSync(fd);
    }
  };

  it("writing to a file", async () => {
    expect(() => open("w", (fd) => fs.writeSync(fd, bytes))).toThrow(FAULTS);
    expect(() => fs.writeFileSync(file, bytes)).toThrow(FAULTS);
    await expect(fs.promises.writeFile(file, bytes)).rejects.toEqual(FAULTS);
    await machine.space.populate(range(), "read");
    expect(open("w", (fd) => fs.writeSync(fd, bytes))).toBe(4 * WORDS);
    expect(fs.readFileSync(file).equals(wanted)).toBe(true);
  });

  it("reading from a file: nothing is read, and nothing is lost", async () => {
    fs.writeFileSync(file, Buffer.alloc(4 * WORDS, 7));
    expect(() => open("r", (fd) => fs.readSync(fd, bytes))).toThrow(FAULTS);
    const descriptor = fs.openSync(file, "r");
    const reading = promisify(fs.read)(descriptor, bytes, 0, 4 * WORDS, 0);
    await expect(reading).rejects.toEqual(FAULTS);
    fs.closeSync(descriptor);
    expect(wanted.equals(bytes.slice())).toBe(true);
    const held = machine.space.accessSync(range(), "write");
    expect(open("r", (fd) => fs.readSync(fd, held.bytes))).toBe(4 * WORDS);
    held.close();
    expect(bytes.every((byte) => byte === 7)).toBe(true);
  });

  it("the input of a child process", async () => {
    expect(spawnSync("cat", { input: bytes }).error).toEqual(FAULTS);
    await machine.space.populate(range(), "read");
    expect(spawnSync("cat", { input: bytes }).stdout.equals(wanted)).toBe(true);
  });

  it("a page that is away in the middle ends a write before it", async () => {
    await machine.space.populate({ start: bytes.byteOffset, bytes: 8192 }, "read");
    expect(open("w", (fd) => fs.writeSync(fd, bytes))).toBe(8192);
    expect(fs.readFileSync(file).equals(wanted.subarray(0, 8192))).toBe(true);
  });
});

describe("what refuses shared memory refuses this too", () => {
  it("crypto.subtle", async () => {
    const digest = webcrypto.subtle.digest("SHA-256", bytes as unknown as Uint8Array<ArrayBuffer>);
    await expect(digest).rejects.toMatchObject({ code: "ERR_INVALID_ARG_TYPE" });
  });

  it("structuredClone of a view", () => {
    expect(() => structuredClone(bytes)).toThrow(/clone/);
  });
});
