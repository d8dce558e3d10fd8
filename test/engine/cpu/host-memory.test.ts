/** The mechanism: what the host tells of faults, and what it maps when it is told. */
import { fstatSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { PAGE_SIZE, vpn } from "../../../src/base/index.ts";
import { HostMemory, POLL_DOORBELL, POLL_FAULTS, whyNotHost } from "../../../src/cpu/index.ts";
import { ADD_IN_WASM, hostWindow, LOAD_IN_WASM } from "./host-window.ts";
import { wasmMemory } from "./host-world.ts";

const obstacle = whyNotHost();
const LOAD = "return u32[a >>> 2]";
const STORE = "u32[a >>> 2] = 7; return u32[a >>> 2]";
const address = (page: number, offset = 0): number => page * PAGE_SIZE + offset;

describe.skipIf(obstacle)(`faults of a window (${obstacle?.reason ?? "served here"})`, () => {
  it("are told with page, exact address, kind and thread", async () => {
    const window = hostWindow();
    const user = await window.addUser();
    user.begin(LOAD, address(3, 40));
    expect(window.nextFault()).toEqual({
      page: 3,
      address: address(3, 40),
      kind: "read",
      thread: user.thread,
    });
    expect(window.install(3, 4, true)).toBe(0);
    expect(await window.value(user)).toBe(0);
  });

  it("say whether the file has the page, and whether only writing is missing", async () => {
    const window = hostWindow();
    const user = await window.addUser();
    new Uint32Array(window.memory.bytes)[address(5) >>> 2] = 9;
    user.begin(LOAD, address(5));
    expect(window.nextFault().kind).toBe("read minor");
    window.install(5, 6, false);
    expect(await window.value(user)).toBe(9);
    user.begin(STORE, address(5));
    expect(window.nextFault()).toMatchObject({ page: 5, kind: "write protected" });
    window.install(5, 6, true);
    expect(await window.value(user)).toBe(7);
    user.begin(STORE, address(6));
    expect(window.nextFault().kind).toBe("write");
    window.install(6, 7, true);
    expect(await window.value(user)).toBe(7);
  });

  it("of several threads are read in one batch", async () => {
    const window = hostWindow();
    const users = [await window.addUser(), await window.addUser(), await window.addUser()];
    for (const [i, user] of users.entries()) user.begin(STORE, address(10 + i));
    const { memory } = window;
    const seen: number[] = [];
    while (seen.length < 3) {
      for (let i = memory.readFaults() - 1; i >= 0; i--) seen.push(memory.faultPage(i));
      memory.poll(100);
    }
    expect(seen.sort()).toEqual([10, 11, 12]);
    window.install(10, 13, true);
    for (const user of users) expect(await window.value(user)).toBe(7);
  });

  it("come from WebAssembly as from JavaScript", async () => {
    const window = hostWindow();
    const user = await window.addUser();
    user.begin(ADD_IN_WASM, [address(4, 8), 5]);
    expect(window.nextFault()).toMatchObject({ address: address(4, 8), kind: "write" });
    window.install(4, 5, true);
    expect(await window.value(user)).toBe(0);
    expect(new Uint32Array(window.memory.bytes)[address(4, 8) >>> 2]).toBe(5);
  });
});

describe.skipIf(obstacle)("installing pages", () => {
  it("passes over those that are there, fills holes, and gives each the rights asked for", () => {
    const window = hostWindow();
    new Uint8Array(window.memory.bytes)[address(21)] = 1;
    expect(window.install(21, 22, false)).toBe(0);
    expect(window.install(23, 24, true)).toBe(0);
    expect(window.hardware(20, 26)).toBe("-r-w--");
    expect(window.install(20, 25, true)).toBe(0);
    expect(window.hardware(20, 26)).toBe("wwwww-");
    expect(window.install(19, 26, false)).toBe(0);
    expect(window.hardware(19, 26)).toBe("rwwwwwr");
  });

  it("takes any number of them, in one call where they are of one kind", () => {
    const memory = HostMemory.open(wasmMemory(2 ** 23).buffer);
    const all = vpn(2048);
    expect(memory.install(vpn(0), all, false)).toBe(0);
    memory.revoke(vpn(1000), vpn(1001));
    expect(memory.calls).toMatchObject({ install: 2, populate: 1 });
    expect(memory.install(vpn(1000), vpn(1001), true)).toBe(0);
    memory.revoke(vpn(0), vpn(1000));
    // A thousand at once, one that is there, and each of those behind it.
    expect(memory.install(vpn(0), all, false)).toBe(0);
    expect(memory.calls.install).toBe(3 + 1 + 1048);
    memory.close();
  });

  it("wakes who waits for a page that is installed already", async () => {
    const window = hostWindow();
    const user = await window.addUser();
    user.begin(LOAD, address(8));
    window.nextFault();
    // Somebody else installs it and nobody is told, as in a race of two who serve.
    window.install(8, 9, true);
    expect(await window.value(user)).toBe(0);
    window.memory.protect(vpn(8), vpn(9));
    user.begin(STORE, address(8));
    expect(window.nextFault().kind).toBe("write protected");
    window.install(8, 9, false);
    expect(window.nextFault().kind).toBe("write protected");
    window.install(8, 9, true);
    expect(await window.value(user)).toBe(7);
    expect(window.install(8, 9, false)).toBe(0);
    expect(window.hardware(8, 9)).toBe("w");
  });

  it("takes them away again without losing a byte", async () => {
    const window = hostWindow();
    const user = await window.addUser();
    window.install(0, 8, true);
    user.begin(STORE, address(2));
    await window.answer(user);
    window.memory.protect(vpn(0), vpn(4));
    expect(window.hardware(0, 8)).toBe("rrrrwwww");
    window.memory.revoke(vpn(1), vpn(6));
    expect(window.hardware(0, 8)).toBe("r-----ww");
    user.begin(LOAD, address(2));
    expect(window.nextFault().kind).toBe("read minor");
    window.install(2, 3, false);
    expect(await window.value(user)).toBe(7);
    // A page that was protected when it was taken away is not so for ever.
    window.install(3, 4, true);
    expect(window.hardware(0, 8)).toBe("r-rw--ww");
  });

  it("refuses pages that the window has not", () => {
    const window = hostWindow();
    expect(() => window.install(255, 257, true)).toThrow(/no run of this window/);
    expect(() => window.memory.revoke(vpn(4), vpn(4))).toThrow(/no run of this window/);
  });

  it("lets a thread that is woken for nothing fault again", async () => {
    const window = hostWindow();
    const user = await window.addUser();
    user.begin(LOAD, address(1));
    window.nextFault();
    window.memory.wake(vpn(1), vpn(2));
    expect(window.nextFault().page).toBe(1);
    window.install(1, 2, false);
    expect(await window.value(user)).toBe(0);
  });
});

describe.skipIf(obstacle)("the memory of pages", () => {
  it("is the host's until they are installed, and again when they are discarded", () => {
    const window = hostWindow();
    const { memory } = window;
    const held = (): number => fstatSync(memory.mappings.memfd).blocks / 8;
    expect(held()).toBe(0);
    window.install(0, 16, true);
    new Uint8Array(memory.bytes).fill(1, 0, address(16));
    expect(held()).toBe(16);
    memory.revoke(vpn(4), vpn(8));
    memory.discard(vpn(4), vpn(8));
    expect(held()).toBe(12);
    const bytes = new Uint8Array(memory.bytes);
    expect([bytes[address(3)], bytes[address(4)], bytes[address(8)]]).toEqual([1, 0, 1]);
  });
});

describe.skipIf(obstacle)("the sleep of who serves", () => {
  it("ends with a fault, with the doorbell, or after a time", async () => {
    const window = hostWindow();
    const { memory } = window;
    const start = performance.now();
    expect(memory.poll(20)).toBe(0);
    expect(performance.now() - start).toBeGreaterThanOrEqual(19);
    expect(memory.poll(0, 10)).toBe(0);
    const half = performance.now();
    expect(memory.poll(0.5)).toBe(0);
    expect(performance.now() - half).toBeGreaterThanOrEqual(0.5);
    const user = await window.addUser();
    user.begin(LOAD, address(1));
    expect(memory.poll(5000, 10)).toBe(POLL_FAULTS);
    writeSync(memory.doorbell, new BigUint64Array([1n]));
    expect(memory.poll(0)).toBe(POLL_FAULTS | POLL_DOORBELL);
    memory.drainDoorbell();
    memory.drainDoorbell();
    window.nextFault();
    window.install(1, 2, true);
    await window.answer(user);
    expect(memory.poll(0)).toBe(0);
    const ring = "require('fs').writeSync(a, new BigUint64Array([1n]))";
    user.begin(ring, memory.doorbell);
    expect(memory.poll(5000.5)).toBe(POLL_DOORBELL);
    await window.answer(user);
  });
});

describe.skipIf(obstacle)("the end of a window", () => {
  it("wakes everybody, gives everything back, and leaves ordinary zeroed memory", async () => {
    const before = readdirSync("/proc/self/fd").length;
    const window = hostWindow();
    const user = await window.addUser();
    window.install(0, 1, true);
    user.begin(STORE, address(0));
    await window.answer(user);
    user.begin("return u32[a >>> 2] + u32[0]", address(9));
    window.nextFault();
    window.memory.close();
    window.memory.close();
    expect(await window.value(user)).toBe(0);
    const u32 = new Uint32Array(window.wasm.buffer);
    expect(u32[0]).toBe(0);
    u32[5000] = 3;
    user.begin("return u32[5000]");
    expect(await window.value(user)).toBe(3);
    expect(readFileSync("/proc/self/maps", "utf8")).not.toContain("memfd:onespace");
    await user.exit();
    window.users.length = 0;
    expect(readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(before);
    expect(() => window.memory.bytes).toThrow(/not served any more/);
    expect(() => window.install(0, 1, true)).toThrow(/not served any more/);
  });

  it("can come from another thread that adopts it", async () => {
    const window = hostWindow();
    const user = await window.addUser();
    user.begin(LOAD, address(9));
    window.nextFault();
    const adopted = HostMemory.adopt(window.wasm.buffer, { ...window.memory.mappings });
    new Uint32Array(adopted.bytes)[address(9) >>> 2] = 4;
    adopted.install(vpn(9), vpn(10), true);
    expect(await window.value(user)).toBe(4);
  });

  it("without its owner leaves what is here and takes away what is lost", async () => {
    const window = hostWindow();
    const [user, other] = [await window.addUser(), await window.addUser()];
    new Uint32Array(window.memory.bytes).fill(5);
    window.install(0, 4, false);
    user.begin(LOAD_IN_WASM, [address(6), 0]);
    window.nextFault();
    other.begin(LOAD_IN_WASM, [address(8), 0]);
    window.nextFault();
    window.memory.abandon([
      { start: 6, end: 7 },
      { start: 7, end: 8 },
      { start: 12, end: 16 },
    ]);
    expect(await window.answer(user)).toEqual({ error: "memory access out of bounds" });
    expect(await window.value(other)).toBe(5);
    const lost = readFileSync("/proc/self/maps", "utf8").match(/---s.*memfd:onespace/g);
    expect(lost).toHaveLength(2);
    user.begin("u32[0] = 8; return u32[0] + u32[a >>> 2]", address(9));
    expect(await window.value(user)).toBe(13);
    expect(window.memory.isClosed).toBe(true);
  });
});

describe.skipIf(obstacle)("a window of which much is lost", () => {
  it("is cut where it must be, however the loss is told", () => {
    const wasm = wasmMemory(2 ** 28);
    const memory = HostMemory.open(wasm.buffer);
    memory.abandon(Array.from({ length: 20_000 }, (_, i) => ({ start: i, end: i + 1 })));
    const { base } = memory.mappings;
    const lost = `${base.toString(16)}-${(base + 20_000 * PAGE_SIZE).toString(16)} ---s`;
    expect(readFileSync("/proc/self/maps", "utf8")).toContain(lost);
    expect(new Uint8Array(wasm.buffer)[20_000 * PAGE_SIZE]).toBe(0);
  });

  it("is out of reach as a whole rather than in too many pieces", () => {
    const memory = HostMemory.open(wasmMemory(2 ** 28).buffer);
    const lost = Array.from({ length: 20_000 }, (_, i) => ({ start: i * 3, end: i * 3 + 1 }));
    memory.abandon(lost);
    const { base } = memory.mappings;
    const whole = `${base.toString(16)}-${(base + 2 ** 28).toString(16)} ---s`;
    expect(readFileSync("/proc/self/maps", "utf8")).toContain(whole);
  });
});

describe.skipIf(obstacle)("opening a window", () => {
  it("makes one of any shared memory, of which it drops what was there", () => {
    const wasm = wasmMemory(65_536);
    new Uint8Array(wasm.buffer)[7] = 7;
    const memory = HostMemory.open(wasm.buffer);
    expect(memory.pageCount).toBe(16);
    expect(new Uint8Array(memory.bytes)[7]).toBe(0);
    memory.close();
  });

  it("covers 4 GiB with one registration", async () => {
    const wasm = wasmMemory(2 ** 32);
    const memory = HostMemory.open(wasm.buffer);
    const last = vpn(memory.pageCount - 1);
    expect(memory.install(last, vpn(last + 1), true)).toBe(0);
    new Uint32Array(memory.bytes)[2 ** 30 - 1] = 6;
    memory.close();
    expect(new Uint32Array(wasm.buffer)[2 ** 30 - 1]).toBe(0);
  });
});
