/**
 * Stands between glue code and the `WebAssembly` object while the glue loads its module. For
 * glue that makes its memory and its instance itself and lets nobody else do it.
 */

import type { WasmMemory } from "../../cpu/index.ts";
import { hmmError } from "../error.ts";
import {
  type MemoryDescriptor,
  type WasmApi,
  type WasmImports,
  type WasmInstance,
  type WasmModule,
  type WasmSource,
  wasmApi,
} from "./wasm-api.ts";

/** Tells what is loaded within a call from what somebody else loads at the same time. */
export interface LoadScope {
  run<T>(body: () => Promise<T>): Promise<T>;
  readonly isInside: boolean;
}

/** What is asked instead of the engine. `undefined`: not ours, the engine answers. */
export interface WasmHooks {
  memory(type: MemoryDescriptor): WasmMemory | undefined;
  /** A binary's module: the rewritten one, or the engine's own for what has no memory. */
  compile(source: WasmSource): WasmModule;
  instantiate(module: WasmModule, imports: WasmImports | undefined): WasmInstance | undefined;
}

const NAMES = [
  "Memory",
  "Module",
  "Instance",
  "compile",
  "compileStreaming",
  "instantiate",
  "instantiateStreaming",
] as const;

let isHooked = false;

/**
 * Runs `body` with the hooks in place, and takes them away again whatever happens. Throws EBUSY
 * while another call is at it: there is one `WebAssembly` object.
 */
export async function withHooks<T>(
  hooks: WasmHooks,
  scope: LoadScope | undefined,
  body: () => T | Promise<T>,
): Promise<T> {
  if (isHooked) {
    const detail = "another module is being loaded; wait for it first";
    throw hmmError({ code: "EBUSY", call: "load", detail });
  }
  const api = wasmApi();
  const saved = NAMES.map((name) => [name, Object.getOwnPropertyDescriptor(api, name)] as const);
  isHooked = true;
  try {
    const isOurs = (): boolean => scope?.isInside ?? true;
    for (const [name, value] of Object.entries(replacements(api, hooks, isOurs))) {
      Object.defineProperty(api, name, { value, writable: true, configurable: true });
    }
    const run = async (): Promise<T> => await body();
    return await (scope === undefined ? run() : scope.run(run));
  } finally {
    for (const [name, descriptor] of saved) {
      if (descriptor !== undefined) Object.defineProperty(api, name, descriptor);
      else Reflect.deleteProperty(api, name);
    }
    isHooked = false;
  }
}

function replacements(api: WasmApi, hooks: WasmHooks, isOurs: () => boolean): Partial<WasmApi> {
  const { Memory, Module, Instance } = api;
  const original = {
    compile: api.compile.bind(api),
    compileStreaming: api.compileStreaming?.bind(api),
    instantiate: api.instantiate.bind(api),
    instantiateStreaming: api.instantiateStreaming?.bind(api),
  };
  const link = async (module: WasmModule, imports?: WasmImports): Promise<WasmInstance> =>
    hooks.instantiate(module, imports) ??
    ((await original.instantiate(module, imports)) as WasmInstance);
  const linkBytes = async (source: WasmSource, imports?: WasmImports) => {
    const module = hooks.compile(source);
    return { module, instance: await link(module, imports) };
  };
  return {
    Memory: hookClass(Memory, isOurs, (type) => hooks.memory(type)),
    Module: hookClass(Module, isOurs, (source) => hooks.compile(source)),
    Instance: hookClass(Instance, isOurs, (module, imports) => hooks.instantiate(module, imports)),
    compile: async (source) => (isOurs() ? hooks.compile(source) : original.compile(source)),
    compileStreaming: async (source) =>
      isOurs() ? hooks.compile(await download(source)) : original.compileStreaming(source),
    instantiate: async (source, imports) => {
      if (!isOurs()) return original.instantiate(source, imports);
      if (source instanceof Module) return link(source, imports);
      return linkBytes(source as WasmSource, imports);
    },
    instantiateStreaming: async (source, imports) =>
      isOurs()
        ? linkBytes(await download(source), imports)
        : original.instantiateStreaming(source, imports),
  };
}

/** `new Class(…)` may be answered by `make`; all else of the class stays. */
function hookClass<Class extends new (...args: never[]) => object>(
  original: Class,
  isOurs: () => boolean,
  make: (...args: ConstructorParameters<Class>) => object | undefined,
): Class {
  return new Proxy(original, {
    construct(target, args, newTarget) {
      const made = isOurs() ? make(...(args as ConstructorParameters<Class>)) : undefined;
      return made ?? Reflect.construct(target, args, newTarget);
    },
  });
}

async function download(source: unknown): Promise<ArrayBuffer> {
  const response = (await source) as { arrayBuffer(): Promise<ArrayBuffer> };
  return response.arrayBuffer();
}
