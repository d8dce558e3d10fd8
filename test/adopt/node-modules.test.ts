/** In a file, and so a process, of its own: Node loads its modules once. */
import { expect, it } from "vitest";
import { createWindow } from "../../src/cpu/index.ts";
import { AsyncScope } from "../../src/machine/host/async-scope.ts";
import { Adoption } from "../../src/machine/wasm/index.ts";
import { memoryModule } from "./module-builder.ts";

it("Node's own HTTP module, first needed while glue loads, is left alone", async () => {
  const window = createWindow();
  const host = { memory: window.memory, map: () => {}, check: () => {} };
  const adoption = new Adoption(host, {}, new AsyncScope());
  const own = await adoption.load(async () => {
    expect(await (await fetch("data:text/plain,hello")).text()).toBe("hello");
    return (await WebAssembly.instantiate(memoryModule())).instance;
  });
  expect(own.exports.memory).toBe(adoption.memory);
  expect(window.u32[4]).toBe(0x0fbeadde);
});
