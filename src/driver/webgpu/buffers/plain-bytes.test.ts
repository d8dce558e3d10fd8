import { describe, expect, it } from "vitest";
import { AssertionError } from "../../../base/index.ts";
import { plainBytes } from "./plain-bytes.ts";

/** What this test uses of it. */
interface WasmApi {
  readonly Memory: new (options: {
    readonly initial: number;
    readonly maximum: number;
    readonly shared: boolean;
  }) => { readonly buffer: SharedArrayBuffer };
}

describe("plainBytes", () => {
  it("lets a view on a plain buffer through as it is", () => {
    const view = new Uint32Array(4).subarray(1, 3);
    expect(plainBytes(view)).toBe(view);
  });

  it("refuses a view on a SharedArrayBuffer", () => {
    const view = new Uint8Array(new SharedArrayBuffer(16));
    expect(() => plainBytes(view)).toThrow(AssertionError);
  });

  it("refuses a view on shared WebAssembly memory", () => {
    const { WebAssembly } = globalThis as unknown as { WebAssembly: WasmApi };
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    expect(() => plainBytes(new Uint32Array(memory.buffer, 0, 4))).toThrow(/shared memory/);
  });
});
